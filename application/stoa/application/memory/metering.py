"""Metering in memory: for tests, and for embedding programs that forward the events themselves (`drain`).

The events live as long as the object. Nothing is shared between processes; `stoa.infrastructure.outbox` keeps events on
disk instead.
"""

from collections.abc import Iterator

from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.metering import MeteringSink, UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering import MeteringEvent


class InMemoryMeteringSink(MeteringSink, UsageLog, HealthProbe):
    """Keeps at most `capacity` events (None: any number), refusing calls beyond that until some are drained."""

    name = "metering"

    def __init__(self, capacity: int | None = None) -> None:
        if capacity is not None and capacity < 1:
            raise ValueError(f"InMemoryMeteringSink: capacity is {capacity}; give 1 or more, or None for no limit")
        self._capacity = capacity
        self._events: list[MeteringEvent] = []
        self._admitted = 0

    def admit(self) -> None:
        self._require_room()
        self._admitted += 1

    async def record(self, event: MeteringEvent, *, is_admitted: bool = True) -> None:
        if is_admitted and self._admitted:
            self._admitted -= 1
        else:
            self._require_room()
        self._events.append(event)

    def events(self) -> Iterator[MeteringEvent]:
        return iter(tuple(self._events))

    def drain(self, limit: int | None = None) -> list[MeteringEvent]:
        """Hand over the first events, or all, and forget them, which makes room again."""
        drained = self._events[:limit]
        del self._events[:limit]
        return drained

    def health(self) -> Health:
        return Health(is_ready=self._has_room(), detail=f"{len(self._events)} events in memory")

    def _has_room(self) -> bool:
        return self._capacity is None or len(self._events) + self._admitted < self._capacity

    def _require_room(self) -> None:
        if not self._has_room():
            raise MeteringUnavailable(
                f"Metering is full ({self._capacity} events in memory); drain it or raise capacity"
            )


class MeteringOff(MeteringSink, UsageLog, HealthProbe):
    """Keeps nothing: METERING_ENABLED=false, where somebody else does the accounting."""

    name = "metering"

    def admit(self) -> None:
        pass

    async def record(self, event: MeteringEvent, *, is_admitted: bool = True) -> None:
        pass

    def events(self) -> Iterator[MeteringEvent]:
        return iter(())

    def health(self) -> Health:
        return Health(is_ready=True, detail="off (METERING_ENABLED=false)")
