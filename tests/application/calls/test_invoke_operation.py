"""The pipeline: whatever happens to a call, it is refused where it should be and metered exactly once."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ANN, Pipeline, answers, raises, tool, waits
from tests.strategies import few_names, invocations, operations, principals

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.domain.access.fair_share import Caps
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    IdentityUnavailable,
    InvalidArguments,
    LimiterUnavailable,
    MeteringUnavailable,
    NotAuthenticated,
    NotPermitted,
    OperationNotFound,
    PolicyUnavailable,
    QuotaExceeded,
    StoaError,
    Violation,
)
from stoa.domain.metering.event import CHARGED, MeteringEvent, Status
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import ToolAnnotations
from stoa.domain.results.result import MISSING, RawAnswer, TextContent, ToolResult
from stoa.testing.invocation_observer import InMemoryInvocationObserver

ONE_A_MINUTE = RateLimit(requests_per_minute=1, burst=1)
BINDING = tool().binding
SECRET = "hunter2"  # what must not come out
ROOT = Principal.of("root", tenant="beta", roles=["cpi-admin"])


def _instead(step: str, error: Exception) -> Callable[[Pipeline], None]:
    return lambda pipeline: pipeline.instead.update({step: raises(error)})


def _behaving(behaviour: Any) -> Callable[[Pipeline], None]:
    return lambda pipeline: setattr(pipeline.backend, "behaviour", behaviour)


async def _refuses(*args: Any) -> ToolResult:
    return ToolResult.error("no such pet")


async def _never(*args: Any) -> ToolResult:
    return await asyncio.get_running_loop().create_future()


@dataclass
class Case:
    """One way in which a call can end. It differs in one point from a call that succeeds."""

    status: Status
    error: type[StoaError] | None = None
    prepare: Callable[[Pipeline], object] = lambda pipeline: None
    call: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    last: str = "call"
    """The last part that was asked before the call was recorded."""
    limit: RateLimit = RateLimit(requests_per_minute=60_000_000, burst=1_000)
    calls_before: int = 0
    is_unsent: bool = False
    """The back end says that it got nothing of the call."""


DEFECT = RuntimeError(f"defect with {SECRET}")
CASES = {
    "success": Case(Status.SUCCESS),
    "tool error": Case(Status.ERROR, prepare=_behaving(_refuses)),
    "back end unavailable": Case(Status.ERROR, prepare=_behaving(raises(BackendUnavailable("away")))),
    "back end timed out": Case(Status.TIMEOUT, prepare=_behaving(raises(BackendTimedOut("slow")))),
    "back end nonsense": Case(Status.ERROR, prepare=_behaving(raises(BackendProtocolError("what")))),
    "back end not reached": Case(
        Status.ERROR, prepare=_behaving(raises(BackendUnavailable("away", nothing_was_sent=True))), is_unsent=True
    ),
    "back end not reached in time": Case(
        Status.TIMEOUT, prepare=_behaving(raises(BackendTimedOut("slow", nothing_was_sent=True))), is_unsent=True
    ),
    "deadline": Case(Status.TIMEOUT, prepare=_behaving(_never), tool={"timeout_seconds": 0.01}),
    "unsendable": Case(
        Status.INVALID, InvalidArguments, _behaving(raises(InvalidArguments([Violation("/n", "a short number")])))
    ),
    "defect in the back end": Case(Status.ERROR, StoaError, _behaving(raises(DEFECT))),
    "nobody": Case(Status.UNAUTHORIZED, NotAuthenticated, call={"credential": None}, last=""),
    "bad token": Case(
        Status.UNAUTHORIZED, NotAuthenticated, call={"credential": BearerToken("bad")}, last="authenticate"
    ),
    "expired": Case(
        Status.UNAUTHORIZED, NotAuthenticated, lambda pipeline: pipeline.clock.advance(61), last="",
        call={"credential": ANN.model_copy(update={"expires_at": Pipeline().clock.now() + timedelta(seconds=60)})},
    ),
    "verifier away": Case(
        Status.ERROR, IdentityUnavailable, _instead("authenticate", IdentityUnavailable("away")),
        call={"credential": BearerToken("good")}, last="authenticate",
    ),
    "defect in the verifier": Case(
        Status.ERROR, StoaError, _instead("authenticate", DEFECT),
        call={"credential": BearerToken("good")}, last="authenticate",
    ),
    "caller limit": Case(
        Status.RATE_LIMITED, QuotaExceeded, limit=ONE_A_MINUTE, calls_before=1, last="known limit"
    ),
    "limiter away": Case(
        Status.ERROR, LimiterUnavailable, _instead("limit caller", LimiterUnavailable("away")), last="limit caller"
    ),
    "defect in the limiter": Case(Status.ERROR, StoaError, _instead("limit caller", DEFECT), last="limit caller"),
    "unknown tool": Case(Status.INVALID, OperationNotFound, call={"tool": "nothing"}, last="limit caller"),
    "another tenant's tool": Case(Status.INVALID, OperationNotFound, tool={"tenant": "beta"}, last="limit caller"),
    "another tenant's catalogue": Case(
        Status.INVALID, OperationNotFound, tool={"tenant": "beta"}, call={"tenant": "beta"}, last="limit caller"
    ),
    "disabled tool": Case(Status.INVALID, OperationNotFound, tool={"enabled": False}, last="limit caller"),
    "denied": Case(
        Status.UNAUTHORIZED, NotPermitted, tool={"annotations": ToolAnnotations(read_only_hint=False)},
        last="limit caller",
    ),
    "policy away": Case(
        Status.ERROR, PolicyUnavailable, _instead("authorise", PolicyUnavailable("away")), last="limit caller"
    ),
    "defect in the policy": Case(Status.ERROR, StoaError, _instead("authorise", DEFECT), last="limit caller"),
    "tool limit": Case(
        Status.RATE_LIMITED, QuotaExceeded, tool={"rate_limit": ONE_A_MINUTE}, calls_before=1, last="limit caller tool"
    ),
    "limiter away later": Case(
        Status.ERROR, LimiterUnavailable, _instead("limit caller tool", LimiterUnavailable("away")),
        tool={"rate_limit": ONE_A_MINUTE}, last="limit caller tool",
    ),
    "invalid arguments": Case(
        Status.INVALID, InvalidArguments, call={"arguments": {"n": "many"}},
        tool={"rate_limit": ONE_A_MINUTE}, last="limit caller tool",
    ),
    "no object": Case(
        Status.INVALID, InvalidArguments, call={"arguments": [1]},
        tool={"rate_limit": ONE_A_MINUTE}, last="limit caller tool",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
async def test_every_call_ends_as_it_should_and_is_metered_once(case: Case, caplog):
    caplog.set_level(logging.CRITICAL, "stoa.application.calls.invoke_operation")
    pipeline = Pipeline(tool(**(case.tool or {})), limit=case.limit)
    for _ in range(case.calls_before):
        assert (await pipeline.invoke()).status is Status.SUCCESS
    reached_before = len(pipeline.backend.received)
    events_before = len(pipeline.events)
    pipeline.trace.clear()
    case.prepare(pipeline)

    outcome = await pipeline.invoke(**(case.call or {}))

    assert outcome.status is case.status
    assert (outcome.result is None) == (outcome.error is not None) == (case.error is not None)
    assert case.error is None or type(outcome.error) is case.error
    assert (
        outcome.error is None or outcome.error.__traceback__ is None
    )  # else only the garbage collector frees the call
    is_sent = case.last == "call"
    assert len(pipeline.backend.received) - reached_before == is_sent
    is_stranger = outcome.principal is None
    if is_stranger:
        assert pipeline.events[events_before:] == []
        await pipeline.recorder.close()
    assert pipeline.trace[-2:-1] == [case.last][: bool(case.last)]
    (event,) = pipeline.events[events_before:]
    if is_stranger:
        assert (event.calls, event.tenant, event.tool) == (1, "-", "(unknown)")
        assert pipeline.observer.summaries == [event]
        event = outcome.event
    assert event == outcome.event
    assert (event.status, event.cost_units, event.request_id) == (outcome.status, outcome.cost, outcome.request_id)
    charged = is_sent and case.status in CHARGED and not case.is_unsent
    assert outcome.cost == (1_000 if charged else 0)
    assert [told for _, told in pipeline.observer.seen[events_before:]] == [outcome] * (not is_stranger)
    assert pipeline.observer.counted.total() == is_stranger
    assert SECRET not in f"{outcome.error} {outcome.result} {event}"


async def test_the_stages_are_passed_in_their_order():
    pipeline = Pipeline(tool(rate_limit=ONE_A_MINUTE))
    assert (await pipeline.invoke(credential=BearerToken("good"))).status is Status.SUCCESS
    assert pipeline.trace == [
        "authenticate", "known limit", "find", "authorise", "limit caller tool", "reserve", "call", "record",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["authenticate", "authorise", "limit caller tool"])
async def test_after_a_refusal_no_later_stage_is_entered(step):
    pipeline = Pipeline(tool(rate_limit=ONE_A_MINUTE))
    pipeline.instead[step] = raises(PolicyUnavailable("no"))
    await pipeline.invoke(credential=BearerToken("good"))
    await pipeline.recorder.close()  # what is refused before the caller is known is recorded later
    counted = ["limit caller"] if step == "authorise" else []
    assert pipeline.trace[-2 - len(counted) :] == [step, *counted, "record"]
    assert pipeline.backend.received == []


async def test_denied_calls_use_no_tool_allowance_and_invalid_ones_do():
    free, paid = tool("free", rate_limit=ONE_A_MINUTE), tool("paid", rate_limit=ONE_A_MINUTE, tags=("stoa:write",))
    pipeline = Pipeline(free, paid)
    for _ in range(3):
        assert (await pipeline.invoke("paid")).status is Status.UNAUTHORIZED
    writer = Principal.of("wim", tenant="acme", roles=["devops"])
    assert (await pipeline.invoke("paid", credential=writer)).status is Status.SUCCESS
    assert (await pipeline.invoke("free", {"n": "x"})).status is Status.INVALID
    assert (await pipeline.invoke("free")).status is Status.RATE_LIMITED


async def test_denied_and_unknown_calls_count_against_the_caller():
    pipeline = Pipeline(tool(tags=("stoa:admin",)), limit=RateLimit(requests_per_minute=1, burst=2))
    assert (await pipeline.invoke()).status is Status.UNAUTHORIZED
    assert (await pipeline.invoke("nothing")).status is Status.INVALID
    assert (await pipeline.invoke()).status is Status.RATE_LIMITED
    pipeline.clock.advance(60)
    assert (await pipeline.invoke()).status is Status.UNAUTHORIZED


async def test_a_flood_of_denied_calls_is_told_of_its_limit_also_when_that_shows_only_in_counting():
    pipeline = Pipeline(tool(tags=("stoa:admin",)), limit=ONE_A_MINUTE)
    pipeline.instead["known limit"] = lambda claims: None  # a store that all replicas count in knows nothing before
    assert isinstance((await pipeline.invoke()).error, NotPermitted)
    for name in ("count", "nothing"):
        outcome = await pipeline.invoke(name)
        assert isinstance(outcome.error, QuotaExceeded)
        assert (outcome.status, outcome.event.status, outcome.cost) == (Status.RATE_LIMITED, Status.RATE_LIMITED, 0)
    assert len(pipeline.events) == 3
    assert pipeline.backend.received == []


async def test_a_caller_is_told_whether_it_has_shown_no_token_or_a_bad_one():
    pipeline = Pipeline(tool())
    for credential, is_missing in ((None, True), (BearerToken("bad"), False)):
        outcome = await pipeline.invoke(credential=credential)
        assert isinstance(outcome.error, NotAuthenticated)
        assert outcome.error.is_missing == is_missing


async def test_one_caller_does_not_use_up_the_limit_of_another():
    pipeline = Pipeline(tool(), limit=ONE_A_MINUTE)
    assert (await pipeline.invoke()).status is Status.SUCCESS
    assert (await pipeline.invoke()).status is Status.RATE_LIMITED
    bob = Principal.of("bob", tenant="acme", roles=["viewer"])
    assert (await pipeline.invoke(credential=bob)).status is Status.SUCCESS


async def test_calls_for_one_consumer_are_limited_together_and_others_go_on():
    pipeline = Pipeline(tool(), limits={"consumers": {"batch": ONE_A_MINUTE}})
    amy = ANN.model_copy(update={"subject": "amy"})
    assert (await pipeline.invoke(consumer="batch")).status is Status.SUCCESS
    refused = await pipeline.invoke(consumer="batch", credential=amy)
    assert isinstance(refused.error, QuotaExceeded)
    assert (refused.error.limit_name, refused.event.status) == ("consumer", Status.RATE_LIMITED)
    assert (await pipeline.invoke(consumer="other")).status is Status.SUCCESS
    assert len(pipeline.backend.received) == 2


async def test_tenants_share_a_global_tool_but_not_its_allowance():
    pipeline = Pipeline(tool(tenant=None, rate_limit=ONE_A_MINUTE))
    assert (await pipeline.invoke()).status is Status.SUCCESS
    assert (await pipeline.invoke(credential=ANN.model_copy(update={"subject": "amy"}))).status is Status.RATE_LIMITED
    bea = Principal.of("bea", tenant="beta", roles=["viewer"])
    assert (await pipeline.invoke(credential=bea)).status is Status.SUCCESS


async def test_somebody_without_a_credential_is_who_the_gateway_says():
    guest = Principal.of("guest", roles=["viewer"])
    pipeline = Pipeline(tool(tenant=None), anonymous=guest)
    outcome = await pipeline.invoke(credential=None)
    assert (outcome.status, outcome.principal, outcome.event.user_id) == (Status.SUCCESS, guest, "guest")


def _seen(outcome: Any, name: str) -> tuple[Any, ...]:
    """All that a caller or a reader of events can tell about an outcome, except the name that was asked for."""
    event = outcome.event.model_dump(exclude={"event_id", "tool", "request_id"})
    message = outcome.error and outcome.error.message.replace(name, "NAME")
    return type(outcome.error), message, outcome.status, outcome.decision, outcome.principal, outcome.cost, event


@settings(max_examples=40, deadline=None)
@given(
    principals(),
    st.sampled_from(["acme", "beta", "gamma"]),
    st.booleans(),
    st.sampled_from([tool(), Resource(uri="memo://x", binding=BINDING), Prompt(name="x", binding=BINDING)]),
)
async def test_what_is_another_tenants_and_what_is_unknown_look_the_same(caller, owner, asks_for_owner, one):
    if caller.tenant == owner or (asks_for_owner and caller.is_platform_admin):
        return
    name = "uri" if one.kind == "resource" else "name"
    pipeline = Pipeline(one.model_copy(update={name: "memo://theirs", "tenant": owner}))
    tenant = owner if asks_for_owner else None
    theirs = await pipeline.invoke("memo://theirs", credential=caller, tenant=tenant, kind=one.kind)
    nothing = await pipeline.invoke("memo://nothing", credential=caller, tenant=tenant, kind=one.kind)
    assert isinstance(theirs.error, OperationNotFound)
    assert theirs.error.kind == one.kind
    assert _seen(theirs, "memo://theirs") == _seen(nothing, "memo://nothing")


async def test_a_platform_admin_acts_for_a_tenant_and_the_event_says_which():
    pipeline = Pipeline(tool())
    outcome = await pipeline.invoke(credential=ROOT, tenant="acme")
    assert (outcome.status, outcome.event.tenant, outcome.event.user_id) == (Status.SUCCESS, "acme", "root")
    assert (await pipeline.invoke(credential=ROOT)).status is Status.INVALID


async def test_the_back_end_gets_the_permit_and_no_credential():
    pipeline = Pipeline(tool())
    await pipeline.invoke(arguments={"n": 1}, credential=BearerToken("good"), request_id="r-1")
    ((arguments, context),) = pipeline.backend.received
    assert arguments == {"n": 1}
    assert (context.permit.operation, context.principal, context.request_id) == (tool().key, ANN, "r-1")
    assert context.permit.rules == ("scope-grants-access",)
    assert "good" not in repr(context)


async def test_the_policy_sees_the_arguments():
    large = Rule("large", "deny", lambda query: query.arguments.get("n", 0) > 5, "too large", reads_arguments=True)
    pipeline = Pipeline(tool(), policy=RulesPolicyEngine([*DEFAULT_RULES, large]))
    assert (await pipeline.invoke(arguments={"n": 5})).status is Status.SUCCESS
    denied = await pipeline.invoke(arguments={"n": 6})
    assert isinstance(denied.error, NotPermitted)
    assert denied.event.metadata == {"door": "library", "rules": "large", "error": "not_permitted"}
    assert (await pipeline.invoke(arguments=[6])).status is Status.INVALID


async def test_what_no_rule_allows_is_denied_and_names_a_scope_only_where_one_is_missing():
    pipeline = Pipeline(tool(), policy=RulesPolicyEngine([]))
    for credential, missing in (
        (ANN, set()),
        (Principal.of("ann", tenant="acme", roles=["viewer"], token_scopes=[]), {"stoa:read"}),
    ):
        outcome = await pipeline.invoke(credential=credential)
        assert isinstance(outcome.error, NotPermitted)
        assert outcome.error.decision.missing_scopes == missing
        assert outcome.event.metadata["rules"] == "default-deny"
    assert pipeline.backend.received == []


@pytest.mark.parametrize("where", ["authorise", "back end"])
async def test_a_cancelled_call_is_metered_once_and_stays_cancelled(where):
    pipeline, reached = Pipeline(tool()), asyncio.Event()
    if where == "authorise":
        pipeline.instead[where] = waits(reached)
    else:
        pipeline.backend.behaviour = waits(reached)
    call = asyncio.create_task(pipeline.invoke())
    await reached.wait()
    pipeline.clock.advance(0.25)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (event,) = pipeline.events
    assert (event.status, event.latency_ms) == (Status.CANCELLED, 250)
    assert event.cost_units == (1250 if where == "back end" else 0)
    ((_, outcome),) = pipeline.observer.seen
    assert (outcome.status, outcome.event) == (Status.CANCELLED, event)


@pytest.mark.parametrize("is_running", [False, True])
async def test_a_call_that_is_cancelled_while_it_is_recorded_is_metered_once(is_running):
    pipeline, reached, in_backend = Pipeline(tool()), asyncio.Event(), asyncio.Event()

    async def slow_disk(event: Any, *, is_reserved: bool) -> None:
        await InMemoryMeteringSink.record(pipeline.sink, event, is_reserved=is_reserved)
        await waits(reached)()

    pipeline.instead["record"] = slow_disk
    if is_running:
        pipeline.backend.behaviour = waits(in_backend)
    call = asyncio.create_task(pipeline.invoke())
    if is_running:
        await in_backend.wait()
        call.cancel()
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (event,) = pipeline.events
    assert event.status is (Status.CANCELLED if is_running else Status.SUCCESS)
    assert [outcome.event for _, outcome in pipeline.observer.seen] == [event]


async def test_without_room_for_its_event_a_call_does_not_reach_the_back_end(caplog):
    pipeline = Pipeline(tool())

    def full() -> None:
        raise MeteringUnavailable(f"disk {SECRET} is full")

    pipeline.instead["reserve"] = full
    outcome = await pipeline.invoke()
    assert (outcome.status, outcome.result, outcome.cost) == (Status.ERROR, None, 0)
    assert isinstance(outcome.error, MeteringUnavailable)
    assert SECRET not in outcome.error.message
    assert SECRET in caplog.text
    assert pipeline.backend.received == []
    assert [event.metadata["error"] for event in pipeline.events] == ["metering_unavailable"]


@pytest.mark.parametrize(
    "failure", [MeteringUnavailable(f"disk {SECRET} failed"), RuntimeError(SECRET)], ids=["lost", "defect"]
)
async def test_an_answer_whose_event_is_lost_is_withheld_and_free(failure, caplog):
    caplog.set_level(logging.CRITICAL, "stoa.application.calls.invoke_operation")
    pipeline = Pipeline(tool())
    pipeline.instead["record"] = raises(failure)
    outcome = await pipeline.invoke()
    assert len(pipeline.backend.received) == 1
    assert (outcome.status, outcome.result, outcome.cost) == (Status.ERROR, None, 0)
    assert isinstance(outcome.error, MeteringUnavailable)
    assert SECRET not in outcome.error.message
    assert [told for _, told in pipeline.observer.seen] == [outcome]


async def test_a_broken_observer_does_not_fail_a_call_and_the_others_are_told(caplog):
    class Broken:
        def finished(self, invocation: Any, outcome: Any) -> None:
            raise RuntimeError("no disk")

    watching = InMemoryInvocationObserver()
    pipeline = Pipeline(tool(), observers=[Broken(), watching])
    assert (await pipeline.invoke()).status is Status.SUCCESS
    assert len(watching.seen) == 1
    assert "an observer failed" in caplog.text


@pytest.mark.parametrize("is_premium", [False, True])
@pytest.mark.parametrize(("seconds", "latency_ms"), [(0.0, 0), (0.0009, 0), (0.1, 100), (2.5, 2500)])
async def test_the_event_says_how_long_it_took_and_what_it_cost(is_premium, seconds, latency_ms):
    pipeline = Pipeline(tool(annotations=ToolAnnotations(destructive_hint=is_premium), tags=("stoa:read",)))

    async def slow(*args: Any) -> ToolResult:
        pipeline.clock.advance(seconds)
        return await answers(*args)

    pipeline.backend.behaviour = slow
    outcome = await pipeline.invoke()
    price = (2_000 if is_premium else 1_000) + latency_ms
    assert (outcome.latency_ms, outcome.cost, outcome.event.cost_units) == (latency_ms, price, price)
    assert outcome.event.timestamp == pipeline.clock.now()


async def test_a_raw_answer_is_shaped_and_fitted_to_the_output_schema():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    pipeline = Pipeline(tool("plain"), tool("promised", output_schema=schema))

    async def behaviour(arguments: Any, context: Any) -> RawAnswer:
        return RawAnswer(b'{"n": "many"}', "application/json")

    pipeline.backend.behaviour = behaviour
    assert (await pipeline.invoke("plain")).result == ToolResult((TextContent('{"n": "many"}'),), {"n": "many"})
    fitted = ToolResult((TextContent('{"n": "many"}'),), {}, omitted=("/n",))
    assert (await pipeline.invoke("promised")).result == fitted


async def test_what_the_caller_writes_is_kept_short_and_storable_in_the_event():
    pipeline = Pipeline(tool())
    text = "\ud800" + "x" * 500
    outcome = await pipeline.invoke(text, consumer=text, request_id=text)
    event = outcome.event
    assert outcome.request_id == text
    for told in (event.consumer, event.request_id):
        assert told is not None
        assert len(told) == 128
        told.encode()
    assert event.tool == (await pipeline.invoke("")).event.tool == "(unknown)"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(operations(binding=st.builds(lambda: tool().binding)), max_size=6),
    st.lists(invocations(), min_size=1, max_size=4),
    st.sampled_from([answers, _refuses, raises(BackendUnavailable("away"))]),
)
async def test_any_sequence_of_calls_gives_one_event_and_one_notice_each(catalogue, asked, behaviour):
    pipeline = Pipeline(*catalogue, limit=RateLimit(requests_per_minute=1, burst=2))
    pipeline.backend.behaviour = behaviour
    outcomes = [await pipeline.invoke_operation.execute(invocation) for invocation in asked]
    single = [(one, outcome) for one, outcome in zip(asked, outcomes, strict=True) if outcome.principal is not None]
    assert pipeline.events == [outcome.event for _, outcome in single]
    assert pipeline.observer.seen == single
    assert pipeline.observer.counted.total() == len(asked) - len(single)
    await pipeline.recorder.close()
    assert sum(event.calls for event in pipeline.events) == len(asked)
    assert len({event.event_id for event in pipeline.events}) == len(pipeline.events)
    reached = 0
    for outcome in outcomes:
        assert (outcome.result is None) != (outcome.error is None)
        assert outcome.event.status is outcome.status
        reached += outcome.result is not None
        if outcome.result is not None:
            assert outcome.decision is not None
            assert outcome.decision.is_allowed
    assert len(pipeline.backend.received) == reached


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(few_names, st.booleans()), max_size=6))
async def test_concurrent_calls_are_metered_like_those_one_after_another(asked):
    pipeline = Pipeline(*(tool(name) for name in {name for name, _ in asked}))
    outcomes = await asyncio.gather(
        *(pipeline.invoke(name, {} if is_valid else {"n": "x"}) for name, is_valid in asked)
    )
    assert [outcome.status is Status.SUCCESS for outcome in outcomes] == [is_valid for _, is_valid in asked]
    assert len(pipeline.events) == len(pipeline.observer.seen) == len(asked)


def test_missing_structured_content_is_not_null():
    assert ToolResult(()).structured is MISSING


async def test_an_event_holds_the_values_of_those_arguments_that_the_tool_names():
    pipeline = Pipeline(tool(metered_arguments=("n", "absent"), timeout_seconds=0.01))
    assert (await pipeline.invoke(arguments={"n": 7})).event.metadata["argument.n"] == "7"
    assert "argument.n" not in (await pipeline.invoke(arguments={"n": "no number"})).event.metadata
    assert "argument.absent" not in (await pipeline.invoke(arguments={"n": 7})).event.metadata
    other = Pipeline(tool())
    assert set((await other.invoke(arguments={"n": 7})).event.metadata) == {"door", "rules"}


@given(st.text())
async def test_a_value_in_an_event_is_short_text_that_every_reader_can_store(value):
    anything = {"type": "object", "properties": {"n": {}}}
    pipeline = Pipeline(tool(input_schema=anything, metered_arguments=("n",)))
    outcome = await pipeline.invoke(arguments={"n": value})
    kept = outcome.event.metadata["argument.n"]
    assert value.startswith(kept)
    assert len(kept) == min(128, len(value))
    assert MeteringEvent.from_json(outcome.event.model_dump_json()) == outcome.event


@pytest.mark.parametrize("capacity", [0, -1])
def test_events_are_not_kept_in_no_room_at_all(capacity):
    with pytest.raises(ValueError, match="give 1 or more, or None"):
        InMemoryMeteringSink(capacity=capacity)


async def test_running_calls_of_one_tenant_are_refused_beyond_its_share_and_leave_others_room() -> None:
    pipeline = Pipeline(tool(tenant=None), running=Caps(per_caller=2, per_tenant=3, total=6))
    go_on = asyncio.Event()

    async def slow(*_: Any) -> ToolResult:
        await go_on.wait()
        return ToolResult(())

    pipeline.backend.behaviour = slow
    bob, cal = (Principal.of(name, tenant=ANN.tenant, roles=["viewer"]) for name in ("bob", "cal"))
    calls = [asyncio.create_task(pipeline.invoke(credential=caller)) for caller in (ANN, ANN, bob)]
    for _ in range(20):
        await asyncio.sleep(0)
    for caller, whose in ((ANN, "caller"), (cal, "tenant")):
        refused = (await pipeline.invoke(credential=caller)).error
        assert isinstance(refused, QuotaExceeded)
        assert refused.limit_name == f"running calls of the {whose}"
    other = asyncio.create_task(pipeline.invoke(credential=Principal.of("eve", tenant="other", roles=["viewer"])))
    await asyncio.sleep(0)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    go_on.set()
    assert {(await call).status for call in (*calls[1:], other)} == {Status.SUCCESS}
    assert (await pipeline.invoke(credential=ANN)).status is Status.SUCCESS, "each place is given back"
