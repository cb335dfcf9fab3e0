"""OutboxMeteringSink: rotation, refusals that say what to do, recovery, broken disks, group commit."""

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.events import event
from tests.infrastructure.outbox.disk import KIB, Disk, torn_write

from stoa.domain.errors import MeteringUnavailable
from stoa.infrastructure.outbox import OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import Segment, list_segments
from stoa.testing.clock import ManualClock

SMALL: dict[str, Any] = {"segment_bytes": 8 * KIB, "max_total_bytes": 32 * KIB}


def ids(directory: Path) -> list[str]:
    log = OutboxUsageLog(directory)
    found = [found.event_id for found in log.events()]
    assert log.damaged == 0
    return found


async def test_segments_are_filled_in_turn_and_only_the_last_ones_keep_a_tail(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), segment_bytes=8 * KIB)
    expected = [str(number) for number in range(9)]
    for event_id in expected:
        sink.reserve()
        await sink.record(event(event_id, padding=3000))
    assert ids(tmp_path) == expected
    paths = list_segments(tmp_path)
    assert [path.read_bytes().endswith(b"\0") for path in paths[:4]] == [False] * 4
    await sink.close()
    assert all(path.read_bytes().endswith(b"}\n") for path in list_segments(tmp_path))
    assert ids(tmp_path) == expected


async def test_writers_in_one_directory_keep_their_own_order(tmp_path: Path) -> None:
    clock = ManualClock()
    sinks = [OutboxMeteringSink(tmp_path, clock=clock, segment_bytes=8 * KIB) for _ in range(3)]
    for number in range(12):
        for name, sink in enumerate(sinks):
            await sink.record(event(f"{name}:{number}", padding=1500), is_reserved=False)
    found = ids(tmp_path)
    assert len(found) == 36
    for name in range(3):
        assert [one for one in found if one.startswith(f"{name}:")] == [f"{name}:{number}" for number in range(12)]
    for sink in sinks:
        await sink.close()


async def test_a_clock_that_stands_still_or_steps_back_does_not_disturb_the_order(tmp_path: Path) -> None:
    class Backwards(ManualClock):
        steps = 0

        def now(self):
            self.steps += 1
            return ManualClock(super().now().replace(year=2025 - self.steps)).now()

    sink = OutboxMeteringSink(tmp_path, clock=Backwards(), segment_bytes=8 * KIB)
    expected = [str(number) for number in range(8)]
    for event_id in expected:
        await sink.record(event(event_id, padding=6000))
    assert ids(tmp_path) == expected
    await sink.close()


async def test_the_limit_of_the_directory_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_bytes(b"{}\n" * 9 * KIB)
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), **SMALL)
    with pytest.raises(MeteringUnavailable) as refusal:
        sink.reserve()
    assert str(tmp_path) in refusal.value.message
    assert "archive" in refusal.value.message
    assert "max_total_bytes" in refusal.value.message
    assert sink.health().detail == refusal.value.message
    await sink.close()


async def test_a_file_in_the_place_of_the_directory_is_reported_and_the_sink_recovers(tmp_path: Path) -> None:
    place, clock = tmp_path / "metering", ManualClock()
    place.write_text("")
    sink = OutboxMeteringSink(place, clock=clock)
    assert not sink.health().is_ready
    with pytest.raises(MeteringUnavailable, match="not a directory"):
        sink.reserve()
    place.unlink()
    clock.advance(1)
    sink.reserve()
    await sink.record(event())
    assert sink.health().is_ready
    assert ids(place) == ["e-1"]
    await sink.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EIO])
def test_a_disk_that_refuses_is_described_without_the_systems_own_words(tmp_path: Path, code: int) -> None:
    disk = Disk()
    disk.create_failure = code
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), create_segment=disk.create)
    with pytest.raises(MeteringUnavailable) as refusal:
        sink.reserve()
    assert str(tmp_path) in refusal.value.message
    assert "injected" not in refusal.value.message


async def test_a_full_disk_is_asked_at_most_once_a_second(tmp_path: Path) -> None:
    disk, clock = Disk(), ManualClock()
    disk.create_failure = errno.ENOSPC
    sink = OutboxMeteringSink(tmp_path, clock=clock, create_segment=disk.create)
    for second in range(1, 4):
        for _ in range(5):
            with pytest.raises(MeteringUnavailable):
                sink.reserve()
            with pytest.raises(MeteringUnavailable):
                await sink.record(event(), is_reserved=False)
        assert disk.created == second
        clock.advance(1)
    disk.create_failure = None
    sink.reserve()
    await sink.record(event())
    assert ids(tmp_path) == ["e-1"]
    await sink.close()


async def test_asking_for_health_brings_a_sink_back_that_gets_no_calls(tmp_path: Path) -> None:
    disk, clock = Disk(), ManualClock()
    disk.create_failure = errno.ENOSPC
    sink = OutboxMeteringSink(tmp_path, clock=clock, create_segment=disk.create)
    disk.create_failure = None
    clock.advance(1)
    assert not sink.health().is_ready
    await asyncio.sleep(0)
    assert sink.health().is_ready
    await sink.close()


async def test_health_warns_before_the_directory_is_full(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_bytes(b"{}\n" * 7 * KIB)
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), **SMALL)
    health = sink.health()
    assert health.is_ready
    assert "archive" in health.findings[0]
    assert health.detail.startswith(f"{tmp_path}: 2 segments, {29 * KIB} bytes")
    await sink.close()


async def test_after_a_break_in_writing_the_event_stands_in_another_segment_and_no_half_line_is_left(
    tmp_path: Path,
) -> None:
    disk = Disk()
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), create_segment=disk.create)
    await sink.record(event("before"))

    def break_once(segment: Segment, line: bytes) -> None:
        disk.append = Segment.append
        torn_write(segment, line)

    disk.append = break_once
    sink.reserve()
    await sink.record(event("during"))
    await sink.record(event("after"))
    assert ids(tmp_path) == ["before", "during", "after"]
    assert disk.created == 2
    await sink.close()


async def test_a_disk_that_stays_broken_is_reported_and_the_room_of_the_lost_call_is_given_back(tmp_path: Path) -> None:
    disk, clock = Disk(), ManualClock()
    sink = OutboxMeteringSink(tmp_path, clock=clock, create_segment=disk.create, **SMALL)
    disk.append = torn_write
    for _ in range(10):
        sink.reserve()
        with pytest.raises(MeteringUnavailable, match="EIO"):
            await sink.record(event())
        with pytest.raises(MeteringUnavailable):
            sink.reserve()
        clock.advance(1)
    disk.append = Segment.append
    sink.reserve()
    await sink.record(event("after"))
    assert ids(tmp_path) == ["after"]
    await sink.close()


async def test_a_closed_sink_refuses(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock())
    await sink.record(event())
    await sink.close()
    await sink.close()
    with pytest.raises(MeteringUnavailable, match="closed"):
        sink.reserve()
    with pytest.raises(MeteringUnavailable, match="closed"):
        await sink.record(event(), is_reserved=False)
    assert not sink.health().is_ready
    assert ids(tmp_path) == ["e-1"]


async def test_an_unused_sink_leaves_no_file(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock())
    await sink.close()
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="segment_bytes"):
        OutboxMeteringSink(tmp_path, clock=ManualClock(), segment_bytes=8 * KIB - 1)
    with pytest.raises(ValueError, match="max_total_bytes"):
        OutboxMeteringSink(tmp_path, clock=ManualClock(), max_total_bytes=KIB)


class _Gate:
    """A disk whose syncs wait to be let through, one by one."""

    def __init__(self, disk: Disk) -> None:
        self.started = 0
        self.failure: OSError | None = None
        self._permits = threading.Semaphore(0)
        disk.sync = self._sync

    def open(self, count: int = 1) -> None:
        self._permits.release(count)

    def _sync(self, segment: Segment) -> None:
        self.started += 1
        assert self._permits.acquire(timeout=10)
        if self.failure is not None:
            raise self.failure
        Segment.sync(segment)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_concurrent_records_share_one_wait_for_the_disk(tmp_path: Path) -> None:
    disk = Disk()
    gate = _Gate(disk)
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), durability="fsync", create_segment=disk.create)
    first = asyncio.create_task(sink.record(event("first"), is_reserved=False))
    await _until(lambda: gate.started == 1)
    others = [asyncio.create_task(sink.record(event(str(n)), is_reserved=False)) for n in range(20)]
    await asyncio.sleep(0)
    assert len(ids(tmp_path)) == 21  # all are kept before they wait
    gate.open()
    await first
    assert not any(other.done() for other in others)  # the first run began before they were written
    gate.open()
    await asyncio.gather(*others)
    assert gate.started == 2
    gate.open(10)
    await sink.close()


async def test_a_cancelled_record_is_kept_and_disturbs_no_other(tmp_path: Path) -> None:
    disk = Disk()
    gate = _Gate(disk)
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), durability="fsync", create_segment=disk.create)
    leaving, staying = (asyncio.create_task(sink.record(event(name))) for name in ("leaving", "staying"))
    await _until(lambda: gate.started == 1)
    leaving.cancel()
    gate.open(10)
    await staying
    assert leaving.cancelled() or leaving.cancelling()
    assert ids(tmp_path) == ["leaving", "staying"]
    await sink.close()


async def test_a_failed_sync_is_told_to_all_who_waited_and_the_segment_is_not_trusted_again(tmp_path: Path) -> None:
    disk, clock = Disk(), ManualClock()
    gate = _Gate(disk)
    sink = OutboxMeteringSink(tmp_path, clock=clock, durability="fsync", create_segment=disk.create)
    gate.failure = OSError(errno.EIO, "injected")
    gate.open(100)
    results = await asyncio.gather(*(sink.record(event(str(n))) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [MeteringUnavailable] * 3
    gate.failure = None
    clock.advance(1)
    sink.reserve()
    await sink.record(event("after"))
    assert disk.created == 2
    assert ids(tmp_path)[-1] == "after"
    await sink.close()


async def test_full_segments_are_sealed_after_their_last_sync(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), durability="fsync", segment_bytes=8 * KIB)
    expected = [str(number) for number in range(9)]
    for event_id in expected:
        await sink.record(event(event_id, padding=5000))
    await sink.close()
    assert ids(tmp_path) == expected
    assert all(path.read_bytes().endswith(b"}\n") for path in list_segments(tmp_path))
