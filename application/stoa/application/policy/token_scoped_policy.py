"""A policy that also enforces the scopes of the caller's token.

The engine within may decide by roles alone; it need not know that this caller's token was issued for less.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door, PolicyQuery

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind

RULE = "token-scopes"


class TokenScopedPolicy(PolicyEngine):
    """Decides as `engine` does, with two additional laws:

    - A token limited to some `stoa:*` scopes neither calls nor lists an operation that needs another one.
    - `missing_scopes` names scopes only if the same query passes with them: a client that cannot get further by
      logging in again is not sent to do so.
    """

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine

    async def decide(self, query: PolicyQuery) -> Decision:
        if query.principal.token_scopes is None:
            decision = await self._engine.decide(query)
        else:
            decision = await self._limited(query)
        if not decision.missing_scopes:
            return decision
        stronger = replace(query, principal=query.principal.stepped_up(decision.missing_scopes))
        would_help = (await self._limited(stronger)).is_allowed
        return decision if would_help else replace(decision, missing_scopes=frozenset())

    async def _limited(self, query: PolicyQuery) -> Decision:
        decision = await self._engine.decide(query)
        needed = query.operation.access.value
        if not decision.is_allowed or query.principal.token_covers(needed):
            return decision
        return Decision(False, f"needs scope {needed}", (RULE,), frozenset({needed}))

    async def visible(self, principal: Principal, tools: Sequence[O], door: Door) -> Sequence[O]:
        covered = tools
        if principal.token_scopes is not None:
            covered = [tool for tool in tools if principal.token_covers(tool.access.value)]
        return await self._engine.visible(principal, covered, door)
