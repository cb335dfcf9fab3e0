"""Authorisation by rules in Python: the default of an embedding program, and the reference for other engines.

A rule is an id, an effect and a predicate. Any denying rule that applies wins; otherwise one allowing rule must
apply; otherwise the answer is no.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.policy_engine import PolicyEngine
from stoa.domain.access.identity import Principal, scopes_of
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door, PolicyQuery

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `reads_arguments` keeps it out of listing, where there are no arguments yet."""

    id: str
    effect: Literal["allow", "deny"]
    applies: Callable[[PolicyQuery], bool]
    reason: str
    """Shown to the caller when this rule decides."""
    reads_arguments: bool = False


def _is_foreign(query: PolicyQuery) -> bool:
    owner = query.operation.tenant
    return owner is not None and owner != query.principal.tenant and not query.principal.is_platform_admin


DEFAULT_RULES = (
    Rule("tenant-isolation", "deny", _is_foreign, "the tool belongs to another tenant"),
    Rule("platform-admin", "allow", lambda query: query.principal.is_platform_admin, "platform administrator"),
    Rule(
        "scope-grants-access",
        "allow",
        lambda query: query.operation.access in query.principal.scopes,
        "the caller's scopes cover the tool",
    ),
)
"""Platform admins may do everything; others need the tool's scope, within their tenant. The scope of a tool follows
from its method, tags and annotations (`Tool.access`)."""


class RulesPolicyEngine(PolicyEngine, HealthProbe):
    """Decides by a fixed list of rules. Never unavailable."""

    name = "policy"

    def __init__(self, rules: Sequence[Rule] = DEFAULT_RULES) -> None:
        self._denials = tuple(rule for rule in rules if rule.effect == "deny")
        self._grants = tuple(rule for rule in rules if rule.effect == "allow")
        self._denied = {rule.id: Decision(False, rule.reason, (rule.id,)) for rule in self._denials}
        self._granted = {rule.id: Decision(True, rule.reason, (rule.id,)) for rule in self._grants}

    async def decide(self, query: PolicyQuery) -> Decision:
        for rule in self._denials:
            if rule.applies(query):
                return self._denied[rule.id]
        for rule in self._grants:
            if rule.applies(query):
                return self._granted[rule.id]
        return _no_grant(query)

    async def visible(self, principal: Principal, tools: Sequence[O], door: Door) -> Sequence[O]:
        denials = [rule.applies for rule in self._denials if not rule.reads_arguments]
        grants = [rule.applies for rule in self._grants if not rule.reads_arguments]
        may_depend = any(rule.reads_arguments for rule in self._grants)

        def is_visible(tool: O) -> bool:
            query = PolicyQuery(principal, tool, {}, door)
            if any(applies(query) for applies in denials):
                return False
            return may_depend or any(applies(query) for applies in grants)

        return [tool for tool in tools if is_visible(tool)]

    def health(self) -> Health:
        return Health(True, f"{len(self._denials) + len(self._grants)} rules")


def _no_grant(query: PolicyQuery) -> Decision:
    needed = query.operation.access.value
    if needed in query.principal.scopes:
        return Decision(False, "no rule allows it", ("default-deny",))
    obtainable = scopes_of(query.principal.roles) & {needed}
    return Decision(False, f"needs scope {needed}", ("default-deny",), obtainable)
