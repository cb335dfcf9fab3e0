"""Which tools a caller may call: filtered by what it asks for, page by page, in the order of their names."""

from collections.abc import Sequence
from dataclasses import dataclass

from stoa.application.admit_caller import AdmitCaller
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.application.routed_arguments import RoutedArgument
from stoa.application.tool_registry import ToolRegistry
from stoa.domain.errors import InvalidInput, ToolNotFound
from stoa.domain.identity import Principal, TenantId
from stoa.domain.invocation import Credential
from stoa.domain.policy import Door
from stoa.domain.tool import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolQuery:
    """What to list. All conditions must hold."""

    tenant: TenantId | None = None
    tags: frozenset[str] = frozenset()
    """Tools with at least one of these; empty: all."""
    category: str | None = None
    search: str = ""
    """Case-insensitive text in name, title or description."""
    after: str = ""
    """Names that sort after this one; pages stay stable while the catalogue changes."""
    limit: int = 1000
    """Tools on a page, at least 1."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidInput("limit: expected 1 or more")

    def matches(self, tool: Tool) -> bool:
        if self.tags and self.tags.isdisjoint(tool.tags):
            return False
        if self.category is not None and tool.category != self.category:
            return False
        needle = self.search.casefold()
        return not needle or needle in f"{tool.name}\n{tool.title or ''}\n{tool.description}".casefold()


@dataclass(frozen=True, slots=True)
class ToolPage:
    tools: Sequence[Tool]
    next_after: str | None
    """`ToolQuery.after` of the next page; None: this was the last."""
    total: int
    """Tools that match, on all pages."""


class ListTools:
    """Authenticates and limits like a call does; what it lists is exactly what `InvokeTool` would let through."""

    def __init__(self, *, admission: AdmitCaller, registry: ToolRegistry, policy: PolicyEngine) -> None:
        self._admission = admission
        self._registry = registry
        self._policy = policy

    async def execute(self, credential: Credential, query: ToolQuery, door: Door) -> ToolPage:
        """Raises NotAuthenticated, QuotaExceeded or Unavailable."""
        principal = await self._admitted(credential, query.tenant)
        if principal is None:
            return ToolPage((), None, 0)
        candidates = [tool for tool in self._registry.catalogue.view(principal.tenant) if query.matches(tool)]
        visible = await self._policy.visible(principal, candidates, door)
        rest = [tool for tool in visible if tool.name > query.after] if query.after else visible
        page = rest[: query.limit]
        return ToolPage(page, page[-1].name if len(rest) > len(page) else None, len(visible))

    async def find(self, credential: Credential, tenant: TenantId | None, name: str, door: Door) -> Tool:
        """One tool that the caller may list. Raises ToolNotFound for any other, and what `execute` raises."""
        principal = await self._admitted(credential, tenant)
        tool = None if principal is None else self._registry.catalogue.find(principal.tenant, name)
        if principal is None or tool is None or not await self._policy.visible(principal, [tool], door):
            raise ToolNotFound(name)
        return tool

    async def routed_arguments(
        self, caller: Principal, tenant: TenantId | None, name: str, door: Door
    ) -> tuple[RoutedArgument, ...]:
        """The arguments of this tool that are repeated in headers; none when the caller may not list it. `caller` is
        authenticated; its limit is not counted, for the call that follows counts."""
        principal = caller.acting_for(tenant)
        found = None if principal is None else self._registry.find(principal.tenant, name)
        if principal is None or found is None or not found.routed:
            return ()
        return found.routed if await self._policy.visible(principal, [found.tool], door) else ()

    async def _admitted(self, credential: Credential, tenant: TenantId | None) -> Principal | None:
        caller = await self._admission.authenticate(credential)
        await self._admission.limit(caller)
        return caller.acting_for(tenant)
