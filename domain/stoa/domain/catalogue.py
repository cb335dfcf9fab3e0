"""The Catalogue: an immutable snapshot of all operations, with views per tenant and diffs between snapshots."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from stoa.domain.finding import Finding, error
from stoa.domain.identity import TenantId
from stoa.domain.operation import Kind, Operation, OperationKey
from stoa.domain.resource import Resource
from stoa.domain.tool import Tool


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

    A tenant sees the global ones and its own. A tenant's never shadows a global one of its kind: `build` leaves it out
    and says so, whatever the order in which they arrive.
    """

    __slots__ = ("_by_key", "_by_owner", "_owners", "_templates", "_tools", "_views")

    def __init__(
        self, operations: Mapping[OperationKey, Operation], owners: frozenset[TenantId | None] | None = None
    ) -> None:
        """`owners`: those of the operations, where they are known."""
        self._by_key = MappingProxyType(dict(operations))
        self._owners = frozenset(key.tenant for key in operations) if owners is None else owners
        self._by_owner: dict[TenantId | None, list[Operation]] | None = None
        self._views: dict[TenantId | None, dict[Kind, tuple[Operation, ...]]] = {}
        self._templates: dict[TenantId | None, tuple[Resource, ...]] = {}
        self._tools: Mapping[OperationKey, Tool] | None = None

    @classmethod
    def build(cls, operations: Iterable[Operation]) -> "tuple[Catalogue, list[Finding]]":
        """The catalogue of all that is enabled, and a finding for each that had to be left out.

        The first of two with the same key stays, so callers pass them in a deterministic order.
        """
        kept: dict[OperationKey, Operation] = {}
        findings: list[Finding] = []
        for one in operations:
            if not one.enabled:
                continue
            if one.key in kept:
                message = f"a {one.kind} of this name is registered already; rename one of them"
                findings.append(error(str(one.key), message))
                continue
            kept[one.key] = one
        for key in [key for key in kept if key.tenant is not None and key._replace(tenant=None) in kept]:
            del kept[key]
            findings.append(error(str(key), f"would shadow the global {key.kind} {key.name}; rename it"))
        return cls(kept), findings

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
        of_tenant = self._by_key.get(OperationKey(tenant, name, kind))
        return self._by_key.get(OperationKey(None, name, kind)) or of_tenant

    def resolve(self, tenant: TenantId | None, uri: str) -> Resource | None:
        """The resource to read for `uri`: the one of this URI, else the first template that matches, global ones
        before the tenant's, in the order of their texts."""
        found = self.find(tenant, uri, "resource")
        if isinstance(found, Resource) and not found.is_template:
            return found
        matching = (one for one in self._templates_of(tenant) if one.match(uri) is not None)
        return min(matching, key=lambda one: one.tenant is not None, default=None)

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
            common = self._owned_by(None)
            own = [] if tenant is None else self._owned_by(tenant)
            visible = sorted([*common, *own], key=lambda one: one.name)
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
        """The catalogue with these besides, as `build` makes it; None where one is disabled or in the way of another,
        and `build` has something to say."""
        added = {one.key: one for one in operations if one.enabled}
        owners = self._owners | {key.tenant for key in added}
        whole = {**self._by_key, **added}
        if len(added) < len(operations) or len(whole) < len(self._by_key) + len(added):
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
