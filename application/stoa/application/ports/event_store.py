"""Stores messages of a session's streams, for clients that lost their connection."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stoa.domain.access.fair_share import Holder


@dataclass(frozen=True, slots=True)
class StoredEvent:
    number: int
    """The number of the message within its stream, from 1 on, without gaps."""
    message: bytes


@dataclass(frozen=True, slots=True)
class Replay:
    events: Sequence[StoredEvent]
    is_over: bool
    """True once the stream has had its last message."""


class EventStore(Protocol):
    """Laws: `replay` gives the messages that were appended to that stream of that session after that number, in order,
    and never those of another stream. Of each session a bounded number of messages is kept, the newest; a stream of
    which a message is missing is unknown. Bytes are bounded for each caller, each tenant and all
    (`stoa.domain.access.fair_share`): the session that is silent for longest gives way, of the caller, the tenant, or
    the tenant that holds most. All replicas that share the store see the same streams, and no number is given twice.

    Raises SharedStateUnavailable when the store cannot be reached."""

    @abstractmethod
    async def begin(self, session_id: str, stream: str, holder: Holder | None = None) -> int:
        """Make the stream known, still without messages; beginning it again changes nothing. Returns the number of its
        newest message, 0 if there is none. `holder`: the caller whom the session counts for; None: the session
        itself."""
        ...

    @abstractmethod
    async def append(
        self, session_id: str, stream: str, message: bytes, *, is_last: bool = False, holder: Holder | None = None
    ) -> int:
        """Store a message; returns its number."""
        ...

    @abstractmethod
    async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
        """The messages after a number; None if the stream is unknown, or if some of them are missing."""
        ...

    @abstractmethod
    async def forget(self, session_id: str) -> None: ...
