"""What was recorded survives kill -9, whatever the moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.outbox import OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import list_segments

WRITER = """
import asyncio, os, sys
from pathlib import Path
from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.outbox import OutboxMeteringSink
from stoa.domain.metering.event import MeteringEvent

async def main(directory, durability):
    sink = OutboxMeteringSink(Path(directory), clock=SystemClock(), segment_bytes=16384, durability=durability)
    template = MeteringEvent.model_validate(dict(
        event_id="-", timestamp="2026-01-01T00:00:00Z", tenant="acme", user_id="alice", tool="pets.list",
        latency_ms=12, status="success", cost_units=1012))
    number = 0
    while True:
        event_id = f"{os.getpid()}:{number}"
        sink.reserve()
        await sink.record(template.model_copy(update={"event_id": event_id}))
        os.write(1, f"{event_id}\\n".encode())
        number += 1

asyncio.run(main(*sys.argv[1:]))
"""


def start_writer(directory: Path, durability: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WRITER, str(directory), durability], stdout=subprocess.PIPE)


def read_then_kill(writer: "subprocess.Popen[bytes]", lines: int) -> list[str]:
    """The ids that the writer claims to have kept: so many, and those that stood in the pipe when it died."""
    assert writer.stdout is not None
    try:
        claimed = [writer.stdout.readline() for _ in range(lines)]
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(timeout=10)
    claimed += writer.stdout.read().splitlines(keepends=True)
    writer.stdout.close()
    return [line.decode().strip() for line in claimed if line.endswith(b"\n")]


@pytest.mark.parametrize("durability", ["process", "fsync"])
async def test_every_event_that_a_killed_process_recorded_is_in_the_log_once(
    tmp_path: Path, durability: Literal["process", "fsync"]
) -> None:
    claimed: list[str] = []
    for moments in ((1, 57), (400, 150)):
        writers = [start_writer(tmp_path, durability) for _ in moments]  # two at a time, in one directory
        for writer, moment in zip(writers, moments, strict=True):
            claimed += read_then_kill(writer, moment)

    log = OutboxUsageLog(tmp_path)
    logged = [event.event_id for event in log.events()]
    assert log.damaged == 0
    assert len(set(logged)) == len(logged)
    assert set(claimed) <= set(logged)
    assert len(logged) <= len(claimed) + 4  # each writer may have died between recording and saying so
    for process in {event_id.partition(":")[0] for event_id in logged}:
        own = [event_id for event_id in logged if event_id.startswith(f"{process}:")]
        assert own == [f"{process}:{number}" for number in range(len(own))]

    successor = OutboxMeteringSink(tmp_path, clock=SystemClock())  # gives back what the dead ones had allocated
    await successor.close()
    assert [event.event_id for event in log.events()] == logged
    assert not any(path.read_bytes().endswith(b"\0") for path in list_segments(tmp_path))
