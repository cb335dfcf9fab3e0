"""Forwards metering events to their consumers."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from stoa.application.ports.metering_backlog import RecordedEvent, Rejected


class EventPublisher(Protocol):
    """Laws:

    - When `publish` returns, the other side has stored every event of the batch that is not among the rejected.
    - An event is rejected only if it would be rejected for ever, in any batch; the others of the batch arrive.
    - For any failure that may pass it raises PublisherUnavailable, within a bounded time. Some of the events may have
      arrived then; the same batch is given again until it returns, and an event that arrives twice has the same
      `event_id`.
    - Events of one tenant arrive in the order in which they are given.
    - Nothing is connected before the first `publish`.

    One batch at a time. A cancelled `publish` counts as one that raised.
    """

    @abstractmethod
    async def publish(self, events: Sequence[RecordedEvent]) -> Sequence[Rejected]:
        """Forward the batch; returns the events that were rejected for ever."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Release connections. Returns within seconds, also when the other side is away."""
        ...
