"""Which tools, resources or prompts a caller may use: filtered by what it asks for, page by page, in the order of
their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stoa.application.admission.callers import Callers
from stoa.application.catalogue.caller_view import CallerView
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import InvalidInput, not_found
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Door

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What to list. All conditions must hold."""

    tenant: TenantId | None = None
    tags: frozenset[str] = frozenset()
    """Those with at least one of these; empty: all."""
    category: str | None = None
    api: str | None = None
    """Those made from the API of this name: that of the ToolSet, or a Tool's `apiRef`."""
    search: str = ""
    """Case-insensitive text in name, title or description."""
    templates: bool = False
    """Resource templates instead of resources."""
    after: str = ""
    """Names that sort after this one; pages stay stable while the catalogue changes."""
    limit: int = 1000
    """Entries on a page, at least 1."""
    is_counted: bool = True
    """Say how many match on all pages, which takes looking at all of them."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidInput("limit: expected 1 or more")

    def matches(self, one: Operation) -> bool:
        if one.is_template != self.templates:
            return False
        if self.tags and self.tags.isdisjoint(one.tags):
            return False
        if self.category is not None and one.category != self.category:
            return False
        if self.api is not None and (one.api is None or one.api.name != self.api):
            return False
        needle = self.search.casefold()
        return not needle or needle in f"{one.identifier}\n{one.title or ''}\n{one.description}".casefold()


@dataclass(frozen=True, slots=True)
class Page(Generic[O]):
    items: Sequence[O]
    next_after: str | None
    """`ListQuery.after` of the next page; None: this was the last."""
    total: int | None
    """Entries that match, on all pages; None: not counted."""
    limit: LimitVerdict | None = None
    """What the caller's limits said to this request."""


class ListOperations(Generic[O]):
    """Lists one kind. Authenticates and limits like a call does; what it lists is exactly what `InvokeOperation`
    would let
    through."""

    def __init__(self, kind: type[O], *, callers: Callers, view: CallerView) -> None:
        self._kind = kind
        self._callers = callers
        self._view = view

    async def execute(self, credential: Credential, query: ListQuery, door: Door) -> Page[O]:
        """Raises NotAuthenticated, QuotaExceeded or Unavailable."""
        principal, verdict = await self._principal(credential, query.tenant)
        if principal is None:
            return Page((), None, 0, verdict)
        if query.is_counted:
            visible = await self._view.all(self._kind, principal, door, query.matches)
            rest, total = [one for one in visible if one.identifier > query.after], len(visible)
        else:
            most, total = query.limit + 1, None
            rest = await self._view.first(self._kind, principal, door, query.matches, after=query.after, most=most)
        page = rest[: query.limit]
        return Page(page, page[-1].identifier if len(rest) > len(page) else None, total, verdict)

    async def find(self, credential: Credential, tenant: TenantId | None, name: str, door: Door) -> O:
        """One that the caller may list. Raises OperationNotFound for any other, and what `execute` raises."""
        principal, _ = await self._principal(credential, tenant)
        found = None if principal is None else await self._view.one(self._kind, principal, door, name)
        if found is None:
            raise not_found(self._kind.kind, name)
        return found

    async def _principal(
        self, credential: Credential, tenant: TenantId | None
    ) -> tuple[Principal | None, LimitVerdict]:
        caller = await self._callers.authenticate(credential)
        verdict = await self._callers.limit(caller)
        return caller.acting_for(tenant), verdict
