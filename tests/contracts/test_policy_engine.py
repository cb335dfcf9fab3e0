"""The laws of PolicyEngine, for every adapter.

An engine whose policy is not made of rules takes the default ones only, and skips the tests with others.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.opa.peer import OpaPeer, opa_peer
from tests.strategies import (
    DOORS,
    annotations,
    policy_queries,
    principals,
    questions,
    rules,
    tags,
    token_limits,
    tools,
)

from stoa.application.memory.clock import SystemClock
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.ports import PolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.policy.decision import PolicyQuery
from stoa.infrastructure.opa.embedded import OpaWasmPolicyEngine
from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine

pytestmark = pytest.mark.asyncio(loop_scope="session")  # a connection belongs to the loop that opened it

MakeEngine = Callable[[Sequence[Rule]], PolicyEngine]


def _opa(engine: Callable[[], PolicyEngine]) -> MakeEngine:
    """Its policy is Rego, which says the same as the default rules and knows no others."""

    def make(some: Sequence[Rule]) -> PolicyEngine:
        if some is not DEFAULT_RULES:
            pytest.skip("a Rego policy is not made of rules")
        return engine()

    return make


@pytest.fixture(scope="session")
def peer() -> Iterator[OpaPeer]:
    with opa_peer() as peer:
        yield peer


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["rules", "opa-wasm", "opa-server"])
async def engine_of(request: pytest.FixtureRequest) -> AsyncIterator[MakeEngine]:
    if request.param == "opa-server":
        server = OpaServerPolicyEngine(request.getfixturevalue("peer").url, SystemClock(), timeout_seconds=30)
        yield _opa(lambda: server)
        await server.close()
    else:
        embedded = OpaWasmPolicyEngine()
        made: dict[str, MakeEngine] = {
            "rules": RulesPolicyEngine,
            "opa-wasm": _opa(lambda: embedded),
        }
        yield made[request.param]


sets_of_rules = st.lists(rules(), max_size=4)


async def allows(engine: PolicyEngine, query: PolicyQuery) -> bool:
    return (await engine.decide(query)).is_allowed


@given(sets_of_rules, policy_queries())
@settings(deadline=None)
async def test_equal_queries_get_equal_decisions(engine_of, some, query):
    engine = engine_of(some)
    again = PolicyQuery(query.principal, query.operation, dict(query.arguments), query.door)
    first = await engine.decide(query)
    assert await engine.decide(again) == first
    assert await engine_of(some).decide(query) == first
    assert first.reason


@given(sets_of_rules, rules(st.just("deny")), policy_queries(), st.integers(0, 4))
@settings(deadline=None)
async def test_a_further_denying_rule_never_allows_more(engine_of, some, denial, query, position):
    more = [*some[:position], denial, *some[position:]]
    if await allows(engine_of(more), query):
        assert await allows(engine_of(some), query)
        assert not denial.applies(query)


@given(sets_of_rules, rules(st.just("allow")), policy_queries(), st.integers(0, 4))
@settings(deadline=None)
async def test_a_further_allowing_rule_never_overrides_a_denial(engine_of, some, grant, query, position):
    more = [*some[:position], grant, *some[position:]]
    denied = any(rule.effect == "deny" and rule.applies(query) for rule in some)
    if denied:
        assert not await allows(engine_of(more), query)
    elif await allows(engine_of(some), query):
        assert await allows(engine_of(more), query)


@given(sets_of_rules, policy_queries(), questions())
@settings(deadline=None)
async def test_policy_with_a_client_request_never_allows_more_than_the_call(engine_of, some, query, question):
    if await allows(engine_of(some), replace(query, client_request=question)):
        assert await allows(engine_of(some), query)


@given(policy_queries(), st.sampled_from(["sampling", "elicitation", "roots"]), questions())
@settings(deadline=None)
async def test_policy_rule_may_deny_client_requests_and_allow_their_calls(engine_of, query, kind, question):
    def asks(query: PolicyQuery) -> bool:
        return query.client_request is not None and query.client_request.kind == kind

    engine, without = engine_of([*DEFAULT_RULES, Rule("silence", "deny", asks, "not here")]), engine_of(DEFAULT_RULES)
    assert await engine.decide(query) == await without.decide(query)
    asking = replace(query, client_request=question)
    assert await allows(engine, asking) == (question.kind != kind and await allows(without, asking))


@given(policy_queries())
async def test_without_rules_nothing_is_allowed(engine_of, query):
    decision = await engine_of([]).decide(query)
    assert (decision.is_allowed, decision.rules) == (False, ("default-deny",))


@given(policy_queries())
@settings(max_examples=50, deadline=None)
async def test_by_default_scopes_decide_within_the_own_tenant_and_admins_may_everything(engine_of, query):
    principal, tool = query.principal, query.operation
    is_own = tool.tenant is None or tool.tenant == principal.tenant
    expected = principal.is_platform_admin or (is_own and tool.access in principal.scopes)
    decision = await engine_of(DEFAULT_RULES).decide(query)
    assert decision.is_allowed == expected
    assert decision.rules


@given(policy_queries())
@settings(deadline=None)
async def test_scopes_that_a_refusal_names_are_those_with_which_the_same_query_passes(engine_of, query):
    engine = engine_of(DEFAULT_RULES)
    decision = await engine.decide(query)
    stronger = replace(query, principal=query.principal.stepped_up([query.operation.access]))
    would_pass = await allows(engine, stronger)
    if not decision.is_allowed and decision.rules == ("default-deny",):
        assert decision.missing_scopes == ({query.operation.access} if would_pass else set())
    else:
        assert not decision.missing_scopes


@given(policy_queries(), token_limits, token_limits)
@settings(deadline=None)
async def test_scopes_of_a_token_limit_what_roles_give_and_add_nothing(engine_of, query, some, more):
    engine = engine_of(DEFAULT_RULES)

    async def passes(limit: frozenset[str] | None) -> bool:
        held = query.principal
        limited = Principal.of(held.subject, tenant=held.tenant, roles=held.roles, token_scopes=limit)
        return await allows(engine, replace(query, principal=limited))

    if await passes(some):
        assert await passes(None)
        assert await passes(None if more is None else (some or frozenset()) | more) or some is None
        assert query.principal.roles


@given(policy_queries(), st.sampled_from(["stoa:admin", "stoa:read"]))
@settings(deadline=None)
async def test_scopes_without_a_role_allow_and_show_nothing(engine_of, query, scope):
    engine = engine_of(DEFAULT_RULES)
    held = Principal(
        subject="a", tenant=query.principal.tenant, token_scopes=frozenset({scope}), scopes=frozenset({scope})
    )
    assert not await allows(engine, replace(query, principal=held))
    assert not await engine.visible(held, [query.operation], query.door)


some_tools = st.lists(tools(), max_size=6)


@given(sets_of_rules, principals(), some_tools, DOORS)
@settings(deadline=None)
async def test_visible_is_what_may_be_allowed_for_some_arguments_in_the_order_given(
    engine_of, some, principal, candidates, door
):
    engine = engine_of(some)
    visible = list(await engine.visible(principal, candidates, door))
    blind = [rule for rule in some if not rule.reads_arguments]
    may_depend = len(blind) < len(some)
    positions = iter(range(len(candidates)))
    assert all(any(candidates[position] is tool for position in positions) for tool in visible)
    for tool in candidates:
        tries = [PolicyQuery(principal, tool, arguments, door) for arguments in ({}, {"n": 6})]
        is_allowed = any([await allows(engine, query) for query in tries])
        if is_allowed or not may_depend:
            assert (tool in visible) == is_allowed
        if any(rule.effect == "deny" and rule.applies(tries[0]) for rule in blind):
            assert tool not in visible


@given(principals(), some_tools, DOORS)
@settings(deadline=None)
async def test_another_tenants_tools_are_neither_visible_nor_allowed(engine_of, principal, candidates, door):
    engine = engine_of(DEFAULT_RULES)
    visible = await engine.visible(principal, candidates, door)
    if not principal.is_platform_admin:
        assert all(tool.tenant in {None, principal.tenant} for tool in visible)


@given(policy_queries())
@settings(max_examples=200, deadline=None)
async def test_every_engine_gives_the_default_decision_word_for_word(engine_of, query):
    reference = await RulesPolicyEngine().decide(query)
    assert await engine_of(DEFAULT_RULES).decide(query) == reference
    shown = await RulesPolicyEngine().visible(query.principal, [query.operation], query.door)
    assert await engine_of(DEFAULT_RULES).visible(query.principal, [query.operation], query.door) == shown


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), annotations, tags, DOORS)
@settings(max_examples=50, deadline=None)
async def test_a_viewer_calls_nothing_of_a_tenant_that_writes_whatever_its_manifest_says(
    engine_of, method, hints, some_tags, door
):
    binding = RestBinding(method=method, base_url="http://a.example", path="/")
    tool = Tool(name="ant", tenant="acme", binding=binding, annotations=hints, tags=some_tags)
    engine = engine_of(DEFAULT_RULES)
    for role, can in (("viewer", False), ("devops", method != "DELETE")):
        principal = Principal.of("ada", tenant="acme", roles=[role])
        query = PolicyQuery(principal, tool, {}, door)
        decision = await engine.decide(query)
        assert can or not decision.is_allowed
        assert decision.is_allowed or decision.reason == f"needs scope {tool.access.value}"
        assert bool(await engine.visible(principal, [tool], door)) == decision.is_allowed
    lowered = tool.model_copy(update={"may_lower_access": True, "tags": ("stoa:read",)})
    viewer = Principal.of("ada", tenant="acme", roles=["viewer"])
    assert (await engine.decide(PolicyQuery(viewer, lowered, {}, door))).is_allowed
