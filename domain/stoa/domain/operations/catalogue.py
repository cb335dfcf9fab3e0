"""The Catalogue: an immutable snapshot of all operations, with views per tenant and diffs between snapshots."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args
from urllib.parse import unquote

from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Finding, error
from stoa.domain.operations.operation import Kind, Operation, OperationKey
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import Origin

OriginOf = Callable[[Operation], Origin | None]
"""Gives the origin of an operation: of this very object, because two manifests may describe equal ones."""


@dataclass(frozen=True, slots=True)
class CatalogueDiff:
    """What turns one snapshot into another."""

    added: tuple[Operation, ...]
    changed: tuple[Operation, ...]
    """The new version of each operation whose fingerprint differs."""
    removed: tuple[OperationKey, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Catalogue:
    """All enabled tools, resources and prompts at one moment.

    A tenant sees its own and the global ones, and no name or URI of its view has two owners. What the platform wrote
    for the tenant stands before what is global, so a global one cannot take over a tenant's callers; what the tenant's
    own team wrote (`is_by_tenant`) stands after both, and `build` leaves it out where it would be in their place.
    The order in which they arrive decides between two of the same key and owner alone.
    """

    __slots__ = ("_by_key", "_by_owner", "_hidden", "_is_contested", "_owners", "_templates", "_tools", "_views")

    def __init__(
        self, operations: Mapping[OperationKey, Operation], owners: frozenset[TenantId | None] | None = None
    ) -> None:
        """`owners`: those of the operations, where they are known, and none of them is contested."""
        self._by_key = MappingProxyType(dict(operations))
        self._owners = frozenset(key.tenant for key in operations) if owners is None else owners
        every = operations.values()
        hidden = _covered_by_own_templates(every) if owners is None else ()
        self._hidden: frozenset[tuple[TenantId, str]] = frozenset(hidden)
        self._is_contested = owners is None and any(map(_may_contest, every))
        self._by_owner: dict[TenantId | None, list[Operation]] | None = None
        self._views: dict[TenantId | None, dict[Kind, tuple[Operation, ...]]] = {}
        self._templates: dict[TenantId | None, tuple[Resource, ...]] = {}
        self._tools: Mapping[OperationKey, Tool] | None = None

    @classmethod
    def build(
        cls, operations: Iterable[Operation], origin_of: OriginOf = lambda _: None
    ) -> "tuple[Catalogue, list[Finding]]":
        """The catalogue of all that is enabled, and a finding for each that had to be left out.

        The platform's, else the first of two with the same key stays, so callers pass them in a deterministic order.
        """
        kept: dict[OperationKey, Operation] = {}
        findings: list[Finding] = []
        enabled = [one for one in operations if one.enabled]
        of_platform = _PlatformNames(one for one in enabled if not one.is_by_tenant)
        for one in sorted(enabled, key=lambda one: one.is_by_tenant):
            if one.key in kept:
                message = f"a {one.kind} of this name is registered already; rename one of them"
                findings.append(error(str(one.key), message, origin_of(one)))
            elif one.is_by_tenant and (taken := of_platform.in_place_of(one)) is not None:
                owner = "the global" if taken.tenant is None else "the platform's"
                message = f"would stand in the place of {owner} {one.kind} {taken.identifier}; rename it"
                findings.append(error(str(one.key), message, origin_of(one)))
            else:
                kept[one.key] = one
        catalogue = cls(kept)
        return catalogue, findings + list(catalogue._notes_on_hidden(origin_of))

    def _notes_on_hidden(self, origin_of: OriginOf) -> Iterator[Finding]:
        """An error for each global operation that some tenants do not see."""
        unseen: dict[OperationKey, set[TenantId]] = defaultdict(set)
        for tenant, name in self._hidden:
            unseen[OperationKey(None, name, "resource")].add(tenant)
        for key in self._by_key:
            common = key._replace(tenant=None)
            if key.tenant is not None and common in self._by_key:
                unseen[common].add(key.tenant)
        for key, tenants in sorted(unseen.items(), key=lambda one: str(one[0])):
            shown = ", ".join(sorted(tenants)[:_NAMED]) + (" and others" if len(tenants) > _NAMED else "")
            message = f"is not visible to {shown}, for whom the platform has another of this name; rename one of them"
            yield error(str(key), message, origin_of(self._by_key[key]))

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
        """The tools alone."""
        if self._tools is None:
            self._tools = MappingProxyType({key: one for key, one in self._by_key.items() if isinstance(one, Tool)})
        return self._tools

    def find(self, tenant: TenantId | None, name: str, kind: Kind = "tool") -> Operation | None:
        """What has this very name in the tenant's view. Something invisible costs the same look-ups as nothing."""
        common = self._by_key.get(OperationKey(None, name, kind))
        own = self._by_key.get(OperationKey(tenant, name, kind))
        return own or (None if kind == "resource" and (tenant, name) in self._hidden else common)

    def resolve(self, tenant: TenantId | None, uri: str) -> Resource | None:
        """The resource to read for `uri`: the one of this URI, else the first template that matches: those the platform
        wrote for the tenant, global ones, those of the tenant's own team, each in the order of their texts."""
        found = self.find(tenant, uri, "resource")
        if isinstance(found, Resource) and not found.is_template:
            return found
        matching = (one for one in self._templates_of(tenant) if one.match(uri) is not None)
        return min(matching, key=_rank, default=None)

    def _templates_of(self, tenant: TenantId | None) -> tuple[Resource, ...]:
        if tenant not in self._owners:
            tenant = None
        templates = self._templates.get(tenant)
        if templates is None:
            resources = self.view(tenant, "resource")
            templates = tuple(one for one in resources if isinstance(one, Resource) and one.is_template)
            self._templates[tenant] = templates
        return templates

    def view(self, tenant: TenantId | None, kind: Kind = "tool") -> tuple[Operation, ...]:
        """Everything of this kind that the tenant sees, sorted by name."""
        if tenant not in self._owners:
            tenant = None  # sees what everybody sees: names of strangers must not pile up
        views = self._views.get(tenant)
        if views is None:
            common = [one for one in self._owned_by(None) if self.find(tenant, one.identifier, one.kind) is one]
            own = [] if tenant is None else self._owned_by(tenant)
            visible = sorted([*common, *own], key=lambda one: one.identifier)
            views = self._views[tenant] = {each: tuple(one for one in visible if one.kind == each) for each in _KINDS}
        return views[kind]

    def _owned_by(self, owner: TenantId | None) -> list[Operation]:
        """So that no view looks at what belongs to other tenants."""
        if self._by_owner is None:
            by_owner: dict[TenantId | None, list[Operation]] = {}
            for key, one in self._by_key.items():
                by_owner.setdefault(key.tenant, []).append(one)
            self._by_owner = by_owner
        return self._by_owner.get(owner, [])

    def extended(self, operations: Sequence[Operation]) -> "Catalogue | None":
        """The catalogue with these besides, as `build` makes it; None where one is disabled or may be in the way of
        another, and `build` has to look."""
        added = {one.key: one for one in operations if one.enabled}
        owners = self._owners | {key.tenant for key in added}
        whole = {**self._by_key, **added}
        if len(added) < len(operations) or len(whole) < len(self._by_key) + len(added):
            return None
        if self._is_contested or any(map(_may_contest, operations)):
            return None
        for key in added:
            rivals = [None] if key.tenant is not None else owners - {None}
            if any(OperationKey(owner, key.name, key.kind) in whole for owner in rivals):
                return None
        return Catalogue(whole, owners)

    def diff(self, newer: "Catalogue") -> CatalogueDiff:
        """The changes that lead from here to `newer`: `self.apply(self.diff(newer)) == newer`."""
        old, new = self._by_key, newer._by_key
        return CatalogueDiff(
            added=tuple(one for key, one in new.items() if key not in old),
            changed=tuple(one for key, one in new.items() if key in old and old[key].fingerprint != one.fingerprint),
            removed=tuple(key for key in old if key not in new),
        )

    def apply(self, diff: CatalogueDiff) -> "Catalogue":
        removed = set(diff.removed)
        operations = {key: one for key, one in self._by_key.items() if key not in removed}
        operations.update({one.key: one for one in (*diff.changed, *diff.added)})
        return Catalogue(operations)


_KINDS: tuple[Kind, ...] = get_args(Kind)
_NAMED = 5
_VARIABLE = re.compile(r"\{[^{}]*\}")


def _may_contest(one: Operation) -> bool:
    """May it stand in the place of others than those of its very name?"""
    return one.is_by_tenant or (one.tenant is not None and one.is_template)


def _rank(one: Operation) -> int:
    """Lower ones stand before higher ones in a tenant's view."""
    if one.tenant is None:
        return 1
    return 2 if one.is_by_tenant else 0


class _Templates:
    """Resource templates by the text before their first variable, so that a URI is not tried against all of them."""

    def __init__(self, templates: Iterable[Resource]) -> None:
        self._by_prefix: dict[str, list[Resource]] = defaultdict(list)
        for one in templates:
            self._by_prefix[one.uri.partition("{")[0]].append(one)
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def matching(self, uri: str) -> Iterator[Resource]:
        for length in self._lengths:
            for one in self._by_prefix.get(uri[:length], ()):
                if one.match(uri) is not None:
                    yield one


def _covered_by_own_templates(operations: Iterable[Operation]) -> Iterator[tuple[TenantId, str]]:
    """Global URIs that a tenant does not see: the platform has a template for this tenant that they would leave a hole
    in."""
    resources = [one for one in operations if isinstance(one, Resource)]
    owned = _Templates(one for one in resources if one.is_template and _rank(one) == 0)
    for one in resources:
        if one.tenant is None and not one.is_template:
            yield from ((found.tenant, one.uri) for found in owned.matching(one.uri) if found.tenant is not None)


class _PlatformNames:
    """What is the platform's already; names that people would take for the same count as one."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        every = list(operations)
        self._by_look = {(one.tenant, one.kind, _look(one)): one for one in reversed(every)}
        resources = [one for one in every if isinstance(one, Resource) and one.is_template]
        self._templates = _Templates(resources)

    def in_place_of(self, one: Operation) -> Operation | None:
        """The operation of the platform, in the view of this one's tenant, in whose place it would stand."""
        for owner in (None, one.tenant):
            found = self._by_look.get((owner, one.kind, _look(one)))
            if found is not None:
                return found
        if not isinstance(one, Resource) or one.is_template:
            return None
        visible = (found for found in self._templates.matching(one.uri) if found.tenant in {None, one.tenant})
        return next(visible, None)


def _look(one: Operation) -> str:
    """The name without letter case; of a URI also without percent-encoding and the names of its variables."""
    name = unquote(_VARIABLE.sub("{}", one.identifier)) if one.kind == "resource" else one.identifier
    return name.casefold()
