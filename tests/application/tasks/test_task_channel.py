"""The moment at which the pipeline lets a call become a task, and the channel of such a call."""

from collections.abc import Callable

import pytest
from tests.application.pipeline import ANN, Pipeline, tool

from stoa.application import Context, Gateway
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.ports import ClientChannel
from stoa.application.tasks.task_channel import TaskChannel
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import Invocation
from stoa.domain.calls.task import GivenAnswers
from stoa.domain.client_requests.client_request import (
    ClientCapabilities,
    ElicitationAnswer,
    ElicitationRequest,
    RootsRequest,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import ClientRequestDeclined, PolicyUnavailable, TasksUnavailable
from stoa.domain.metering.event import Status
from stoa.domain.operations.operation import Operation
from stoa.testing.client_channel import InMemoryClientChannel, InMemoryRoundChannel

ONE = RateLimit(requests_per_minute=60, burst=1)
FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def asked(**rest: object) -> Invocation:
    return Invocation(**{"credential": ANN, "name": "count", "arguments": {}, "door": "library", **rest})


async def test_before_call_runs_after_every_refusal_and_right_before_the_call() -> None:
    pipeline = Pipeline(tool(rate_limit=ONE))
    told: list[tuple[Operation, Principal]] = []

    async def before_call(what: Operation, who: Principal, _: object) -> None:
        pipeline.trace.append("before_call")
        told.append((what, who))

    assert (await pipeline.invoke_operation.execute(asked(), None, before_call)).status is Status.SUCCESS
    assert pipeline.trace[-4:] == ["reserve", "before_call", "call", "record"]
    assert [(what.identifier, who) for what, who in told] == [("count", ANN)]
    pipeline.instead["authorise"] = _raise(PolicyUnavailable("no"))
    for refused in (asked(arguments={"n": "x"}), asked(name="other"), asked(credential=None), asked()):
        assert (await pipeline.invoke_operation.execute(refused, None, before_call)).result is None
    assert len(told) == 1


def _raise(error: Exception) -> Callable[..., object]:
    async def behaviour(*_: object) -> object:
        raise error

    return behaviour


async def test_a_refusal_at_admission_is_free_metered_and_leaves_room_for_the_next_call() -> None:
    sink = InMemoryMeteringSink(capacity=2)
    gateway = Gateway(sink=sink)
    gateway.tool(lambda: "done", name="count")

    async def refuse(_: Operation, __: Principal, ___: object) -> None:
        raise TasksUnavailable("not now")

    outcome = await gateway.invoke_operation.execute(asked(), None, refuse)
    assert (outcome.status, outcome.cost, type(outcome.error)) == (Status.ERROR, 0, TasksUnavailable)
    assert (await gateway.invoke("count", {}, ANN)).status is Status.SUCCESS
    assert len(list(sink.events())) == 2


@pytest.mark.parametrize("channel", [None, InMemoryClientChannel(ClientCapabilities(), lambda *_: None)])
async def test_a_function_stays_in_the_foreground_where_there_are_no_tasks(channel: ClientChannel | None) -> None:
    gateway = Gateway()

    @gateway.tool(tasks="explicit")
    async def dig(context: Context) -> bool:
        return await context.continue_as_task()

    outcome = await gateway.invoke("dig", {}, ANN, channel=channel)
    assert outcome.result is not None
    assert outcome.result.structured is False


async def test_task_channel_keeps_messages_in_the_task_and_never_requests_an_answered_key_again() -> None:
    early = InMemoryRoundChannel(ClientCapabilities(elicitation=True), {})
    form = ElicitationRequest("Sure?", FORM)
    given = GivenAnswers(
        {"known": {"ok": True}, "changed": None, "another": {"ok": True}, "unknown": {"ok": True}},
        {"known": fingerprint(form), "changed": fingerprint(form), "another": fingerprint(RootsRequest())},
    )

    async def begin() -> bool:
        channel.continue_as_task(given)
        return True

    channel = TaskChannel(early, begin, lambda _, raw: ElicitationAnswer("accept", raw) if raw else None)
    await channel.progress(1, 2, "early")
    assert (early.progressed, channel.message) == ([(1, 2, "early")], None)
    assert await channel.collect({"known": form}) == {}
    assert await channel.begin_task()
    assert channel.has_begun
    for value, message, expected in ((1, "one", "one"), (1, "again", "one"), (2, None, "2 of 3")):
        await channel.progress(value, 3, message)
        assert channel.message == expected
    await channel.log("info", {"no": "text"})
    await channel.log("debug", "quiet")
    assert channel.message == "2 of 3"
    await channel.log("info", "said")
    await channel.hang_up()
    assert (channel.message, len(early.progressed), early.logged, early.hung_up) == ("said", 1, [], 0)
    assert await channel.collect({"known": form, "new": form}) == {"known": ElicitationAnswer("accept", {"ok": True})}
    for key in ("changed", "another", "unknown"):  # answered was another request, or it is unknown which
        with pytest.raises(ClientRequestDeclined, match=key):
            await channel.collect({key: form})
