"""The outbox with a relay: no gap whatever ends it, damaged lines aside, and room made of what is elsewhere only."""

import asyncio
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.events import event
from tests.infrastructure.outbox.disk import KIB

from stoa.application.ports import Batch
from stoa.domain.errors import MeteringUnavailable
from stoa.infrastructure.outbox import OutboxMeteringBacklog, OutboxMeteringSink, OutboxUsageLog, relayed_segments
from stoa.infrastructure.outbox.segment import POISON, list_segments
from stoa.testing.clock import ManualClock

SEGMENT_BYTES = 8 * KIB
MAX_TOTAL_BYTES = 6 * SEGMENT_BYTES


def made_sink(directory: Path, clock: ManualClock, **options: Any) -> OutboxMeteringSink:
    defaults = {"segment_bytes": SEGMENT_BYTES, "max_total_bytes": MAX_TOTAL_BYTES, "relayed": relayed_segments}
    return OutboxMeteringSink(directory, clock=clock, **(defaults | options))


def die(sink: OutboxMeteringSink) -> None:
    """As if its process had been killed: the locks go, the tails stay."""
    for segment in sink._calls._segments:
        os.close(segment._descriptor)
    sink._calls._segments.clear()


async def read(backlog: OutboxMeteringBacklog, max_events: int = 1000, max_bytes: int = 1024 * KIB) -> Batch | None:
    return await backlog.read(max_events=max_events, max_bytes=max_bytes)


async def drain(backlog: OutboxMeteringBacklog) -> list[str]:
    found: list[str] = []
    while batch := await read(backlog):
        found += [one.event.event_id for one in batch.events]
        await backlog.reject(batch.damaged)
        await backlog.acknowledge(batch, relayed=len(batch.events))
    return found


class RelayMachine(RuleBasedStateMachine):
    """Two writers and a relay that may each be killed at any point, on a disk that is too small for everything."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._place = TemporaryDirectory()
        self._directory = Path(self._place.name)
        self._clock = ManualClock()
        self._sinks = [made_sink(self._directory, self._clock) for _ in range(2)]
        self._backlog = OutboxMeteringBacklog(self._directory)
        self._batch: Batch | None = None
        self._kept: dict[int, list[str]] = {0: [], 1: []}
        """By writer, what `record` has promised to keep."""
        self._arrived: list[str] = []
        self._count = 0

    @rule(writer=st.integers(0, 1), padding=st.integers(0, 5000))
    def record(self, writer: int, padding: int) -> None:
        self._count += 1
        event_id = f"{writer}:{self._count}"
        try:
            self._runner.run(self._sinks[writer].record(event(event_id, padding=padding), is_reserved=False))
        except MeteringUnavailable:
            self._clock.advance(2)
            return
        self._kept[writer].append(event_id)

    @rule(max_events=st.integers(1, 6))
    def read(self, max_events: int) -> None:
        self._batch = self._runner.run(read(self._backlog, max_events))

    @rule()
    def publish_and_acknowledge(self) -> None:
        if self._batch is not None:
            self._publish(self._batch)
            self._runner.run(self._backlog.acknowledge(self._batch, relayed=len(self._batch.events)))
            self._batch = None

    @rule()
    def publish_and_die_before_it_is_acknowledged(self) -> None:
        if self._batch is not None:
            self._publish(self._batch)
            self._kill_relay()

    @rule()
    def kill_the_relay(self) -> None:
        self._kill_relay()

    @rule(writer=st.integers(0, 1), is_clean=st.booleans())
    def restart_a_writer(self, writer: int, is_clean: bool) -> None:
        if is_clean:
            self._runner.run(self._sinks[writer].close())
        else:
            die(self._sinks[writer])
        self._clock.advance(2)
        self._sinks[writer] = made_sink(self._directory, self._clock)

    def _publish(self, batch: Batch) -> None:
        assert batch.damaged == ()
        self._arrived += [one.event.event_id for one in batch.events]

    def _kill_relay(self) -> None:
        lock, self._backlog._lock = self._backlog._lock, None
        if lock is not None:
            os.close(lock)  # which is all that the death of a process does to it
        self._backlog = OutboxMeteringBacklog(self._directory)
        self._batch = None

    @invariant()
    def what_has_not_arrived_is_still_there(self) -> None:
        log = OutboxUsageLog(self._directory)
        there = {one.event_id for one in log.events()}
        assert log.damaged == 0
        for kept in self._kept.values():
            assert set(kept) - set(self._arrived) <= there

    @invariant()
    def the_disk_is_bounded(self) -> None:
        assert sum(path.stat().st_size for path in list_segments(self._directory)) <= MAX_TOTAL_BYTES

    def teardown(self) -> None:
        self._kill_relay()
        self._arrived += self._runner.run(drain(self._backlog))
        for kept in self._kept.values():
            own = [event_id for event_id in dict.fromkeys(self._arrived) if event_id in set(kept)]
            assert own == kept
        for sink in self._sinks:
            self._runner.run(sink.close())
        self._runner.run(self._backlog.close())
        self._runner.close()
        self._place.cleanup()


TestRelayWhateverDies = RelayMachine.TestCase
TestRelayWhateverDies.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


async def test_a_full_disk_makes_room_of_what_was_relayed_oldest_first(tmp_path: Path) -> None:
    clock = ManualClock()
    sink, backlog = made_sink(tmp_path, clock), OutboxMeteringBacklog(tmp_path)
    for number in range(60):
        await sink.record(event(str(number), padding=3000), is_reserved=False)
        assert await drain(backlog) == [str(number)]
    left = [one.event_id for one in OutboxUsageLog(tmp_path).events()]
    assert left == [str(number) for number in range(60 - len(left), 60)]
    assert len(left) > 4  # only as much goes as has to
    assert sink.health().findings == ()
    await sink.close()
    await backlog.close()


async def test_what_was_not_relayed_is_never_deleted_and_calls_are_refused_instead(tmp_path: Path) -> None:
    clock = ManualClock()
    sink, backlog = made_sink(tmp_path, clock), OutboxMeteringBacklog(tmp_path)
    kept: list[str] = []
    with pytest.raises(MeteringUnavailable, match="let the relay catch up"):
        for number in range(100):
            await sink.record(event(str(number), padding=3000), is_reserved=False)
            kept.append(str(number))
    assert [one.event_id for one in OutboxUsageLog(tmp_path).events()] == kept
    assert not sink.health().is_ready
    assert await drain(backlog) == kept
    clock.advance(2)
    sink.reserve()
    await sink.record(event("after"))
    assert await drain(backlog) == ["after"]
    await sink.close()
    await backlog.close()


async def test_without_a_relay_nothing_is_deleted(tmp_path: Path) -> None:
    sink, backlog = made_sink(tmp_path, ManualClock(), relayed=None), OutboxMeteringBacklog(tmp_path)
    with pytest.raises(MeteringUnavailable, match="archive and remove"):
        for number in range(100):
            await sink.record(event(str(number), padding=3000), is_reserved=False)
            await drain(backlog)
    assert next(OutboxUsageLog(tmp_path).events()).event_id == "0"
    await sink.close()
    await backlog.close()


async def test_damaged_lines_go_aside_with_their_reason_and_the_rest_is_relayed(tmp_path: Path) -> None:
    good = [event(str(number)).model_dump_json().encode() for number in range(3)]
    hole = b"\0" * 20_000
    (tmp_path / "a.jsonl").write_bytes(good[0] + b"\n{half\n" + hole + b"torn}\n" + good[1] + b"\n" + hole)
    (tmp_path / "b.jsonl").write_bytes(good[2] + b'\n{"event_id":')  # death cut it off: never told as recorded
    backlog = OutboxMeteringBacklog(tmp_path)
    assert await drain(backlog) == ["0", "1", "2"]
    poison = [json.loads(line) for line in (tmp_path / POISON).read_text().splitlines()]
    assert [one["line"] for one in poison] == ["{half", "torn}"]
    assert {one["reason"] for one in poison} == {"damaged on the disk: not a metering event"}
    status = await backlog.status()
    assert (status.relayed, status.rejected, status.waiting_bytes) == (3, 2, 0)
    assert relayed_segments(tmp_path) == {"a.jsonl", "b.jsonl"}
    log = OutboxUsageLog(tmp_path)
    assert len(list(log.events())) == 3  # the file beside the segments is none of them
    await backlog.close()


async def test_a_damaged_cursor_costs_repetitions_and_no_event(tmp_path: Path) -> None:
    sink, backlog = made_sink(tmp_path, ManualClock()), OutboxMeteringBacklog(tmp_path)
    await sink.record(event("a"), is_reserved=False)
    assert await drain(backlog) == ["a"]
    await backlog.close()
    (tmp_path / "relay.json").write_bytes(b'{"offsets": {"x": -1}}')
    again = OutboxMeteringBacklog(tmp_path)
    assert await drain(again) == ["a"]
    await again.close()
    await sink.close()


async def test_a_segment_that_was_made_and_not_locked_yet_is_not_taken_for_finished(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    backlog = OutboxMeteringBacklog(tmp_path)
    assert await drain(backlog) == []
    (tmp_path / "a.jsonl").write_bytes(event("a").model_dump_json().encode() + b"\n")
    assert await drain(backlog) == ["a"]
    await backlog.close()


async def test_a_directory_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file")
    backlog = OutboxMeteringBacklog(tmp_path / "outbox")
    with pytest.raises(MeteringUnavailable, match="check the disk"):
        await read(backlog)


async def test_reading_goes_on_from_its_place_and_does_not_begin_again(tmp_path: Path) -> None:
    sink = made_sink(tmp_path, ManualClock(), segment_bytes=64 * KIB, max_total_bytes=640 * KIB)
    backlog = OutboxMeteringBacklog(tmp_path)
    for number in range(20):
        await sink.record(event(str(number), padding=1000), is_reserved=False)
    first = await read(backlog, max_events=7)
    assert first is not None
    await backlog.acknowledge(first, relayed=7)
    second = await read(backlog, max_events=7, max_bytes=KIB)
    assert second is not None
    assert second.events[0].event.event_id == "7"
    assert sum(len(one.line) for one in second.events) <= 8 * KIB
    await backlog.close()
    await sink.close()
