"""Logs of metering events for tests of usage reports."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from stoa.application.ports import SegmentedLog, SegmentReading, UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent, Status

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FixedLog(UsageLog):
    def __init__(self, events: Iterable[MeteringEvent]) -> None:
        self._events = list(events)

    def events(self) -> Iterator[MeteringEvent]:
        return iter(self._events)


def event(**fields: object) -> MeteringEvent:
    base = {"event_id": "e", "timestamp": NOON, "tenant": "acme", "user_id": "u", "tool": "t", "latency_ms": 1}
    return MeteringEvent.model_validate({**base, "status": Status.SUCCESS, **fields})


class Segments(UsageLog, SegmentedLog):
    """A log that grows, loses segments, and says how much was read."""

    def __init__(self) -> None:
        self.held: dict[str, list[MeteringEvent]] = {}
        self.parsed = 0
        self.failing = False

    def events(self) -> Iterator[MeteringEvent]:
        return (event for held in self.held.values() for event in held)

    def segments(self) -> Sequence[str]:
        return list(self.held)

    def read_segment(self, name: str, start: int = 0) -> SegmentReading:
        found = self.held.get(name, [])[start:]
        return SegmentReading(self._parse(found), start + len(found))

    def _parse(self, events: list[MeteringEvent]) -> Iterator[MeteringEvent]:
        for event in events:
            if self.failing:
                raise MeteringUnavailable("the disk")
            self.parsed += 1
            yield event
