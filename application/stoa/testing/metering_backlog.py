"""The backlog of an InMemoryMeteringSink. Acknowledged events make room in the sink."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.ports.metering_backlog import Batch, MeteringBacklog, RecordedEvent, Rejected, RelayStatus


@dataclass
class _Shared:
    holder: object = None
    relayed: int = 0
    failures: int = 0
    failure: str = ""
    rejected: list[Rejected] = field(default_factory=list[Rejected])


class InMemoryMeteringBacklog(MeteringBacklog):
    """Reads an in-memory sink. `beside`: another backlog of the same sink, to take turns with."""

    def __init__(self, sink: InMemoryMeteringSink, *, beside: "InMemoryMeteringBacklog | None" = None) -> None:
        self._sink = sink
        self._shared: _Shared = _Shared() if beside is None else beside._shared

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        return tuple(self._shared.rejected)

    async def read(self, *, max_events: int, max_bytes: int) -> Batch | None:
        if self._shared.holder is None:
            self._shared.holder = self
        if self._shared.holder is not self:
            return None
        events: list[RecordedEvent] = []
        size = 0
        for event in islice(self._sink.events(), max_events):
            line = event.model_dump_json().encode()
            size += len(line)
            if events and size > max_bytes:
                break
            events.append(RecordedEvent(event, line))
        return Batch(tuple(events), len(events)) if events else None

    async def reject(self, rejected: Sequence[Rejected]) -> None:
        self._shared.rejected.extend(rejected)

    async def acknowledge(self, batch: Batch, *, relayed: int) -> None:
        self._sink.drain(len(batch.events))
        self._shared.relayed += relayed
        self._shared.failure = ""

    async def fail(self, reason: str) -> None:
        self._shared.failures += 1
        self._shared.failure = reason

    async def status(self) -> RelayStatus:
        waiting = tuple(self._sink.events())
        shared = self._shared
        return RelayStatus(
            waiting_bytes=sum(len(event.model_dump_json()) for event in waiting),
            oldest=min((event.timestamp for event in waiting), default=None),
            relayed=shared.relayed,
            rejected=len(shared.rejected),
            failures=shared.failures,
            failure=shared.failure,
        )

    async def close(self) -> None:
        if self._shared.holder is self:
            self._shared.holder = None
