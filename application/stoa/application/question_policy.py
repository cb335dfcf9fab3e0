"""The tenants' rules for questions to clients, as a policy engine around another one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.client_requests import ClientRequests
from stoa.domain.identity import Principal
from stoa.domain.operation import Operation
from stoa.domain.policy import Decision, Door, PolicyQuery

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


class QuestionPolicy(PolicyEngine):
    """Allows a question that both the tenant's rules and `engine` allow, with the lower of their caps. What is no
    question is `engine`'s alone."""

    def __init__(self, engine: PolicyEngine, rules: ClientRequests) -> None:
        self._engine = engine
        self._rules = rules

    async def decide(self, query: PolicyQuery) -> Decision:
        if query.question is None:
            return await self._engine.decide(query)
        own = self._rules.of(query.principal.tenant).judge(query.question)
        if not own.is_allowed:
            return own
        decision = await self._engine.decide(query)
        caps = [cap for cap in (own.max_tokens, decision.max_tokens) if cap is not None]
        return replace(decision, rules=(*own.rules, *decision.rules), max_tokens=min(caps, default=None))

    async def visible(self, principal: Principal, tools: Sequence[O], door: Door) -> Sequence[O]:
        return await self._engine.visible(principal, tools, door)
