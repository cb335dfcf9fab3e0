"""Reading the outbox: damage, vanishing files, unreadable places."""

from pathlib import Path

import pytest
from tests.infrastructure.outbox.events import KIB, event

from stoa.application.memory.clock import ManualClock
from stoa.domain.errors import MeteringUnavailable
from stoa.infrastructure.outbox import OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import list_segments


def ids(log: OutboxUsageLog) -> list[str]:
    return [found.event_id for found in log.events()]


def test_damaged_lines_are_skipped_and_counted_for_each_reading(tmp_path: Path) -> None:
    line = event().model_dump_json().encode()
    (tmp_path / "1.jsonl").write_bytes(line + b'\n{"event_id":\n\xff\xfe\n[]\n' + line + b"\n" + line[:40])
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
