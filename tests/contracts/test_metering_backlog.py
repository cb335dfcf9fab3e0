"""The laws of MeteringBacklog, for every adapter."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.events import event
from tests.strategies import metering_events

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.ports import MeteringBacklog, MeteringSink, Rejected
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox import OutboxMeteringBacklog, OutboxMeteringSink
from stoa.infrastructure.outbox.segment import POISON
from stoa.testing.clock import ManualClock
from stoa.testing.metering_backlog import InMemoryMeteringBacklog

KIB = 1024
LIMITS = {"max_events": 100, "max_bytes": 1024 * KIB}


@dataclass
class Store:
    sink: MeteringSink
    open: Callable[[], MeteringBacklog]
    """One more backlog of the sink, of another process as it were."""
    rejected: Callable[[], int]
    """How many are kept for people."""


OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Store]:
    sink = InMemoryMeteringSink()
    first = InMemoryMeteringBacklog(sink)
    yield Store(sink, lambda: InMemoryMeteringBacklog(sink, beside=first), lambda: len(first.rejected))


@asynccontextmanager
async def _outbox() -> AsyncIterator[Store]:
    with TemporaryDirectory() as directory:
        path = Path(directory)
        sink = OutboxMeteringSink(path, clock=ManualClock(), segment_bytes=12 * KIB)

        def rejected() -> int:
            poison = path / POISON
            return len(poison.read_bytes().splitlines()) if poison.exists() else 0

        yield Store(sink, lambda: OutboxMeteringBacklog(path), rejected)
        await sink.close()


ADAPTERS: dict[str, OpenStore] = {"memory": _memory, "outbox": _outbox}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return ADAPTERS[request.param]


async def _record(store: Store, *events: MeteringEvent) -> None:
    for one in events:
        await store.sink.record(one, is_reserved=False)


async def _drained(backlog: MeteringBacklog, **limits: int) -> list[MeteringEvent]:
    events: list[MeteringEvent] = []
    while batch := await backlog.read(**(LIMITS | limits)):
        events += [recorded.event for recorded in batch.events]
        await backlog.acknowledge(batch, relayed=len(batch.events))
    return events


@settings(max_examples=25, deadline=None)
@given(
    records=st.lists(metering_events(padding=2000), max_size=12),
    later=st.lists(metering_events(), max_size=4),
    max_events=st.integers(1, 5),
    max_bytes=st.integers(1, 20 * KIB),
)
async def test_every_event_comes_once_and_in_order_when_batches_are_acknowledged(
    open_store: OpenStore, records: list[MeteringEvent], later: list[MeteringEvent], max_events: int, max_bytes: int
) -> None:
    async with open_store() as store:
        backlog = store.open()
        await _record(store, *records)
        assert await _drained(backlog, max_events=max_events, max_bytes=max_bytes) == records
        await _record(store, *later)
        assert await _drained(backlog, max_events=max_events, max_bytes=max_bytes) == later
        assert await backlog.read(**LIMITS) is None
        await backlog.close()


@settings(max_examples=25, deadline=None)
@given(
    records=st.lists(metering_events(padding=2000), min_size=1, max_size=12),
    acknowledged=st.integers(0, 5),
    max_events=st.integers(1, 4),
)
async def test_whoever_opens_it_later_begins_behind_what_was_acknowledged(
    open_store: OpenStore, records: list[MeteringEvent], acknowledged: int, max_events: int
) -> None:
    async with open_store() as store:
        first = store.open()
        await _record(store, *records)
        done = 0
        for _ in range(acknowledged):
            if batch := await first.read(max_events=max_events, max_bytes=1024 * KIB):
                await first.acknowledge(batch, relayed=len(batch.events))
                done += len(batch.events)
        await first.read(**LIMITS)  # and then it is gone
        await first.close()
        second = store.open()
        assert await _drained(second) == records[done:]
        await second.close()


async def test_reading_does_not_move_on(open_store: OpenStore) -> None:
    async with open_store() as store:
        backlog = store.open()
        await _record(store, event("a"), event("b"))
        first, again = await backlog.read(**LIMITS), await backlog.read(**LIMITS)
        assert first is not None
        assert again is not None
        assert first.events == again.events
        assert [MeteringEvent.from_json(recorded.line) for recorded in first.events] == [event("a"), event("b")]
        await backlog.close()


async def test_one_has_the_turn_and_the_next_takes_over(open_store: OpenStore) -> None:
    async with open_store() as store:
        first, second = store.open(), store.open()
        await _record(store, event("a"))
        assert await first.read(**LIMITS) is not None
        assert await second.read(**LIMITS) is None
        await first.fail("the broker is away")
        told = await first.status()
        assert await second.status() == told
        assert (told.failure, told.failures) == ("the broker is away", 1)
        await first.close()
        assert await _drained(second) == [event("a")]
        await second.close()


async def test_the_status_tells_what_waits_and_what_was_done(open_store: OpenStore) -> None:
    async with open_store() as store:
        backlog = store.open()
        await _record(store, event("a"), event("b"), event("c"))
        assert await backlog.read(max_events=2, max_bytes=1024 * KIB) is not None
        before = await backlog.status()
        assert before.waiting_bytes > 3 * len(event("a").model_dump_json()) - 3
        assert before.oldest == event("a").timestamp
        batch = await backlog.read(max_events=2, max_bytes=1024 * KIB)
        assert batch is not None
        await backlog.fail("away")
        await backlog.reject([Rejected(batch.events[1].line, "too large")])
        assert store.rejected() == 1
        await backlog.acknowledge(batch, relayed=1)
        after = await backlog.status()
        assert 0 < after.waiting_bytes < before.waiting_bytes / 2
        assert (after.relayed, after.rejected, after.failures, after.failure) == (1, 1, 1, "")
        await _drained(backlog)
        assert (await backlog.status()).waiting_bytes == 0
        assert (await backlog.status()).oldest is None
        await backlog.close()


async def test_batches_are_bounded_and_never_empty(open_store: OpenStore) -> None:
    async with open_store() as store:
        backlog = store.open()
        await _record(store, *(event(str(number), padding=2500) for number in range(9)))
        by_count = await backlog.read(max_events=4, max_bytes=1024 * KIB)
        by_size = await backlog.read(max_events=100, max_bytes=9 * KIB)
        smallest = await backlog.read(max_events=1, max_bytes=1)
        assert [len(batch.events) for batch in (by_count, by_size, smallest) if batch] == [4, 3, 1]
        await backlog.close()
