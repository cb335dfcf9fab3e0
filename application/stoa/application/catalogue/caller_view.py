"""The view of one caller: the operations of its tenant that the policy lets it use."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from itertools import islice
from operator import attrgetter
from typing import TypeVar

from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Door

_AT_ONCE = 512
"""Operations per query to the policy."""

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


class CallerView:
    """Shows exactly the operations that `InvokeOperation` would let through. Raises PolicyUnavailable.

    `catalogue` returns the one in use.
    """

    def __init__(self, catalogue: Callable[[], Catalogue], policy: PolicyEngine) -> None:
        self._catalogue = catalogue
        self._policy = policy

    async def all(self, kind: type[O], principal: Principal, door: Door, matches: Callable[[O], bool]) -> list[O]:
        """All visible operations that `matches` accepts, sorted by name."""
        view = self._catalogue().view(principal.tenant, kind.kind)
        candidates = (operation for operation in view if isinstance(operation, kind) and matches(operation))
        visible: list[O] = []
        while some := list(islice(candidates, _AT_ONCE)):
            visible += await self._policy.visible(principal, some, door)
            if len(some) == _AT_ONCE:
                await asyncio.sleep(0)  # a catalogue of 40,000 takes 0.2 s in all, and other calls need the loop
        return visible

    async def first(
        self, kind: type[O], principal: Principal, door: Door, matches: Callable[[O], bool], *, after: str, most: int
    ) -> list[O]:
        """Keyset pagination: up to `most` visible operations named after `after`, without scanning the rest."""
        view = self._catalogue().view(principal.tenant, kind.kind)
        begin = bisect_right(view, after, key=attrgetter("identifier"))
        rest = (view[position] for position in range(begin, len(view)))  # islice would walk to where it begins
        candidates = (operation for operation in rest if isinstance(operation, kind) and matches(operation))
        visible: list[O] = []
        while len(visible) < most and (some := list(islice(candidates, most))):
            visible += await self._policy.visible(principal, some, door)
        return visible[:most]

    async def one(self, kind: type[O], principal: Principal, door: Door, name: str) -> O | None:
        """The visible operation with exactly this name (for a template: its text); None if the caller does not see
        it."""
        operation = self._catalogue().find(principal.tenant, name, kind.kind)
        if not isinstance(operation, kind) or not await self._policy.visible(principal, [operation], door):
            return None
        return operation
