"""Forwarding into a list: for tests, and for embedding programs that inspect the events that would be sent."""

from collections.abc import Callable, Sequence

from stoa.application.ports.event_publisher import EventPublisher
from stoa.application.ports.metering_backlog import RecordedEvent, Rejected
from stoa.domain.errors import PublisherUnavailable


class InMemoryEventPublisher(EventPublisher):
    """Publishes into a list. `outage`: the reason of an outage; while it is set nothing arrives. `refuses`: the reason
    for refusing an event for ever, None to accept it."""

    def __init__(self, refuses: Callable[[RecordedEvent], str | None] = lambda _: None) -> None:
        self.published: list[RecordedEvent] = []
        self.outage = ""
        self._refuses = refuses

    async def publish(self, events: Sequence[RecordedEvent]) -> Sequence[Rejected]:
        if self.outage:
            raise PublisherUnavailable(self.outage)
        refused: list[Rejected] = []
        for event in events:
            if reason := self._refuses(event):
                refused.append(Rejected(event.line, reason))
            else:
                self.published.append(event)
        return refused

    async def close(self) -> None:
        pass
