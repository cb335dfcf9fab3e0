"""What a caller sees: of the catalogue's view of its tenant, what the policy lets it use."""

from collections.abc import Callable
from typing import TypeVar

from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.catalogue import Catalogue
from stoa.domain.identity import Principal
from stoa.domain.operation import Operation
from stoa.domain.policy import Door

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


class CallerView:
    """Shows exactly what `InvokeTool` would let through. Raises PolicyUnavailable.

    `catalogue` gives the present one.
    """

    def __init__(self, catalogue: Callable[[], Catalogue], policy: PolicyEngine) -> None:
        self._catalogue = catalogue
        self._policy = policy

    async def all(self, kind: type[O], principal: Principal, door: Door, matches: Callable[[O], bool]) -> list[O]:
        """What the caller sees and `matches`, sorted by name."""
        view = self._catalogue().view(principal.tenant, kind.kind)
        candidates = [one for one in view if isinstance(one, kind) and matches(one)]
        return list(await self._policy.visible(principal, candidates, door))

    async def one(self, kind: type[O], principal: Principal, door: Door, name: str) -> O | None:
        """What has this very name (of a template: its text); None when the caller does not see it."""
        found = self._catalogue().find(principal.tenant, name, kind.kind)
        if not isinstance(found, kind) or not await self._policy.visible(principal, [found], door):
            return None
        return found
