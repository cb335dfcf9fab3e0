"""Where metering events are forwarded to."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from stoa.application.ports.metering_backlog import RecordedEvent, Rejected


class EventPublisher(Protocol):
    """Laws:

    - When `publish` returns, every event of the batch is kept by the other side, or is among the refused.
    - Refused is only what will be refused for ever, whatever is sent with it; the others of the batch arrive.
    - For anything that may pass it raises PublisherUnavailable, within a bounded time. Then some of the events may
      have arrived; the same batch is given again until it returns, and what arrives twice has the same `event_id`.
    - Events of one tenant arrive in the order in which they are given.
    - Nothing is connected before the first `publish`.

    One batch at a time. A cancelled `publish` counts as one that raised.
    """

    @abstractmethod
    async def publish(self, events: Sequence[RecordedEvent]) -> Sequence[Rejected]:
        """The events that were refused for ever."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Returns within seconds, also when the other side is away."""
        ...
