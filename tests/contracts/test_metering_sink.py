"""The laws of MeteringSink, and of the UsageLog that matches it, for every adapter."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.events import event
from tests.strategies import metering_events

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.ports import HealthProbe, MeteringSink, UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox import OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import list_segments
from stoa.testing.clock import ManualClock

LARGE = 3
"""A store that holds this many of the largest events, and not many more of the others."""
BOUND = 1000
KIB = 1024


@dataclass
class Store:
    sink: MeteringSink
    log: UsageLog
    health: HealthProbe
    relieve: Callable[[], object]
    """Make room in a full store; what was in it may be gone."""

    def events(self) -> list[MeteringEvent]:
        return list(self.log.events())


OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Store]:
    sink = InMemoryMeteringSink(capacity=BOUND // 2)
    yield Store(sink, sink, sink, sink.drain)


def _outbox(durability: Literal["process", "fsync"]) -> OpenStore:
    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        with TemporaryDirectory() as directory:
            path, clock = Path(directory), ManualClock()
            sink = OutboxMeteringSink(
                path,
                clock=clock,
                segment_bytes=12 * KIB,
                max_total_bytes=LARGE * 12 * KIB,
                max_refusal_bytes=128 * KIB,
                durability=durability,
            )

            def relieve() -> None:
                clock.advance(1)
                for segment in list_segments(path)[:-1]:
                    segment.unlink()

            yield Store(sink, OutboxUsageLog(path), sink, relieve)
            await sink.close()

    return open_store


ADAPTERS: dict[str, OpenStore] = {"memory": _memory, "process": _outbox("process"), "fsync": _outbox("fsync")}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return ADAPTERS[request.param]


async def _fill(store: Store, event: MeteringEvent) -> int:
    for count in range(BOUND):
        try:
            store.sink.reserve()
        except MeteringUnavailable:
            return count
        await store.sink.record(event)
    raise AssertionError("the store never became full")


def _admit_all(store: Store) -> int:
    for count in range(BOUND):
        try:
            store.sink.reserve()
        except MeteringUnavailable:
            return count
    raise AssertionError("the store promised room without end")


async def _refuse_all(store: Store, *, is_summary: bool, padding: int = 0) -> int:
    for count in range(BOUND):
        try:
            await store.sink.record_refusal(event(f"refused {count}", padding=padding), is_summary=is_summary)
        except MeteringUnavailable:
            return count
    raise AssertionError("refused calls have room without end")


@settings(max_examples=25, deadline=None)
@given(records=st.lists(st.tuples(metering_events(), st.booleans()), max_size=8))
async def test_events_come_back_once_and_in_order(
    open_store: OpenStore, records: list[tuple[MeteringEvent, bool]]
) -> None:
    async with open_store() as store:
        for event, is_reserved in records:
            if is_reserved:
                store.sink.reserve()
            await store.sink.record(event, is_reserved=is_reserved)
        expected = [event for event, _ in records]
        assert store.events() == expected
        assert store.events() == expected


@pytest.mark.parametrize("padding", [0, 7800])
async def test_every_admitted_call_is_recorded_however_many_refused_ones_try(
    open_store: OpenStore, padding: int
) -> None:
    async with open_store() as store:
        promised = _admit_all(store)
        assert promised >= LARGE
        kept: list[str] = []
        for _ in range(promised):
            for _ in range(3):
                try:
                    await store.sink.record(event("refused", padding=padding), is_reserved=False)
                    kept.append("refused")
                except MeteringUnavailable:
                    pass
            await store.sink.record(event("admitted", padding=padding))
            kept.append("admitted")
        assert [event.event_id for event in store.events()] == kept


async def test_a_refused_admission_holds_no_room(open_store: OpenStore) -> None:
    async with open_store() as store:
        promised = _admit_all(store)
        for _ in range(3):
            with pytest.raises(MeteringUnavailable):
                store.sink.reserve()
        one = event()
        for _ in range(promised):
            await store.sink.record(one)
        assert len(store.events()) == promised


async def test_a_full_store_refuses_both_and_recovers_when_there_is_room_again(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert await _fill(store, event()) >= LARGE
        with pytest.raises(MeteringUnavailable):
            store.sink.reserve()
        with pytest.raises(MeteringUnavailable):
            await store.sink.record(event(), is_reserved=False)
        store.relieve()
        store.sink.reserve()
        await store.sink.record(event("after"))
        assert store.events()[-1].event_id == "after"


async def test_readiness_follows_the_room(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert store.health.name == "metering"
        assert store.health.health().is_ready
        await _fill(store, event())
        with pytest.raises(MeteringUnavailable):
            store.sink.reserve()
        full = store.health.health()
        assert not full.is_ready
        assert full.detail
        store.relieve()
        store.sink.reserve()
        assert store.health.health().is_ready


async def test_an_event_is_kept_before_the_first_suspension(open_store: OpenStore) -> None:
    async with open_store() as store:
        store.sink.reserve()
        recording = store.sink.record(event("cancelled"))
        try:
            recording.send(None)
        except StopIteration:
            pass
        else:
            recording.close()  # what cancellation at this point comes to
        assert [event.event_id for event in store.events()] == ["cancelled"]


async def test_reading_goes_on_while_events_are_recorded(open_store: OpenStore) -> None:
    async with open_store() as store:
        for number in range(5):
            await store.sink.record(event(f"before-{number}"), is_reserved=False)
        reading = store.log.events()
        seen = [next(reading).event_id]
        for number in range(5):
            await store.sink.record(event(f"during-{number}"), is_reserved=False)
        seen += [event.event_id for event in reading]
        assert seen[:5] == [f"before-{number}" for number in range(5)]


@settings(max_examples=15, deadline=None)
@given(event=metering_events(), text=st.text(min_size=1500, max_size=3000), count=st.integers(1, 8))
async def test_an_oversize_event_keeps_its_money_status_times_and_tenant(
    open_store: OpenStore, event: MeteringEvent, text: str, count: int
) -> None:
    large = event.model_copy(
        update={"metadata": {f"{number}": text for number in range(count)}, "user_id": text, "request_id": text}
    )
    async with open_store() as store:
        store.sink.reserve()
        await store.sink.record(large)
        (back,) = store.events()
        kept = {"timestamp", "tenant", "tool", "latency_ms", "status", "cost_units", "event_id"}
        assert back.model_dump(include=kept) == large.model_dump(include=kept)
        assert text.startswith(back.user_id)


@pytest.mark.parametrize("padding", [0, 7800])
async def test_refused_calls_take_no_room_of_admitted_ones_nor_of_summaries(
    open_store: OpenStore, padding: int
) -> None:
    async with open_store() as quiet, open_store() as flooded:
        singles = await _refuse_all(flooded, is_summary=False, padding=padding)
        summaries = await _refuse_all(flooded, is_summary=True, padding=padding)
        assert singles
        assert summaries == await _refuse_all(quiet, is_summary=True, padding=padding)
        assert _admit_all(flooded) == _admit_all(quiet)
        assert flooded.health.name == "metering"
        assert len(flooded.events()) == singles + summaries


async def test_admitted_calls_take_no_room_of_refused_ones(open_store: OpenStore) -> None:
    async with open_store() as quiet, open_store() as full:
        await _fill(full, event())
        assert await _refuse_all(full, is_summary=False) == await _refuse_all(quiet, is_summary=False)


@settings(max_examples=15, deadline=None)
@given(kinds=st.lists(st.sampled_from(["admitted", "single", "summary"]), max_size=12))
async def test_events_of_each_kind_come_back_once_and_in_their_order(open_store: OpenStore, kinds: list[str]) -> None:
    async with open_store() as store:
        expected: dict[str, list[str]] = {"admitted": [], "single": [], "summary": []}
        for number, kind in enumerate(kinds):
            one = event(f"{kind} {number}")
            if kind == "admitted":
                store.sink.reserve()
                await store.sink.record(one)
            else:
                await store.sink.record_refusal(one, is_summary=kind == "summary")
            expected[kind].append(one.event_id)
        back = [one.event_id for one in store.events()]
        assert len(back) == len(kinds)
        for kind, ids in expected.items():
            assert [one for one in back if one.startswith(kind)] == ids
