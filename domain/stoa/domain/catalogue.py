"""The Catalogue: an immutable snapshot of all tools, with views per tenant and diffs between snapshots."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stoa.domain.finding import Finding, error
from stoa.domain.identity import TenantId
from stoa.domain.tool import Tool, ToolKey


@dataclass(frozen=True, slots=True)
class CatalogueDiff:
    """What turns one snapshot into another."""

    added: tuple[Tool, ...]
    changed: tuple[Tool, ...]
    """The new version of each tool whose fingerprint differs."""
    removed: tuple[ToolKey, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Catalogue:
    """All enabled tools at one moment.

    A tenant sees the global tools and its own. A tenant's tool never shadows a global one: `build` leaves it out and
    says so, whatever the order in which they arrive.
    """

    __slots__ = ("_by_key", "_views")

    def __init__(self, tools: Mapping[ToolKey, Tool]) -> None:
        self._by_key = MappingProxyType(dict(tools))
        self._views: dict[TenantId | None, tuple[Tool, ...]] = {}

    @classmethod
    def build(cls, tools: Iterable[Tool]) -> "tuple[Catalogue, list[Finding]]":
        """The catalogue of all enabled tools, and a finding for each that had to be left out.

        The first of two tools with the same key stays, so callers pass tools in a deterministic order.
        """
        kept: dict[ToolKey, Tool] = {}
        findings: list[Finding] = []
        for tool in tools:
            if not tool.enabled:
                continue
            if tool.key in kept:
                findings.append(error(str(tool.key), "a tool of this name is registered already; rename one of them"))
                continue
            kept[tool.key] = tool
        for key in [key for key in kept if key.tenant is not None and ToolKey(None, key.name) in kept]:
            del kept[key]
            findings.append(error(str(key), f"would shadow the global tool {key.name}; rename it"))
        return cls(kept), findings

    def __len__(self) -> int:
        return len(self._by_key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and self._by_key == other._by_key

    __hash__ = None  # type: ignore[assignment]  # compared by content, never a key

    @property
    def tools(self) -> Mapping[ToolKey, Tool]:
        return self._by_key

    def find(self, tenant: TenantId | None, name: str) -> Tool | None:
        """The tool of this name in the tenant's view. An invisible tool costs the same look-ups as an unknown one."""
        of_tenant = self._by_key.get(ToolKey(tenant, name))
        return self._by_key.get(ToolKey(None, name)) or of_tenant

    def view(self, tenant: TenantId | None) -> tuple[Tool, ...]:
        """Everything that this tenant sees, sorted by name."""
        view = self._views.get(tenant)
        if view is None:
            visible = [tool for key, tool in self._by_key.items() if key.tenant in {None, tenant}]
            view = tuple(sorted(visible, key=lambda tool: tool.name))
            if tenant is None or any(tool.tenant == tenant for tool in view):
                self._views[tenant] = view  # only tenants that own something: names of strangers must not pile up
        return view

    def diff(self, newer: "Catalogue") -> CatalogueDiff:
        """The changes that lead from here to `newer`: `self.apply(self.diff(newer)) == newer`."""
        old, new = self._by_key, newer._by_key
        return CatalogueDiff(
            added=tuple(tool for key, tool in new.items() if key not in old),
            changed=tuple(tool for key, tool in new.items() if key in old and old[key].fingerprint != tool.fingerprint),
            removed=tuple(key for key in old if key not in new),
        )

    def apply(self, diff: CatalogueDiff) -> "Catalogue":
        tools = {key: tool for key, tool in self._by_key.items() if key not in set(diff.removed)}
        tools.update({tool.key: tool for tool in (*diff.changed, *diff.added)})
        return Catalogue(tools)
