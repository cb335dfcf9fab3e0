"""Searches for counterexamples to the laws that the gateway's promises require of a policy.

The cases are all combinations of a few tenants, roles, scopes, kinds, doors and arguments with a few made-up tools, or
with those of a catalogue; simple ones come first, so the first counterexample is a short one.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import ROLE_SCOPES, Principal
from stoa.domain.errors import PolicyUnavailable
from stoa.domain.operations.binding import LocalBinding
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Access, Tool, ToolAnnotations
from stoa.domain.policy.decision import Decision, Door, PolicyQuery
from stoa.domain.schema.json_value import JsonObject

Law = Literal["answers", "repeats", "isolates", "grows", "bounded", "roles", "shows", "helps"]

LAWS: dict[Law, str] = {
    "answers": "Every question gets a decision",
    "repeats": "The same question gets the same decision",
    "isolates": "Nobody but a platform admin may use another tenant's tools",
    "grows": "Further scopes of a token never take away what was allowed",
    "bounded": "A token's scopes never allow what its caller's roles do not",
    "roles": "Without a role nothing is allowed that a stranger may not do",
    "shows": "What may be allowed for some arguments is listed",
    "helps": "With the scopes that a refusal names, the call passes",
}

_TENANTS = (None, "acme", "globex")
_DOORS: tuple[Door, ...] = ("mcp", "rest")
_ARGUMENTS: tuple[JsonObject, ...] = ({}, {"amount": 1_000_000, "name": "x"})
_SCOPES = tuple(access.value for access in Access)


@dataclass(frozen=True, slots=True)
class Counterexample:
    law: Law
    query: PolicyQuery
    found: str


class CheckPolicy:
    """Checks a policy. `tools`: the tools to ask about; without any, made-up ones of every owner and access."""

    def __init__(self, engine: PolicyEngine, tools: Sequence[Operation] = ()) -> None:
        self._engine = engine
        self._tools = tuple(tools) or tuple(_made_up())
        self.asked = 0

    async def execute(self) -> dict[Law, Counterexample]:
        """The first counterexample for each law that the policy breaks."""
        broken: dict[Law, Counterexample] = {}
        async for counterexample in self._search():
            broken.setdefault(counterexample.law, counterexample)
            if len(broken) == len(LAWS):
                break
        return broken

    async def _search(self) -> AsyncIterator[Counterexample]:
        for principal, tool, door in product(_principals(), self._tools, _DOORS):
            may_be_allowed = False
            for arguments in _ARGUMENTS:
                query = PolicyQuery(principal, tool, arguments, door)
                decision = await self._decide(query)
                if decision is None:
                    yield Counterexample("answers", query, "no decision")
                    continue
                may_be_allowed |= decision.is_allowed
                async for counterexample in self._about(query, decision):
                    yield counterexample
            if may_be_allowed and not await self._is_shown(principal, tool, door):
                yield Counterexample("shows", PolicyQuery(principal, tool, {}, door), "allowed, but not listed")

    async def _about(self, query: PolicyQuery, decision: Decision) -> AsyncIterator[Counterexample]:
        principal, tool = query.principal, query.operation
        again = await self._decide(query)
        if again != decision:
            yield Counterexample("repeats", query, f"{_said(decision)}, then {_said(again)}")
        is_foreign = tool.tenant is not None and tool.tenant != principal.tenant
        if decision.is_allowed and is_foreign and not principal.is_platform_admin:
            yield Counterexample("isolates", query, _said(decision))
        if decision.is_allowed:
            for scope in sorted(set(_SCOPES) - principal.scopes):
                stronger = await self._decide(replace(query, principal=principal.stepped_up([scope])))
                if stronger is None or not stronger.is_allowed:
                    yield Counterexample("grows", query, f"{_said(decision)}; with {scope} {_said(stronger)}")
            async for counterexample in self._about_roles(query, decision):
                yield counterexample
        elif decision.missing_scopes:
            helped = await self._decide(replace(query, principal=principal.stepped_up(decision.missing_scopes)))
            if helped is None or not helped.is_allowed:
                wanted = ", ".join(sorted(decision.missing_scopes))
                yield Counterexample("helps", query, f"{_said(decision)}; with {wanted} {_said(helped)}")

    async def _about_roles(self, query: PolicyQuery, decision: Decision) -> AsyncIterator[Counterexample]:
        """Yields an allowed query that is not allowed by its roles."""
        principal = query.principal
        if principal.token_scopes is not None:
            unlimited = _caller(principal.tenant, principal.roles, None)
            plain = await self._decide(replace(query, principal=unlimited))
            if plain is None or not plain.is_allowed:
                yield Counterexample("bounded", query, f"{_said(decision)}; by its roles alone {_said(plain)}")
        if not principal.roles:
            stranger = await self._decide(replace(query, principal=_caller(None, (), None)))
            if stranger is None or not stranger.is_allowed:
                yield Counterexample("roles", query, f"{_said(decision)}; a stranger is {_said(stranger)}")

    async def _decide(self, query: PolicyQuery) -> Decision | None:
        self.asked += 1
        try:
            return await self._engine.decide(query)
        except PolicyUnavailable:
            return None

    async def _is_shown(self, principal: Principal, tool: Operation, door: Door) -> bool:
        try:
            return bool(await self._engine.visible(principal, [tool], door))
        except PolicyUnavailable:
            return False


def _said(decision: Decision | None) -> str:
    if decision is None:
        return "no decision"
    return f"{'allowed' if decision.is_allowed else 'denied'} by {', '.join(decision.rules) or 'no rule'}"


def _principals() -> Iterator[Principal]:
    """Yields callers with each role, by an unlimited token and by one that has a single scope."""
    held: list[tuple[str, ...]] = [(), *((role,) for role in reversed(ROLE_SCOPES))]
    for scope, tenant, roles in product((None, *_SCOPES), _TENANTS, held):
        yield _caller(tenant, roles, scope)


def _caller(tenant: str | None, roles: Iterable[str], scope: str | None) -> Principal:
    limit = None if scope is None else frozenset({scope})
    return Principal.of("somebody", tenant=tenant, roles=roles, client="agent", token_scopes=limit)


def _made_up() -> Iterator[Operation]:
    hints = (
        ToolAnnotations(read_only_hint=True),
        ToolAnnotations(read_only_hint=False),
        ToolAnnotations(destructive_hint=True),
    )
    for tenant, annotations in product(_TENANTS, hints):
        name = f"tool-of-{tenant or 'everybody'}"
        yield Tool.model_validate(
            {"name": name, "tenant": tenant, "annotations": annotations, "binding": LocalBinding(function=name)}
        )
