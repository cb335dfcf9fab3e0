"""Scopes of tokens limit callers under any policy, also one that knows nothing of scopes."""

import pytest
from hypothesis import given, settings
from tests.strategies import policy_queries, token_limits

from stoa.application import Gateway, Principal
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.policy.token_scoped_policy import TokenScopedPolicy
from stoa.domain.errors import NotPermitted
from stoa.domain.operations.tool import LocalBinding, Tool, ToolAnnotations
from stoa.domain.policy.decision import Decision, PolicyQuery

BY_ROLE = RulesPolicyEngine([Rule("staff", "allow", lambda query: bool(query.principal.roles), "staff")])
READS, WRITES = (
    Tool(name=name, annotations=ToolAnnotations(read_only_hint=reads), binding=LocalBinding(function=name))
    for name, reads in (("get", True), ("put", False))
)


def caller(*roles, limit=None):
    return Principal.of("ann", tenant="acme", roles=roles, token_scopes=limit)


async def decide(policy, principal, tool):
    return await TokenScopedPolicy(policy).decide(PolicyQuery(principal, tool, {}, "mcp"))


async def test_scopes_of_a_token_limit_what_a_policy_grants_by_role_alone():
    limited = caller("devops", limit={"stoa:read"})
    assert (await decide(BY_ROLE, limited, READS)).is_allowed
    refused = await decide(BY_ROLE, limited, WRITES)
    assert refused == Decision(False, "needs scope stoa:write", ("token-scopes",), frozenset({"stoa:write"}))
    assert (await decide(BY_ROLE, limited.stepped_up(["stoa:write"]), WRITES)).is_allowed
    assert (await decide(BY_ROLE, caller("clerk"), WRITES)).is_allowed


class AsksForMore(RulesPolicyEngine):
    """As the default of an older release does: whatever is missing is named to everybody."""

    async def decide(self, query):
        decision = await super().decide(query)
        if decision.is_allowed:
            return decision
        return Decision(False, decision.reason, decision.rules, frozenset({query.operation.access.value}))


@pytest.mark.parametrize(
    ("who", "missing"),
    [
        (caller("viewer"), set()),
        (caller("viewer", limit={"stoa:read"}), set()),
        (caller(limit={"stoa:read"}), set()),
        (caller("devops", limit={"stoa:read"}), {"stoa:write"}),
        (caller("cpi-admin", limit={"stoa:read"}), {"stoa:write"}),
    ],
)
async def test_scopes_are_named_as_missing_only_where_the_caller_gets_further_with_them(who, missing):
    decision = await decide(AsksForMore(), who, WRITES)
    assert (decision.is_allowed, decision.missing_scopes) == (False, missing)


async def test_scopes_of_other_services_that_a_policy_asks_for_may_be_named():
    deny = Rule("crm", "deny", lambda query: "crm:use" not in query.principal.scopes, "needs crm:use")

    class Crm(RulesPolicyEngine):
        async def decide(self, query):
            decision = await super().decide(query)
            named = frozenset({"crm:use"}) if decision.rules == ("crm",) else decision.missing_scopes
            return Decision(decision.is_allowed, decision.reason, decision.rules, named)

    assert (await decide(Crm([deny, *DEFAULT_RULES]), caller("viewer"), READS)).missing_scopes == {"crm:use"}


@given(policy_queries(), token_limits)
@settings(deadline=None)
async def test_scopes_of_a_token_limit_what_is_shown_as_they_limit_what_is_allowed(query, limit):
    policy = TokenScopedPolicy(BY_ROLE)
    decision = await policy.decide(query)
    assert bool(await policy.visible(query.principal, [query.operation], query.door)) == decision.is_allowed
    if decision.is_allowed:
        assert query.principal.token_covers(query.operation.access)


async def test_scopes_of_a_token_govern_a_gateway_whatever_its_policy():
    gateway = Gateway(policy=BY_ROLE)
    for reads in (True, False):
        gateway.tool(lambda: "done", name="get" if reads else "put", annotations=ToolAnnotations(read_only_hint=reads))
    limited, full = caller("devops", limit={"stoa:read"}), caller("devops")
    for who, shown in ((limited, ["get"]), (full, ["get", "put"])):
        assert [tool.name for tool in (await gateway.tools(who)).items] == shown
        for name in ("get", "put"):
            outcome = await gateway.invoke(name, {}, who)
            assert isinstance(outcome.error, NotPermitted) == (name not in shown)
            explained = await gateway.explain_call.execute(who, None, name, {}, "library")
            assert explained.decision is not None
            assert explained.decision.is_allowed == (name in shown)
