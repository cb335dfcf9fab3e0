"""Metering in memory: for tests, and for embedding programs that forward the events themselves (`drain`).

The events live as long as the object. Nothing is shared between processes; `stoa.infrastructure.outbox` keeps events on
disk instead.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.metering import MeteringSink, UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent

_Kind = Literal["call", "refusal", "summary"]


class InMemoryMeteringSink(MeteringSink, UsageLog, HealthProbe):
    """Keeps at most `capacity` events of calls that reserved room (None: any number), refusing calls beyond that until
    some are drained; as many of refused calls, and as many of their summaries."""

    name = "metering"

    def __init__(self, capacity: int | None = None) -> None:
        if capacity is not None and capacity < 1:
            raise ValueError(f"InMemoryMeteringSink: capacity is {capacity}; give 1 or more, or None for no limit")
        self._capacity = capacity
        self._events: list[tuple[_Kind, MeteringEvent]] = []
        self._counts: Counter[_Kind] = Counter()
        self._reserved = 0

    def reserve(self) -> None:
        self._require_room("call")
        self._reserved += 1

    async def record(self, event: MeteringEvent, *, is_reserved: bool = True) -> None:
        if is_reserved and self._reserved:
            self._reserved -= 1
        else:
            self._require_room("call")
        self._keep("call", event)

    async def record_refusal(self, event: MeteringEvent, *, is_summary: bool = False) -> None:
        kind: _Kind = "summary" if is_summary else "refusal"
        self._require_room(kind)
        self._keep(kind, event)

    def events(self) -> Iterator[MeteringEvent]:
        return iter([event for _, event in self._events])

    def drain(self, limit: int | None = None) -> list[MeteringEvent]:
        """Return and forget the first events, or all, which makes room again."""
        drained = self._events[:limit]
        del self._events[:limit]
        self._counts.subtract(kind for kind, _ in drained)
        return [event for _, event in drained]

    def health(self) -> Health:
        return Health(is_ready=self._has_room(), detail=f"{len(self._events)} events in memory")

    def _keep(self, kind: _Kind, event: MeteringEvent) -> None:
        self._events.append((kind, event))
        self._counts[kind] += 1

    def _has_room(self, kind: _Kind = "call") -> bool:
        promised = self._reserved if kind == "call" else 0
        return self._capacity is None or self._counts[kind] + promised < self._capacity

    def _require_room(self, kind: _Kind) -> None:
        if not self._has_room(kind):
            raise MeteringUnavailable(
                f"Metering is full ({self._capacity} events in memory); drain it or raise capacity"
            )


class MeteringOff(MeteringSink, UsageLog, HealthProbe):
    """Keeps nothing: METERING_ENABLED=false, for deployments whose accounting is elsewhere."""

    name = "metering"

    def reserve(self) -> None:
        pass

    async def record(self, event: MeteringEvent, *, is_reserved: bool = True) -> None:
        pass

    async def record_refusal(self, event: MeteringEvent, *, is_summary: bool = False) -> None:
        pass

    def events(self) -> Iterator[MeteringEvent]:
        return iter(())

    def health(self) -> Health:
        return Health(is_ready=True, detail="off (METERING_ENABLED=false)")
