"""Lists the tools, resources or prompts that a caller may use: filtered by its query, page by page, sorted by name."""

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
    """The filter and the page to list. All conditions must hold."""

    tenant: TenantId | None = None
    tags: frozenset[str] = frozenset()
    """Keep operations with at least one of these tags; empty: all."""
    category: str | None = None
    api: str | None = None
    """Keep operations made from the API of this name: that of the ToolSet, or a Tool's `apiRef`."""
    search: str = ""
    """Case-insensitive text in name, title or description."""
    templates: bool = False
    """Resource templates instead of resources."""
    after: str = ""
    """List names that sort after this one; pages stay stable while the catalogue changes."""
    limit: int = 1000
    """Entries on a page, at least 1."""
    is_counted: bool = True
    """Count the matches on all pages, which takes scanning all of them."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidInput("limit: expected 1 or more")

    def matches(self, operation: Operation) -> bool:
        if operation.is_template != self.templates or not operation.binding.is_listed:
            return False
        if self.tags and self.tags.isdisjoint(operation.tags):
            return False
        if self.category is not None and operation.category != self.category:
            return False
        if self.api is not None and (operation.api is None or operation.api.name != self.api):
            return False
        needle = self.search.casefold()
        return (
            not needle
            or needle in f"{operation.identifier}\n{operation.title or ''}\n{operation.description}".casefold()
        )


@dataclass(frozen=True, slots=True)
class Page(Generic[O]):
    items: Sequence[O]
    next_after: str | None
    """The value of `ListQuery.after` for the next page; None: this was the last."""
    total: int | None
    """Entries that match, on all pages; None: not counted."""
    limit: LimitVerdict | None = None
    """The verdict of the caller's rate limits on this request."""


class ListOperations(Generic[O]):
    """Lists one kind of operation. Authenticates and limits like a call does, and lists exactly the operations that
    `InvokeOperation` would let through."""

    def __init__(self, kind: type[O], *, callers: Callers, view: CallerView) -> None:
        self._kind = kind
        self._callers = callers
        self._view = view

    async def execute(self, credential: Credential, query: ListQuery, door: Door) -> Page[O]:
        """The requested page. Raises NotAuthenticated, QuotaExceeded or Unavailable."""
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
        """The operation of this name. Raises OperationNotFound if the caller may not list it, and the errors of
        `execute`."""
        principal, _ = await self._principal(credential, tenant)
        operation = None if principal is None else await self._view.one(self._kind, principal, door, name)
        if operation is None:
            raise not_found(self._kind.kind, name)
        return operation

    async def _principal(
        self, credential: Credential, tenant: TenantId | None
    ) -> tuple[Principal | None, LimitVerdict]:
        caller = await self._callers.authenticate(credential)
        verdict = await self._callers.limit(caller)
        return caller.acting_for(tenant), verdict
