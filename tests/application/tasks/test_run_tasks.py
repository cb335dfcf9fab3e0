"""The pipeline's moment of admission, and what a function notices of tasks where there are none."""

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
    InputRequired,
    RootsRequest,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined, PolicyUnavailable, TasksUnavailable
from stoa.domain.metering.event import Status
from stoa.domain.operations.operation import Operation
from stoa.testing.client_channel import InMemoryClientChannel

ONE = RateLimit(requests_per_minute=60, burst=1)
FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def asked(**rest: object) -> Invocation:
    return Invocation(**{"credential": ANN, "name": "count", "arguments": {}, "door": "library", **rest})


async def test_admission_is_told_after_every_refusal_and_right_before_the_call() -> None:
    pipeline = Pipeline(tool(rate_limit=ONE))
    told: list[tuple[Operation, Principal]] = []

    async def admitted(what: Operation, who: Principal, _: object) -> None:
        pipeline.trace.append("admitted")
        told.append((what, who))

    assert (await pipeline.invoke_operation.execute(asked(), None, admitted)).status is Status.SUCCESS
    assert pipeline.trace[-4:] == ["admit", "admitted", "call", "record"]
    assert [(what.name, who) for what, who in told] == [("count", ANN)]
    pipeline.instead["authorise"] = _raise(PolicyUnavailable("no"))
    for refused in (asked(arguments={"n": "x"}), asked(name="other"), asked(credential=None), asked()):
        assert (await pipeline.invoke_operation.execute(refused, None, admitted)).result is None
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


async def test_a_tasks_channel_tells_nobody_and_never_asks_a_key_again() -> None:
    early = InMemoryClientChannel(ClientCapabilities(elicitation=True), lambda *_: None)

    async def begin() -> bool:
        channel.has_begun = True
        return True

    channel = TaskChannel(early, begin, lambda _, raw: ElicitationAnswer("accept", raw) if raw else None)
    await channel.progress(1, 2, "early")
    assert (early.progressed, channel.message) == ([(1, 2, "early")], None)
    assert await channel.begin_task()
    for value, message, expected in ((1, "one", "one"), (1, "again", "one"), (2, None, "2 of 3")):
        await channel.progress(value, 3, message)
        assert channel.message == expected
    await channel.log("info", {"no": "text"})
    await channel.log("debug", "quiet")
    assert channel.message == "2 of 3"
    await channel.log("info", "said")
    await channel.hang_up()
    assert (channel.message, len(early.progressed), early.logged, early.hung_up) == ("said", 1, [], 0)
    form = ElicitationRequest("Sure?", FORM)
    channel.given = GivenAnswers(
        {"known": {"ok": True}, "changed": None, "another": {"ok": True}, "unknown": {"ok": True}},
        {"known": fingerprint(form), "changed": fingerprint(form), "another": fingerprint(RootsRequest())},
    )
    assert await channel.ask({"known": form}) == {"known": ElicitationAnswer("accept", {"ok": True})}
    with pytest.raises(InputRequired) as open_question:
        await channel.ask({"known": form, "new": form})
    assert list(open_question.value.requests) == ["new"]
    for key in ("changed", "another", "unknown"):  # what was answered was another question, or nobody knows which
        with pytest.raises(ClientRequestDeclined, match=key):
            await channel.ask({key: form})
    limited = TaskChannel(InMemoryClientChannel(ClientCapabilities(), lambda *_: None), begin, lambda *_: None)
    limited.has_begun = True
    with pytest.raises(ClientCapabilityMissing):
        await limited.ask({"new": form})
