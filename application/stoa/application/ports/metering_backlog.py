"""What metering has recorded and nobody has forwarded yet."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stoa.domain.metering.event import MeteringEvent

Position = object
"""Where a batch ends; only the backlog that gave it knows what it means."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event and how it was written down."""

    event: MeteringEvent
    line: bytes
    """Its JSON, without the newline."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """What is not forwarded, and why. A line that is no event can only come here."""

    line: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded number of recorded events."""

    events: tuple[RecordedEvent, ...]
    position: Position
    damaged: tuple[Rejected, ...] = ()
    """Lines between them that are no events."""


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """How forwarding stands, whoever does it."""

    waiting_bytes: int = 0
    oldest: datetime | None = None
    """When the call that has waited longest was finished."""
    relayed: int = 0
    """Events, since the backlog exists; those that were repeated count again."""
    rejected: int = 0
    failures: int = 0
    """Attempts."""
    failure: str = ""
    """Why nothing is forwarded at present, in words that are safe to show; empty: it is."""


class MeteringBacklog(Protocol):
    """Laws:

    - Every recorded event is in batches until one that holds it was acknowledged; after that it is in none, also for
      whoever opens the backlog later. So an event is forwarded at least once, whenever the process dies.
    - `read` does not move on by itself: without `acknowledge` it begins at the same event again.
    - A writer's events come in the order in which it recorded them.
    - However many share a backlog, one at a time has the turn; the others read None and take over when it is gone.
      Only who has read a batch may call `reject`, `acknowledge` and `fail`.
    - What is given to `reject` is kept for people before it returns.
    - `acknowledge` ends the failure that `status` tells.

    All raise MeteringUnavailable when what was recorded cannot be read, or the position cannot be kept.
    """

    @abstractmethod
    async def read(self, *, max_events: int, max_bytes: int) -> Batch | None:
        """The next batch, of at least one line; None when nothing waits, or the turn is another's."""
        ...

    @abstractmethod
    async def reject(self, rejected: Sequence[Rejected]) -> None: ...

    @abstractmethod
    async def acknowledge(self, batch: Batch, *, relayed: int) -> None:
        """Everything up to the end of this batch has been dealt with; `relayed` of its events were forwarded."""
        ...

    @abstractmethod
    async def fail(self, reason: str) -> None:
        """One attempt to forward has failed."""
        ...

    @abstractmethod
    async def status(self) -> RelayStatus:
        """Measured now by who has the turn; the others get what that one measured last."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Give the turn to somebody else."""
        ...
