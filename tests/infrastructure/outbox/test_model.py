"""The outbox against the sink in memory as its model: the same events through rotation, crash and restart."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.infrastructure.outbox.disk import KIB
from tests.strategies import metering_events

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox import OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import list_segments
from stoa.testing.clock import ManualClock

SEGMENT_BYTES = 10 * KIB
MAX_TOTAL_BYTES = 5 * SEGMENT_BYTES
EVENTS = metering_events(padding=2000)


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._place = TemporaryDirectory()
        self._directory = Path(self._place.name)
        self._clock = ManualClock()
        self._outstanding = 0
        self._archived: list[MeteringEvent] = []
        self._model = InMemoryMeteringSink()
        self._sink = self._open()

    def _open(self) -> OutboxMeteringSink:
        self._clock.advance(1)
        return OutboxMeteringSink(
            self._directory,
            clock=self._clock,
            segment_bytes=SEGMENT_BYTES,
            max_total_bytes=MAX_TOTAL_BYTES,
        )

    def _run(self, coroutine: Any) -> None:
        self._runner.run(coroutine)

    def _assert_full(self) -> None:
        """Refusals are honest: no further segment may be made."""
        used = sum(path.stat().st_size for path in list_segments(self._directory))
        assert used + SEGMENT_BYTES > MAX_TOTAL_BYTES

    @rule()
    def reserve(self) -> None:
        try:
            self._sink.reserve()
        except MeteringUnavailable:
            self._assert_full()
            return
        self._model.reserve()
        self._outstanding += 1

    @precondition(lambda self: self._outstanding)
    @rule(event=EVENTS)
    def record_reserved(self, event: MeteringEvent) -> None:
        self._run(self._sink.record(event))
        self._run(self._model.record(event))
        self._outstanding -= 1

    @rule(event=EVENTS)
    def record_refused(self, event: MeteringEvent) -> None:
        try:
            self._run(self._sink.record(event, is_reserved=False))
        except MeteringUnavailable:
            self._assert_full()
            return
        self._run(self._model.record(event, is_reserved=False))

    @rule()
    def archive_all_but_the_live_ones(self) -> None:
        closed = [path for path in list_segments(self._directory) if path.stat().st_size != SEGMENT_BYTES]
        with TemporaryDirectory() as archive:
            for path in closed:
                path.rename(Path(archive) / path.name)
            moved = list(OutboxUsageLog(Path(archive)).events())
        self._archived += moved
        self._clock.advance(1)

    @rule()
    def restart(self) -> None:
        self._run(self._sink.close())
        self._forget_promises()
        self._sink = self._open()

    @rule()
    def crash(self) -> None:
        for segment in self._sink._calls._segments:
            os.close(segment._descriptor)  # the lock goes with it, as with the death of the process
        self._forget_promises()
        self._sink = self._open()

    def _forget_promises(self) -> None:
        self._outstanding = 0
        kept = self._model.drain()
        self._model = InMemoryMeteringSink()
        for event in kept:
            self._run(self._model.record(event, is_reserved=False))

    @invariant()
    def the_log_holds_what_the_model_holds(self) -> None:
        log = OutboxUsageLog(self._directory)
        assert self._archived + list(log.events()) == list(self._model.events())
        assert log.damaged == 0

    @invariant()
    def the_directory_stays_within_its_limit(self) -> None:
        assert sum(path.stat().st_size for path in list_segments(self._directory)) <= MAX_TOTAL_BYTES

    def teardown(self) -> None:
        self._run(self._sink.close())
        self._runner.close()
        self._place.cleanup()


TestOutboxAgainstItsModel = OutboxMachine.TestCase
TestOutboxAgainstItsModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
