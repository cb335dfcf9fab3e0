"""Listing shows exactly what can be called, page by page, whatever changes meanwhile."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ANN, Pipeline, tool
from tests.strategies import DOORS, few_names, few_tenants, principals, prompts, resources, rules, tools

from stoa.application.catalogue.list_operations import ListQuery
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.memory.rate_limiter import Unlimited
from stoa.domain.access.caller_limits import REQUESTS_PER_CALL
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import InvalidInput, NotAuthenticated, NotPermitted, OperationNotFound, QuotaExceeded
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import ApiReference
from stoa.domain.operations.tool import LocalBinding

local = st.just(LocalBinding(function="f"))
plain_rules = st.lists(rules().filter(lambda rule: not rule.reads_arguments), max_size=3)


async def names(pipeline, query=ListQuery(), credential=ANN, door="mcp"):
    return [one.name for one in (await pipeline.list_tools.execute(credential, query, door)).items]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        tools(binding=local) | resources(binding=local) | prompts(binding=local, arguments=st.just(())), max_size=10
    ),
    principals(),
    st.none() | few_tenants,
    DOORS,
    plain_rules,
)
async def test_what_is_listed_is_exactly_what_can_be_called(catalogue, caller, tenant, door, more_rules):
    open_tools = [one.model_copy(update={"rate_limit": None}) for one in catalogue]
    pipeline = Pipeline(*open_tools, policy=RulesPolicyEngine([*DEFAULT_RULES, *more_rules]), limiter=Unlimited())
    for kind, candidates in CANDIDATES.items():
        use_case = {"tool": pipeline.list_tools, "prompt": pipeline.list_prompts}.get(kind, pipeline.list_resources)
        page = await use_case.execute(caller, ListQuery(tenant=tenant), door)
        listed = [one.identifier for one in page.items]
        callable_names = []
        for name in candidates:
            arguments = {"n": 1} if kind == "tool" else {}
            outcome = await pipeline.invoke(name, arguments, caller, tenant=tenant, door=door, kind=kind)
            assert await _found(use_case, caller, tenant, name, door) == (name in listed)
            template = pipeline.registry.catalogue.resolve(caller.tenant, name)
            if kind == "resource" and name not in listed and template is not None and template.is_template:
                continue  # read from a template, which is listed elsewhere
            if not isinstance(outcome.error, OperationNotFound | NotPermitted):
                callable_names.append(name)
        assert kind == "resource" or listed == callable_names
        assert set(listed) <= set(callable_names)


CANDIDATES = {
    "tool": ["ant", "bee", "cat", "dog", "elk", "fox"],
    "resource": ["memo://ant", "memo://bee", "memo://cat/legs"],
    "prompt": ["ant", "bee", "cat", "dog", "elk", "fox"],
}


@settings(max_examples=60, deadline=None)
@given(st.lists(resources(binding=local), max_size=8), principals(), DOORS, plain_rules)
async def test_a_uri_can_be_read_exactly_when_its_resource_or_template_is_listed(catalogue, caller, door, more_rules):
    pipeline = Pipeline(
        *(one.model_copy(update={"rate_limit": None}) for one in catalogue),
        policy=RulesPolicyEngine([*DEFAULT_RULES, *more_rules]),
        limiter=Unlimited(),
    )
    listed = set()
    for templates in (False, True):
        page = await pipeline.list_resources.execute(caller, ListQuery(templates=templates), door)
        assert all(one.is_template is templates for one in page.items)
        listed |= {one.key for one in page.items}
    for uri in ["memo://ant", "memo://bee", "memo://cat/legs", "memo://fox", "memo://fox/tail", "memo://a/b/c"]:
        outcome = await pipeline.invoke(uri, credential=caller, door=door, kind="resource")
        resource = pipeline.registry.catalogue.resolve(caller.tenant, uri)
        assert (outcome.error is None) == (resource is not None and resource.key in listed)
        if outcome.error is None:
            assert [block.uri for block in outcome.result.content] == [uri]


async def _found(use_case, caller, tenant, name, door):
    try:
        return (await use_case.find(caller, tenant, name, door)).identifier == name
    except OperationNotFound:
        return False


@settings(max_examples=50, deadline=None)
@given(
    st.sets(few_names | st.from_regex("[a-z]{1,3}", fullmatch=True)),
    st.sets(st.from_regex("[a-z]{1,2}_", fullmatch=True)),
    st.integers(1, 4),
)
async def test_the_pages_together_are_everything_once_and_in_order_counted_or_not(found, hidden, limit):
    pipeline = Pipeline(*(tool(name) for name in found), *(tool(name, tags=("stoa:admin",)) for name in hidden))
    collected, after, pages = [], "", 0
    while True:
        page = await pipeline.list_tools.execute(ANN, ListQuery(after=after, limit=limit), "mcp")
        assert page.total == len(found)
        uncounted = await pipeline.list_tools.execute(ANN, ListQuery(after=after, limit=limit, is_counted=False), "mcp")
        assert (uncounted.items, uncounted.next_after, uncounted.total) == (page.items, page.next_after, None)
        assert len(page.items) <= limit
        collected += [one.name for one in page.items]
        pages += 1
        if page.next_after is None:
            break
        after = page.next_after
    assert collected == sorted(found)
    assert pages == max(1, -(-len(found) // limit))


changing = st.lists(st.sets(few_names), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(changing, st.integers(1, 2))
async def test_a_tool_that_stays_is_listed_once_while_others_come_and_go(states, limit):
    pipeline = Pipeline(*(tool(name) for name in states[0]))
    collected, after = [], ""
    present = []
    for number in range(20):
        state = states[min(number, len(states) - 1)]
        pipeline.registry.replace(tool(name) for name in state)
        present.append(state)
        page = await pipeline.list_tools.execute(ANN, ListQuery(after=after, limit=limit), "mcp")
        collected += [one.name for one in page.items]
        if page.next_after is None:
            break
        after = page.next_after
    assert len(set(collected)) == len(collected)
    assert set.intersection(*present) <= set(collected) <= set.union(*present)


@given(st.lists(tools(tenant=st.none()), max_size=8), st.frozensets(st.sampled_from(["pets", "money"])), few_names)
def test_all_conditions_of_a_query_must_hold(found, wanted, text):
    for one in Catalogue.build(found)[0].view(None):
        by_tag = not wanted or bool(wanted & set(one.tags))
        by_text = text in one.identifier or text in f"{one.title} {one.description}".casefold()
        assert ListQuery(tags=wanted).matches(one) == by_tag
        assert ListQuery(category="money").matches(one) == (one.category == "money")
        assert ListQuery(tags=wanted, search=text.upper()).matches(one) == (by_tag and by_text)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_holds_at_least_one_tool(limit):
    with pytest.raises(InvalidInput):
        ListQuery(limit=limit)


async def test_listing_authenticates_and_counts_as_a_request():
    pipeline = Pipeline(tool(), limit=RateLimit(requests_per_minute=1, burst=2))
    with pytest.raises(NotAuthenticated):
        await names(pipeline, credential=None)
    assert pipeline.trace == []
    for _ in range(REQUESTS_PER_CALL):
        assert await names(pipeline) == ["count"]
        assert (await pipeline.list_tools.find(ANN, None, "count", "mcp")).name == "count"
    with pytest.raises(QuotaExceeded):
        await names(pipeline)
    assert (await pipeline.invoke()).event.status == "success"  # calls have a limit of their own


async def test_what_another_tenant_has_is_an_empty_page_that_was_counted_like_any():
    pipeline = Pipeline(tool(), limit=RateLimit(requests_per_minute=60, burst=5))
    page = await pipeline.list_tools.execute(ANN, ListQuery(tenant="beta"), "mcp")
    assert (tuple(page.items), page.next_after, page.total) == ((), None, 0)
    assert page.limit is not None
    assert page.limit.remaining == 5 * REQUESTS_PER_CALL - 1


async def test_another_tenants_tool_cannot_be_found():
    pipeline = Pipeline(tool("theirs", tenant="beta"))
    for tenant in (None, "beta", "nowhere", "../beta"):
        assert await names(pipeline, ListQuery(tenant=tenant)) == []
        with pytest.raises(OperationNotFound, match="theirs"):
            await pipeline.list_tools.find(ANN, tenant, "theirs", "mcp")


def test_only_what_an_api_was_made_into_is_listed_for_it():
    own = tool().model_copy(update={"api": ApiReference(name="pets")})
    assert [ListQuery(api=name).matches(one) for one in (own, tool()) for name in (None, "pets", "other")] == [
        True, True, False, True, False, False,
    ]  # fmt: skip


async def test_the_policy_sees_the_door_that_is_listed_through_and_so_does_finding():
    mcp_only = Rule("mcp-only", "deny", lambda query: query.door != "mcp", "only through mcp")
    pipeline = Pipeline(tool(), policy=RulesPolicyEngine([*DEFAULT_RULES, mcp_only]))
    assert [await names(pipeline, door=door) for door in ("mcp", "rest")] == [["count"], []]
    assert (await pipeline.list_tools.find(ANN, None, "count", "mcp")).name == "count"
    with pytest.raises(OperationNotFound):
        await pipeline.list_tools.find(ANN, None, "count", "rest")


async def test_a_platform_admin_finds_what_is_in_the_tenant_that_it_asks_for():
    pipeline = Pipeline(tool("theirs", tenant="beta"))
    root = Principal.of("root", roles=["cpi-admin"])
    assert (await pipeline.list_tools.find(root, "beta", "theirs", "mcp")).tenant == "beta"
    with pytest.raises(OperationNotFound):
        await pipeline.list_tools.find(root, None, "theirs", "mcp")
