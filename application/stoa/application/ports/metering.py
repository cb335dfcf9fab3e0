"""Stores metering events, and reads them back for usage reports."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from stoa.domain.metering.event import MeteringEvent


class MeteringSink(Protocol):
    """Laws:

    - After `reserve` returned, one `record` will find room, however many others record in between. It is called before
      the back end is; the room is held until that record, so every such call records exactly once.
    - `record` keeps the event before its first suspension point, so cancellation cannot lose it; when it returns,
      the event survives the death of the process.
    - `record_refusal` has a bounded room of its own: however much it keeps, `reserve` grants as much as without it. So
      have summaries: however many refusals are kept singly, they take no room of a summary.
    - Events come back from the matching UsageLog exactly once each; those of `record`, of single refusals and of
      summaries each in the order recorded by this sink. One beyond 8 KiB of JSON may come back with its texts cut; its
      money, status, times and tenant are never touched.
    - All raise MeteringUnavailable when no more events can be kept; they recover by themselves.

    A sink belongs to one event loop.
    """

    @abstractmethod
    def reserve(self) -> None:
        """Promise room for one more event."""
        ...

    @abstractmethod
    async def record(self, event: MeteringEvent, *, is_reserved: bool = True) -> None:
        """Store the event. `is_reserved` False: no room was reserved for it, and it is stored if there is room beyond
        all reservations."""
        ...

    @abstractmethod
    async def record_refusal(self, event: MeteringEvent, *, is_summary: bool = False) -> None:
        """Store the event of a call that was refused before `reserve`, or by it. `is_summary`: it stands for
        several."""
        ...


class UsageLog(Protocol):
    """Laws: yields every event that was recorded before the iteration began; may be read while it is written.
    A record that was damaged on disk is skipped and counted, never guessed.

    Raises MeteringUnavailable when the log is there and cannot be read."""

    @abstractmethod
    def events(self) -> Iterator[MeteringEvent]: ...


@dataclass(frozen=True, slots=True)
class SegmentReading:
    """The events of a segment from a place in it on."""

    events: Iterator[MeteringEvent]
    end: int
    """The place at which the next reading continues."""


@runtime_checkable
class SegmentedLog(Protocol):
    """A UsageLog in segments, for readers that come again and want only what is new.

    Laws:

    - The events of all segments, one segment after another in the order of `segments`, each from 0, are those of the
      UsageLog.
    - The part of a segment before a reading's `end` never changes: reading on from there gives the events that were
      added since, and none twice. `end` is `start` when there is nothing new, or the segment is gone.
    - Names are never used again.

    Both raise MeteringUnavailable as the UsageLog does.
    """

    @abstractmethod
    def segments(self) -> Sequence[str]:
        """The names of the present segments."""
        ...

    @abstractmethod
    def read_segment(self, name: str, start: int = 0) -> SegmentReading: ...
