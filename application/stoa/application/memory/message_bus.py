"""A message bus within one process."""

from stoa.application.memory.mailbox import LIMIT, Mailbox
from stoa.application.ports import MessageBus, Subscription


class InMemoryMessageBus(MessageBus):
    """`limit`: messages that may wait for one subscription."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._subscribers: dict[str, dict[Mailbox, None]] = {}

    async def publish(self, topic: str, message: bytes) -> None:
        for mailbox in self._subscribers.get(topic, ()):
            mailbox.put(message)

    async def subscribe(self, *topics: str) -> Subscription:
        async def forget(mailbox: Mailbox) -> None:
            for topic in set(topics):
                subscribers = self._subscribers[topic]
                del subscribers[mailbox]
                if not subscribers:
                    del self._subscribers[topic]

        mailbox = Mailbox(forget, limit=self._limit)
        for topic in topics:
            self._subscribers.setdefault(topic, {})[mailbox] = None
        return mailbox
