"""The Catalogue: an immutable snapshot of all operations, with views per tenant and diffs between snapshots."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar, get_args
from urllib.parse import unquote

from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Finding, Reason, error
from stoa.domain.operations.operation import Kind, Operation, OperationKey
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import Origin

T = TypeVar("T")

OriginOf = Callable[[Operation], Origin | None]
"""Gives the origin of an operation: of this very object, because two manifests may describe equal ones."""


@dataclass(frozen=True, slots=True)
class CatalogueDiff:
    """The difference between two snapshots."""

    added: tuple[Operation, ...]
    changed: tuple[Operation, ...]
    """The new version of each operation whose fingerprint differs."""
    removed: tuple[OperationKey, ...]
    keys: frozenset[OperationKey] = field(init=False, repr=False, compare=False)
    """The keys of all operations that differ."""
    readable_keys: frozenset[OperationKey] = field(init=False, repr=False, compare=False)
    """Those of resources, and of tools, because the gateway's pages about tools are resources."""
    lists: frozenset[tuple[Kind, TenantId | None]] = field(init=False, repr=False, compare=False)
    """The lists that differ, by the kind and owner of their entries."""

    def __post_init__(self) -> None:
        # Once, for thousands of listeners, and where a large catalogue is prepared: not in the event loop.
        keys = frozenset((*(operation.key for operation in (*self.added, *self.changed)), *self.removed))
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "readable_keys", frozenset(key for key in keys if key.kind != "prompt"))
        object.__setattr__(self, "lists", frozenset((key.kind, key.tenant) for key in keys))

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Catalogue:
    """All enabled tools, resources and prompts at one moment.

    A tenant sees its own operations and the global ones, and no name or URI of its view has two owners. An operation
    that the platform wrote for the tenant precedes a global one, so a global one cannot take over a tenant's callers.
    Operations of the tenant's own team (`is_by_tenant`) come after both, and `build` leaves out those that would
    replace one of them. The order of arrival decides only between two of the same key and owner.
    """

    __slots__ = (
        "_by_key",
        "_by_owner",
        "_hidden",
        "_is_contested",
        "_owners",
        "_renamed",
        "_templates",
        "_tools",
        "_views",
    )

    def __init__(
        self, operations: Mapping[OperationKey, Operation], owners: frozenset[TenantId | None] | None = None
    ) -> None:
        """`owners`: the owners of the operations, given only when they are known and none of the operations is
        contested."""
        self._by_key = MappingProxyType(dict(operations))
        self._owners = frozenset(key.tenant for key in operations) if owners is None else owners
        every = operations.values()
        hidden = _covered_by_own_templates(every) if owners is None else ()
        self._hidden: frozenset[tuple[TenantId, str]] = frozenset(hidden)
        self._is_contested = owners is None and any(map(_may_contest, every))
        self._by_owner: Mapping[TenantId | None, list[Operation]] | None = None
        self._views: dict[TenantId | None, dict[Kind, tuple[Operation, ...]]] = {}
        self._templates: dict[TenantId | None, tuple[Resource, ...]] = {}
        self._tools: Mapping[OperationKey, Tool] | None = None
        self._renamed: Mapping[OperationKey, Tool] | None = None

    @classmethod
    def build(
        cls,
        operations: Iterable[Operation],
        origin_of: OriginOf = lambda _: None,
        rest: Callable[[], None] = lambda: None,
    ) -> "tuple[Catalogue, list[Finding]]":
        """The catalogue of all that is enabled, and a finding for each that had to be left out. `rest` is called after
        each operation, and may sleep.

        Of two with the same key the platform's is kept, otherwise the first, so callers pass them in a deterministic
        order.
        """
        accepted: dict[OperationKey, Operation] = {}
        findings: list[Finding] = []
        enabled = [operation for operation in resting(operations, rest) if operation.enabled]
        of_platform = _PlatformNames(operation for operation in resting(enabled, rest) if not operation.is_by_tenant)
        for operation in resting(sorted(enabled, key=lambda operation: operation.is_by_tenant), rest):
            if operation.key in accepted:
                message = f"a {operation.kind} of this name is registered already; rename one of them"
                origin, other = origin_of(operation), origin_of(accepted[operation.key])
                if other is not None and type(other) is type(origin):  # an object does not tell the platform's files
                    message += f" (the other is of {other})"
                findings.append(error(str(operation.key), message, origin, Reason.NAME))
            elif operation.is_by_tenant and (taken := of_platform.in_place_of(operation)) is not None:
                owner = "the global" if taken.tenant is None else "the platform's"
                message = f"would stand in the place of {owner} {operation.kind} {taken.identifier}; rename it"
                findings.append(error(str(operation.key), message, origin_of(operation), Reason.NAME))
            else:
                accepted[operation.key] = operation
        catalogue = cls(accepted)
        return catalogue, findings + list(catalogue._notes_on_hidden(origin_of, rest))

    def _notes_on_hidden(self, origin_of: OriginOf, rest: Callable[[], None]) -> Iterator[Finding]:
        """An error for each global operation that some tenants do not see."""
        unseen: dict[OperationKey, set[TenantId]] = defaultdict(set)
        for tenant, name in self._hidden:
            unseen[OperationKey(None, name, "resource")].add(tenant)
        for key in resting(self._by_key, rest):
            if key.tenant is not None:
                common = key._replace(tenant=None)
                if common in self._by_key:
                    unseen[common].add(key.tenant)
        for key, tenants in sorted(unseen.items(), key=lambda one: str(one[0])):
            shown = ", ".join(sorted(tenants)[:_NAMED]) + (" and others" if len(tenants) > _NAMED else "")
            message = f"is not visible to {shown}, for whom the platform has another of this name; rename one of them"
            yield error(str(key), message, origin_of(self._by_key[key]), Reason.NAME)

    def __len__(self) -> int:
        return len(self._by_key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and self._by_key == other._by_key

    __hash__ = None  # type: ignore[assignment]  # compared by content, never a key

    @property
    def operations(self) -> Mapping[OperationKey, Operation]:
        return self._by_key

    @property
    def tools(self) -> Mapping[OperationKey, Tool]:
        """The tools of all owners, by key."""
        if self._tools is None:
            self._tools = MappingProxyType(
                {key: operation for key, operation in self._by_key.items() if isinstance(operation, Tool)}
            )
        return self._tools

    def find(self, tenant: TenantId | None, name: str, kind: Kind = "tool") -> Operation | None:
        """The operation with exactly this name in the tenant's view; of a tool also an earlier name. An invisible one
        costs the same look-ups as a missing one."""
        common = self._by_key.get(OperationKey(None, name, kind))
        own = self._by_key.get(OperationKey(tenant, name, kind))
        if own is None and common is None and kind == "tool":
            return self._find_renamed(tenant, name)
        return own or (None if kind == "resource" and (tenant, name) in self._hidden else common)

    def _find_renamed(self, tenant: TenantId | None, name: str) -> Tool | None:
        """The global tool comes first here, so that no earlier name takes the place of one of the platform's."""
        renamed = self._renamed if self._renamed is not None else self._index_renamed()
        common = renamed.get(OperationKey(None, name))
        own = renamed.get(OperationKey(tenant, name))
        return common or own

    def _index_renamed(self, rest: Callable[[], None] = lambda: None) -> Mapping[OperationKey, Tool]:
        self._renamed = renamed = {
            OperationKey(key.tenant, earlier_name): tool
            for key, tool in resting(self.tools.items(), rest)
            for earlier_name in tool.earlier_names
        }
        return renamed

    def resolve(self, tenant: TenantId | None, uri: str) -> Resource | None:
        """The resource to read for `uri`: the one with this URI, else the first template that matches. Templates that
        the platform wrote for the tenant come first, then global ones, then those of the tenant's own team, each in the
        order of their texts."""
        exact = self.find(tenant, uri, "resource")
        if isinstance(exact, Resource) and not exact.is_template:
            return exact
        matching = (operation for operation in self._templates_of(tenant) if operation.match(uri) is not None)
        return min(matching, key=_rank, default=None)

    def _templates_of(self, tenant: TenantId | None) -> tuple[Resource, ...]:
        if tenant not in self._owners:
            tenant = None
        templates = self._templates.get(tenant)
        if templates is None:
            resources = self.view(tenant, "resource")
            templates = tuple(
                operation for operation in resources if isinstance(operation, Resource) and operation.is_template
            )
            self._templates[tenant] = templates
        return templates

    def view(self, tenant: TenantId | None, kind: Kind = "tool") -> tuple[Operation, ...]:
        """All operations of this kind that the tenant sees, sorted by name."""
        if tenant not in self._owners:
            tenant = None  # sees the global view: names of unknown tenants must not pile up
        views = self._views.get(tenant)
        if views is None:
            common = [one for one in self._owned_by(None) if self.find(tenant, one.identifier, one.kind) is one]
            own = [] if tenant is None else self._owned_by(tenant)
            visible = sorted([*common, *own], key=lambda one: one.identifier)
            views = self._views[tenant] = {each: tuple(one for one in visible if one.kind == each) for each in _KINDS}
        return views[kind]

    def _owned_by(self, owner: TenantId | None) -> list[Operation]:
        """The operations of one owner, grouped once, so that no view has to scan those of other tenants."""
        by_owner = self._by_owner if self._by_owner is not None else self._index_owners()
        return by_owner.get(owner, [])

    def _index_owners(self, rest: Callable[[], None] = lambda: None) -> Mapping[TenantId | None, list[Operation]]:
        by_owner: dict[TenantId | None, list[Operation]] = {}
        for key, operation in resting(self._by_key.items(), rest):
            by_owner.setdefault(key.tenant, []).append(operation)
        self._by_owner = by_owner
        return by_owner

    def index(self, rest: Callable[[], None]) -> None:
        """Makes at once what look-ups would make when they first need it, in the event loop: 8 ms for ten thousand
        tools, for which another tenant's call would wait. `rest` as in `build`."""
        tools = {key: tool for key, tool in resting(self._by_key.items(), rest) if isinstance(tool, Tool)}
        self._tools = MappingProxyType(tools)
        self._index_renamed(rest)
        self._index_owners(rest)

    def extended(self, operations: Sequence[Operation]) -> "Catalogue | None":
        """The catalogue with these operations added, equal to what `build` makes; None where one of them is disabled or
        may contest another, so that `build` has to decide."""
        added = {operation.key: operation for operation in operations if operation.enabled}
        owners = self._owners | {key.tenant for key in added}
        whole = {**self._by_key, **added}
        if len(added) < len(operations) or len(whole) < len(self._by_key) + len(added):
            return None
        if self._is_contested or any(map(_may_contest, operations)):
            return None
        for key in added:  # the same name as a global one, or as one of any tenant, decides who sees which
            rivals = [None] if key.tenant is not None else owners - {None}
            if any(OperationKey(owner, key.name, key.kind) in whole for owner in rivals):
                return None
        return Catalogue(whole, owners)

    def with_changed(self, tools: Sequence[Tool]) -> "Catalogue":
        """The catalogue in which these tools replace those of their keys, equal to what `build` makes. Each has the
        names, earlier ones too, and the author (`is_by_tenant`) of the one that it replaces: it contests no other."""
        by_key = {tool.key: tool for tool in tools}
        changed = Catalogue({**self._by_key, **by_key}, self._owners)
        changed._hidden, changed._is_contested = self._hidden, self._is_contested
        changed._tools = None if self._tools is None else MappingProxyType({**self._tools, **by_key})
        if self._renamed is not None:
            renamed = ((name, tool) for tool in tools for name in tool.earlier_names)
            changed._renamed = {
                **self._renamed,
                **{OperationKey(tool.key.tenant, name): tool for name, tool in renamed},
            }
        if self._by_owner is not None:
            owners = {tool.tenant for tool in tools}
            lists = {owner: [by_key.get(one.key, one) for one in self._by_owner[owner]] for owner in owners}
            changed._by_owner = {**self._by_owner, **lists}
        return changed

    def diff(self, newer: "Catalogue", rest: Callable[[], None] = lambda: None) -> CatalogueDiff:
        """The changes that lead from here to `newer`: `self.apply(self.diff(newer)) == newer`. `rest` as in `build`."""
        old, new = self._by_key, newer._by_key
        return CatalogueDiff(
            added=tuple(operation for key, operation in new.items() if key not in old),
            changed=tuple(
                operation
                for key, operation in resting(new.items(), rest)
                if (before := old.get(key)) is not None
                and before is not operation  # which needs no fingerprint
                and before.fingerprint != operation.fingerprint
            ),
            removed=tuple(key for key in old if key not in new),
        )

    def apply(self, diff: CatalogueDiff) -> "Catalogue":
        removed = set(diff.removed)
        operations = {key: operation for key, operation in self._by_key.items() if key not in removed}
        operations.update({operation.key: operation for operation in (*diff.changed, *diff.added)})
        return Catalogue(operations)


def resting(items: Iterable[T], rest: Callable[[], None]) -> Iterator[T]:
    """The items; `rest` is called after each, so that a thread that walks thousands of them lets others run."""
    for item in items:
        yield item
        rest()


_KINDS: tuple[Kind, ...] = get_args(Kind)
_NAMED = 5
_VARIABLE = re.compile(r"\{[^{}]*\}")


def _may_contest(operation: Operation) -> bool:
    """True if the operation may take the place of one with another name."""
    return operation.is_by_tenant or (operation.tenant is not None and operation.is_template)


def _rank(operation: Operation) -> int:
    """Position of the operation's owner in a tenant's view; the lowest comes first."""
    if operation.tenant is None:
        return 1
    return 2 if operation.is_by_tenant else 0


class _Templates:
    """Resource templates by the text before their first variable, so that a URI is not tried against all of them."""

    def __init__(self, templates: Iterable[Resource]) -> None:
        self._by_prefix: dict[str, list[Resource]] = defaultdict(list)
        for one in templates:
            self._by_prefix[one.uri.partition("{")[0]].append(one)
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def matching(self, uri: str) -> Iterator[Resource]:
        for length in self._lengths:
            for operation in self._by_prefix.get(uri[:length], ()):
                if operation.match(uri) is not None:
                    yield operation


def _covered_by_own_templates(operations: Iterable[Operation]) -> Iterator[tuple[TenantId, str]]:
    """Global URIs that a tenant does not see: the platform has a template for this tenant that they would leave a hole
    in."""
    resources = [one for one in operations if isinstance(one, Resource)]
    owned = _Templates(one for one in resources if one.is_template and _rank(one) == 0)
    for one in resources:
        if one.tenant is None and not one.is_template:
            yield from ((found.tenant, one.uri) for found in owned.matching(one.uri) if found.tenant is not None)


class _PlatformNames:
    """The names that the platform's operations take; names that people would mistake for each other count as one."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        every = list(operations)
        self._by_look = {
            (operation.tenant, operation.kind, _look(operation)): operation for operation in reversed(every)
        }
        resources = [operation for operation in every if isinstance(operation, Resource) and operation.is_template]
        self._templates = _Templates(resources)

    def in_place_of(self, operation: Operation) -> Operation | None:
        """The platform's operation, in the view of this operation's tenant, whose place it would take."""
        for owner in (None, operation.tenant):
            same_look = self._by_look.get((owner, operation.kind, _look(operation)))
            if same_look is not None:
                return same_look
        if not isinstance(operation, Resource) or operation.is_template:
            return None
        visible = (
            found for found in self._templates.matching(operation.uri) if found.tenant in {None, operation.tenant}
        )
        return next(visible, None)


def _look(one: Operation) -> str:
    """The name without letter case; of a URI also without percent-encoding and the names of its variables."""
    name = unquote(_VARIABLE.sub("{}", one.identifier)) if one.kind == "resource" else one.identifier
    return name.casefold()
