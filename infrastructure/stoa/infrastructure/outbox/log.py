"""OutboxUsageLog: reads back what outboxes have written into one directory, while they write."""

from collections.abc import Iterator
from pathlib import Path

from stoa.application.ports.metering import UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering import MeteringEvent
from stoa.infrastructure.outbox.segment import list_segments, read_lines


class OutboxUsageLog(UsageLog):
    """The events of all segments, those of one writer in its order. A segment that vanishes meanwhile is passed over:
    somebody has archived it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._damaged = 0

    @property
    def damaged(self) -> int:
        """Lines that the last reading had to skip."""
        return self._damaged

    def events(self) -> Iterator[MeteringEvent]:
        self._damaged = 0
        try:
            paths = list_segments(self._directory)
        except OSError as failure:
            raise self._unreadable(self._directory) from failure
        return self._read(paths)

    def _read(self, paths: list[Path]) -> Iterator[MeteringEvent]:
        for path in paths:
            try:
                lines = read_lines(path)
            except FileNotFoundError:
                continue
            except OSError as failure:
                raise self._unreadable(path) from failure
            for line in lines:
                try:
                    event = MeteringEvent.from_json(line)
                except ValueError:
                    self._damaged += 1
                    continue
                yield event

    def _unreadable(self, path: Path) -> MeteringUnavailable:
        return MeteringUnavailable(f"Usage cannot be read from {path}; it must be readable for this user")
