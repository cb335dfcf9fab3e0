"""Reading the outbox: damage, vanishing files, unreadable places."""

import fcntl
from pathlib import Path

import pytest
from tests.events import event
from tests.infrastructure.outbox.disk import KIB

from stoa.domain.errors import MeteringUnavailable
from stoa.infrastructure.outbox import OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import list_segments
from stoa.testing.clock import ManualClock


def ids(log: OutboxUsageLog) -> list[str]:
    return [found.event_id for found in log.events()]


def test_damaged_lines_are_skipped_and_counted_for_each_reading(tmp_path: Path) -> None:
    line = event().model_dump_json().encode()
    (tmp_path / "1.jsonl").write_bytes(
        line + b'\n{"event_id":\n\xff\xfe\n[]\n' + line + b"\n" + line[:40] + b"\n" + line[:40]
    )
    (tmp_path / "2.jsonl").write_bytes(line + b"\n")
    log = OutboxUsageLog(tmp_path)
    for _ in range(2):
        assert ids(log) == ["e-1"] * 3
        assert log.damaged == 4


def test_other_files_in_the_directory_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("archive me")
    log = OutboxUsageLog(tmp_path)
    assert ids(log) == []
    assert log.damaged == 0


async def test_a_segment_archived_during_the_reading_is_passed_over(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock(), segment_bytes=8 * KIB)
    for number in range(6):
        await sink.record(event(str(number), padding=5000))
    reading = OutboxUsageLog(tmp_path).events()
    assert next(reading).event_id == "0"
    list_segments(tmp_path)[2].unlink()
    assert [found.event_id for found in reading] == ["1", "3", "4", "5"]
    await sink.close()


def test_a_directory_that_does_not_exist_yet_holds_no_events(tmp_path: Path) -> None:
    assert ids(OutboxUsageLog(tmp_path / "later")) == []


def test_a_place_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(MeteringUnavailable, match=str(file)):
        OutboxUsageLog(file).events()
    (tmp_path / "1.jsonl").mkdir()
    with pytest.raises(MeteringUnavailable, match=r"1\.jsonl"):
        ids(OutboxUsageLog(tmp_path))


async def test_a_segment_is_read_on_where_the_last_reading_ended_until_it_is_sealed_and_after(tmp_path: Path) -> None:
    sink, log = OutboxMeteringSink(tmp_path, clock=ManualClock(), segment_bytes=8 * KIB), OutboxUsageLog(tmp_path)
    ends: dict[str, int] = {}
    seen: list[str] = []

    def read_on() -> None:
        for name in log.segments():
            reading = log.read_segment(name, ends.get(name, 0))
            seen.extend(found.event_id for found in reading.events)
            ends[name] = reading.end

    for number in range(12):
        await sink.record(event(str(number), padding=1500), is_reserved=False)
        if number % 3:
            read_on()
    await sink.close()
    read_on()
    read_on()
    assert seen == [str(number) for number in range(12)] == ids(log)
    assert len(ends) > 1


def test_an_unfinished_line_is_read_when_it_is_finished_and_a_vanished_segment_has_nothing_new(tmp_path: Path) -> None:
    line = event().model_dump_json().encode() + b"\n"
    path, log = tmp_path / "1.jsonl", OutboxUsageLog(tmp_path)
    with path.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        writer.write(line + line[:40])
        writer.flush()
        first = log.read_segment("1.jsonl")
        assert (len(list(first.events)), first.end) == (1, len(line))
        writer.write(line[40:] + bytes(100))
        writer.flush()
        second = log.read_segment("1.jsonl", first.end)
        assert (len(list(second.events)), second.end) == (1, 2 * len(line))
    sealed = log.read_segment("1.jsonl", second.end)
    assert (list(sealed.events), sealed.end) == ([], 2 * len(line) + 100)
    path.unlink()
    gone = log.read_segment("1.jsonl", second.end)
    assert (list(gone.events), gone.end) == ([], second.end)
