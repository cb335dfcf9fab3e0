"""The backlog: metering events that are recorded and not yet forwarded."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stoa.domain.metering.event import MeteringEvent

Position = object
"""The end of a batch; only the backlog that gave it can interpret it."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event and its recorded form."""

    event: MeteringEvent
    line: bytes
    """The event's JSON, without the newline."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that is not forwarded, and the reason. A line that is not an event is rejected too."""

    line: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded number of recorded events."""

    events: tuple[RecordedEvent, ...]
    position: Position
    damaged: tuple[Rejected, ...] = ()
    """Lines between the events that are not events."""


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """The status of forwarding, the same from every process that shares the backlog."""

    waiting_bytes: int = 0
    oldest: datetime | None = None
    """The time at which the call whose event has waited longest was finished."""
    relayed: int = 0
    """Forwarded events since the backlog exists; repeated ones count again."""
    rejected: int = 0
    failures: int = 0
    """Failed attempts."""
    failure: str = ""
    """The reason why nothing is forwarded at present, in words that are safe to show; empty while it succeeds."""


class MeteringBacklog(Protocol):
    """Laws:

    - Every recorded event is in batches until one that holds it was acknowledged; after that it is in none, also after
      the backlog was opened anew. So an event is forwarded at least once, whenever the process dies.
    - `read` does not move on by itself: without `acknowledge` it begins at the same event again.
    - A writer's events come in the order in which it recorded them.
    - Of all that share a backlog, one at a time has the turn; the others read None, and one takes over when it is gone.
      Only the reader of a batch may call `reject`, `acknowledge` and `fail`.
    - Events given to `reject` are kept for people before it returns.
    - `acknowledge` ends the failure that `status` reports.

    All raise MeteringUnavailable when the events cannot be read, or the position cannot be stored.
    """

    @abstractmethod
    async def read(self, *, max_events: int, max_bytes: int) -> Batch | None:
        """The next batch, of at least one line; None if nothing waits, or another has the turn."""
        ...

    @abstractmethod
    async def reject(self, rejected: Sequence[Rejected]) -> None: ...

    @abstractmethod
    async def acknowledge(self, batch: Batch, *, relayed: int) -> None:
        """Record that everything up to the end of this batch has been dealt with; `relayed` of its events were
        forwarded."""
        ...

    @abstractmethod
    async def fail(self, reason: str) -> None:
        """Record a failed attempt to forward."""
        ...

    @abstractmethod
    async def status(self) -> RelayStatus:
        """The status, measured now by the holder of the turn; the others get its last measurement."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Give up the turn, so that another reader can take it."""
        ...
