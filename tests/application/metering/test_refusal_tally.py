"""RefusalTally: refused calls that are counted together; the sum over all events is the number of calls."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ANN, Pipeline, tool

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.metering.refusal_tally import SINGLY, RefusalKind, RefusalTally
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.testing.clock import ManualClock
from stoa.testing.ids import SequentialIds

STRANGERS = RefusalKind("-", "mcp", Status.UNAUTHORIZED, "not_authenticated", "(unknown)")


def tally(sink: InMemoryMeteringSink, told: list[MeteringEvent] | None = None) -> RefusalTally:
    return RefusalTally(
        sink, ManualClock(), SequentialIds(), lambda event, _: None if told is None else told.append(event)
    )


async def test_refusals_of_strangers_are_one_event_of_their_number_and_reason() -> None:
    sink, told = InMemoryMeteringSink(), list[MeteringEvent]()
    counting = tally(sink, told)
    for _ in range(104):
        counting.count(STRANGERS, 50, "odd\x1b name")
    assert list(sink.events()) == []
    await counting.close()
    (event,) = sink.events()
    assert (event.calls, event.tenant, event.tool, event.status) == (5200, "-", "(unknown)", Status.UNAUTHORIZED)
    assert event.metadata == {"door": "mcp", "error": "not_authenticated", "since": "2026-01-01T00:00:00+00:00"}
    assert told == [event]


async def test_a_tenant_has_so_many_refusals_singly_and_further_ones_as_time_passes() -> None:
    pipeline = Pipeline(tool(), limit=SINGLY)
    for _ in range(SINGLY.burst + 30):
        await pipeline.invoke("nothing")
    assert len(pipeline.events) == len(pipeline.observer.seen) == SINGLY.burst
    assert pipeline.observer.counted.total() == 30
    pipeline.clock.advance(60)
    for _ in range(100):
        await pipeline.invoke("nothing")
    assert len(pipeline.events) == SINGLY.burst + SINGLY.requests_per_minute
    await pipeline.recorder.close()
    assert sum(event.calls for event in pipeline.events) == SINGLY.burst + 130
    assert {event.tenant for event in pipeline.events} == {"acme"}


async def test_a_flood_of_refusals_of_one_tenant_leaves_another_its_single_events() -> None:
    pipeline = Pipeline(tool())
    other = Principal.of("bob", tenant="beta", roles=["viewer"])
    for _ in range(SINGLY.burst + 10):
        await pipeline.invoke("nothing")
    outcome = await pipeline.invoke("nothing", credential=other)
    assert pipeline.events[-1] == outcome.event


async def test_a_refusal_without_room_is_counted_and_stays_the_refusal_it_was() -> None:
    pipeline = Pipeline(tool())

    async def full(*_: Any, **__: Any) -> None:
        raise MeteringUnavailable("full")

    pipeline.instead["record"] = full
    outcome = await pipeline.invoke("nothing")
    assert outcome.status is Status.INVALID
    del pipeline.instead["record"]
    await pipeline.recorder.close()
    assert [(event.calls, event.status, event.tenant) for event in pipeline.events] == [(1, Status.INVALID, "acme")]


async def test_counts_that_find_no_room_are_kept_until_there_is_some(caplog: pytest.LogCaptureFixture) -> None:
    sink = InMemoryMeteringSink(capacity=1)
    counting = tally(sink)
    counting.count(STRANGERS, 3)
    await counting.flush()
    counting.count(STRANGERS, 4)
    await counting.flush()
    counting.count(STRANGERS, 5)
    await counting.flush()
    assert "9 refused calls are counted and not recorded yet" in caplog.text
    assert [event.calls for event in sink.drain()] == [3]
    await counting.close()
    assert [event.calls for event in sink.drain()] == [9]


async def test_tools_of_one_tenant_beyond_a_few_are_counted_as_others() -> None:
    sink = InMemoryMeteringSink()
    counting = tally(sink)
    for number in range(1000):
        counting.count(RefusalKind("acme", "rest", Status.RATE_LIMITED, "rate_limited", f"tool-{number}"))
    counting.count(RefusalKind("beta", "rest", Status.RATE_LIMITED, "rate_limited", "own"))
    await counting.close()
    events = list(sink.events())
    assert len(events) == 18
    assert sum(event.calls for event in events) == 1001
    assert {event.calls for event in events if event.tool == "(other)"} == {984}
    assert [event.tool for event in events if event.tenant == "beta"] == ["own"]


calls = st.lists(
    st.tuples(
        st.sampled_from(["count", "nothing"]),
        st.sampled_from([None, ANN, BearerToken("bad"), BearerToken("good")]),
        st.sampled_from([0, 0, 0, 1]),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(calls, st.integers(1, 4))
async def test_the_calls_of_all_events_are_the_calls_that_ended_whatever_finds_room(
    asked: list[tuple[str, Any, int]], capacity: int
) -> None:
    pipeline = Pipeline(tool())
    pipeline.sink._capacity = capacity
    recorded = 0
    for name, credential, drains in asked:
        await pipeline.invoke(name, credential=credential)
        recorded += sum(event.calls for event in pipeline.sink.drain()) if drains else 0
    for _ in asked:
        await pipeline.recorder.flush()
        recorded += sum(event.calls for event in pipeline.sink.drain())
    await pipeline.recorder.close()
    assert recorded == len(asked)
    told = len(pipeline.observer.seen) + pipeline.observer.counted.total()
    assert told == len(asked)


async def test_a_summary_is_written_by_itself_in_time() -> None:
    sink = InMemoryMeteringSink()
    counting = tally(sink)
    counting.count(STRANGERS)
    timer = counting._timer
    assert timer is not None
    assert 0 < timer.when() - asyncio.get_running_loop().time() <= 60
    timer._run()
    await asyncio.sleep(0)
    assert [event.calls for event in sink.events()] == [1]
    timer.cancel()
    await counting.close()
