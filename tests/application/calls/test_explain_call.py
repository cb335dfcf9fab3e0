"""An explanation says what a call would meet, and changes nothing."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from tests.application.pipeline import ANN, ScriptedBackend
from tests.strategies import principals, tools

from stoa.application.gateway import Gateway
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.ports import BackendCall, Previewable
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import NotAuthenticated, NotPermitted, OperationNotFound, QuotaExceeded, StoaError
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.testing.clock import ManualClock

ADMIN = Principal.of("root", roles=["cpi-admin"])
LIMIT = RateLimit(requests_per_minute=6, burst=2)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Arranged:
    def __init__(self, *some: Tool) -> None:
        self.sink, self.clock = InMemoryMeteringSink(), ManualClock()
        self.gateway = Gateway(sink=self.sink, clock=self.clock)
        self.calls = 0

        async def function(n: int) -> int:
            self.calls += 1
            return n

        self.gateway.tool(name="count", rate_limit=LIMIT, tenant=ANN.tenant)(function)
        self.gateway.add_tools(*some)

    async def explain(self, tool="count", arguments=None, caller=ANN, tenant=None):
        return await self.gateway.explain_call.execute(
            caller, tenant, tool, {"n": 1} if arguments is None else arguments, "cli"
        )


async def test_an_allowed_call_is_explained_to_its_price_and_limits_and_not_made():
    at = Arranged()
    found = await at.explain()
    assert found.decision is not None
    assert found.decision.is_allowed
    assert [(one.name, one.left) for one in found.limits] == [("caller", 10), ("tool", 2)]
    assert (found.tool, found.violations, found.absence, found.price) == ("count", (), None, 1000)
    assert found.request is None, "a function of this process is sent nothing"
    assert (at.calls, list(at.sink.events())) == (0, [])


async def test_an_explained_call_names_what_is_coerced_and_what_is_let_through():
    nested = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    schema = {"type": "object", "properties": {"a": nested}}
    local = LocalBinding(function="count")
    loose = Tool(name="loose", tenant=ANN.tenant, input_schema=schema, binding=local, validation="lenient")
    gateway = Gateway(backends=[ScriptedBackend([])])
    gateway.add_tools(loose)
    found = await gateway.explain_call.execute(ANN, None, "loose", {"a": {"n": "1", "other": 2}}, "cli")
    assert (found.coerced, found.tolerated, found.violations) == (("/a/n",), ("/a/*",), ())


async def test_what_is_left_of_a_limit_is_what_calls_left():
    at = Arranged()
    for left in (2, 1, 0, 0):
        found = await at.explain()
        assert next(one.left for one in found.limits if one.name == "tool") == left
        await at.gateway.invoke("count", {"n": 1}, ANN)


@pytest.mark.parametrize(
    ("owner", "caller", "is_shown"),
    [
        (None, ADMIN, True),
        ("acme", Principal.of("root", tenant="acme", roles=["cpi-admin"]), True),
        ("acme", Principal.of("ada", tenant="acme", roles=["tenant-admin"]), True),
        ("acme", Principal.of("ada", tenant="acme", roles=["tenant-admin"], token_scopes=["stoa:read"]), False),
        (None, Principal.of("ada", tenant="acme", roles=["tenant-admin"]), False),
        ("acme", Principal.of("dev", tenant="acme", roles=["devops"]), False),
        ("acme", ANN, False),
        (None, ANN, False),
    ],
)
async def test_explanations_show_what_a_back_end_would_be_sent_to_those_who_look_after_the_tool(
    owner, caller, is_shown
):
    class Call(BackendCall, Previewable):
        async def __call__(self, arguments, context):
            raise AssertionError("called")

        def preview(self, arguments):
            return {"sent": arguments}

    class Backend(ScriptedBackend):
        kind = "rest"

        def prepare(self, tool):
            return Call()

    gateway = Gateway(backends=[Backend([])])
    binding = {"kind": "rest", "method": "GET", "base_url": "http://127.0.0.1:9", "path": "/"}
    reads = {"read_only_hint": True}
    gateway.add_tools(
        Tool.model_validate(
            {"name": "far", "tenant": owner, "input_schema": SCHEMA, "annotations": reads, "binding": binding}
        )
    )
    for to_operator in (False, True):
        found = await gateway.explain_call.execute(caller, None, "far", {"n": 1}, "rest", to_operator=to_operator)
        assert found.decision is not None
        assert found.decision.is_allowed
        assert found.request == ({"sent": {"n": 1}} if is_shown or to_operator else None)


async def test_wrong_arguments_are_named():
    found = await Arranged().explain(arguments={"n": "many"})
    assert [violation.path for violation in found.violations] == ["/n"]
    assert found.request is None


async def test_a_refusal_is_explained_and_nothing_after_it():
    found = await Arranged().explain(caller=Principal.of("eve", tenant=ANN.tenant))
    assert found.decision is not None
    assert (found.decision.is_allowed, found.limits, found.price) == (False, (), None)
    assert (found.tool, found.violations, found.absence, found.request) == ("count", (), None, None)


async def test_only_a_platform_admin_is_told_why_something_is_absent():
    at = Arranged()
    stranger = Principal.of("bob", tenant="beta", roles=["tenant-admin"])
    for name in ("count", "nothing"):
        with pytest.raises(OperationNotFound):
            await at.explain(name, caller=stranger)
        with pytest.raises(OperationNotFound):
            await at.explain(name, caller=stranger, tenant=ANN.tenant)
    absent = await at.explain(caller=ADMIN)
    assert absent.absence == f"it belongs to {ANN.tenant}; you are looking at what is global"
    assert (absent.decision, absent.limits, absent.violations, absent.price, absent.request) == (
        None,
        (),
        (),
        None,
        None,
    )
    assert "registered" in str((await at.explain("nothing", caller=ADMIN)).absence)
    assert (await at.explain(caller=ADMIN, tenant=ANN.tenant)).absence is None


async def test_a_stranger_is_told_nothing_and_a_flood_is_stopped():
    at = Arranged()
    with pytest.raises(NotAuthenticated):
        await at.explain(caller=ANN.model_copy(update={"expires_at": at.clock.now() - timedelta(seconds=1)}))
    with pytest.raises(QuotaExceeded):
        for _ in range(1000):
            await at.explain()


@given(principals(), tools())
@settings(max_examples=100)
async def test_what_the_explanation_says_is_what_the_call_meets(caller, tool):
    tool = tool.model_copy(
        update={"binding": LocalBinding(function="count"), "rate_limit": None, "input_schema": SCHEMA}
    )
    at = Arranged()
    at.gateway.registry.replace([tool])
    try:
        found = await at.explain(tool.name, caller=caller)
    except StoaError as refused:
        outcome = await at.gateway.invoke(tool.name, {"n": 1}, caller)
        assert type(outcome.error) is type(refused)
        return
    outcome = await at.gateway.invoke(tool.name, {"n": 1}, caller)
    if found.absence is not None:
        assert isinstance(outcome.error, OperationNotFound)
    else:
        assert found.decision == outcome.decision
        assert isinstance(outcome.error, NotPermitted) != outcome.decision.is_allowed


async def test_an_explanation_is_for_the_door_that_the_call_would_come_through():
    not_here = Rule("not-here", "deny", lambda query: query.door == "cli", "not from the command line")
    gateway = Gateway(policy=RulesPolicyEngine([*DEFAULT_RULES, not_here]))
    gateway.tool(lambda: 1, name="count")
    for door, is_allowed in (("cli", False), ("rest", True)):
        found = await gateway.explain_call.execute(ANN, None, "count", {}, door)
        assert found.decision is not None
        assert found.decision.is_allowed == is_allowed
