"""Where metering events go, and where usage is read from."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol

from stoa.domain.metering import MeteringEvent


class MeteringSink(Protocol):
    """Laws:

    - After `admit` returned, one `record` will find room. It is called before the back end is.
    - `record` keeps the event before its first suspension point, so cancellation cannot lose it; when it returns,
      the event survives the death of the process.
    - Events come back from the matching UsageLog exactly once each, in the order recorded by this sink.
    - Both raise MeteringUnavailable when no more events can be kept; they recover by themselves.
    """

    @abstractmethod
    def admit(self) -> None:
        """Promise room for one more event."""
        ...

    @abstractmethod
    async def record(self, event: MeteringEvent) -> None: ...


class UsageLog(Protocol):
    """Laws: yields every event that was recorded before the iteration began; may be read while it is written.
    A record that was damaged on disk is skipped and counted, never guessed."""

    @abstractmethod
    def events(self) -> Iterator[MeteringEvent]: ...
