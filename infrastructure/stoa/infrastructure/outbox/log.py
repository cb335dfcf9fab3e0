"""OutboxUsageLog: reads the events that outboxes have written into one directory, while they write."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stoa.application.ports.metering import SegmentedLog, SegmentReading, UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox.cursor import load_cursor
from stoa.infrastructure.outbox.segment import list_segments, read_piece


class OutboxUsageLog(UsageLog, SegmentedLog):
    """The events of all segments, those of one writer in its order. A segment that disappears during the reading is
    skipped, because it was archived."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._damaged = 0

    @property
    def damaged(self) -> int:
        """Lines skipped since `events` was last called."""
        return self._damaged

    def events(self) -> Iterator[MeteringEvent]:
        self._damaged = 0
        return self._read(self.segments())

    def segments(self) -> Sequence[str]:
        try:
            return [path.name for path in list_segments(self._directory)]
        except OSError as failure:
            raise self._unreadable(self._directory) from failure

    def read_segment(self, name: str, start: int = 0) -> SegmentReading:
        path = self._directory / name
        try:
            piece = read_piece(path, start)
        except FileNotFoundError:
            return SegmentReading(iter(()), start)
        except OSError as failure:
            raise self._unreadable(path) from failure
        return SegmentReading(self._parse(piece.lines), piece.end)

    def _read(self, names: Sequence[str]) -> Iterator[MeteringEvent]:
        for name in names:
            yield from self.read_segment(name).events

    def _parse(self, lines: list[bytes]) -> Iterator[MeteringEvent]:
        for line in lines:
            try:
                event = MeteringEvent.from_json(line)
            except ValueError:
                self._damaged += 1
                continue
            yield event

    def waiting(self) -> "OutboxUsageLog":
        """A log of the events that the relay still has to forward, by its cursor."""
        return _WaitingLog(self._directory)

    def _unreadable(self, path: Path) -> MeteringUnavailable:
        return MeteringUnavailable(f"Usage cannot be read from {path}; it must be readable for this user")


class _WaitingLog(OutboxUsageLog):
    def events(self) -> Iterator[MeteringEvent]:
        self._damaged = 0
        try:
            cursor = load_cursor(self._directory)
        except OSError as failure:
            raise self._unreadable(self._directory) from failure
        for name in self.segments():
            if name not in cursor.finished:
                yield from self.read_segment(name, cursor.offsets.get(name, 0)).events
