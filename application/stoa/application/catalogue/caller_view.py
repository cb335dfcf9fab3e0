"""What a caller sees: of the catalogue's view of its tenant, what the policy lets it use."""

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
"""Operations that the policy looks at in one go."""

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


class CallerView:
    """Shows exactly what `InvokeOperation` would let through. Raises PolicyUnavailable.

    `catalogue` gives the present one.
    """

    def __init__(self, catalogue: Callable[[], Catalogue], policy: PolicyEngine) -> None:
        self._catalogue = catalogue
        self._policy = policy

    async def all(self, kind: type[O], principal: Principal, door: Door, matches: Callable[[O], bool]) -> list[O]:
        """What the caller sees and `matches`, sorted by name."""
        view = self._catalogue().view(principal.tenant, kind.kind)
        candidates = (one for one in view if isinstance(one, kind) and matches(one))
        found: list[O] = []
        while some := list(islice(candidates, _AT_ONCE)):
            found += await self._policy.visible(principal, some, door)
            if len(some) == _AT_ONCE:
                await asyncio.sleep(0)  # a catalogue of 40,000 takes 0.2 s in all, and calls go on meanwhile
        return found

    async def first(
        self, kind: type[O], principal: Principal, door: Door, matches: Callable[[O], bool], *, after: str, most: int
    ) -> list[O]:
        """Of what `all` gives, the first `most` whose names sort behind `after`. Looks at no more than it needs: in a
        large catalogue a page costs what is on it."""
        view = self._catalogue().view(principal.tenant, kind.kind)
        begin = bisect_right(view, after, key=attrgetter("identifier"))
        rest = (view[position] for position in range(begin, len(view)))  # islice would walk to where it begins
        candidates = (one for one in rest if isinstance(one, kind) and matches(one))
        found: list[O] = []
        while len(found) < most and (some := list(islice(candidates, most))):
            found += await self._policy.visible(principal, some, door)
        return found[:most]

    async def one(self, kind: type[O], principal: Principal, door: Door, name: str) -> O | None:
        """What has this very name (of a template: its text); None when the caller does not see it."""
        found = self._catalogue().find(principal.tenant, name, kind.kind)
        if not isinstance(found, kind) or not await self._policy.visible(principal, [found], door):
            return None
        return found
