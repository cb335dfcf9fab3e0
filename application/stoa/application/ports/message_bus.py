"""Messages between the replicas of one gateway."""

from abc import abstractmethod
from typing import Protocol


class Subscription(Protocol):
    """Messages of some topics, for one reader."""

    @abstractmethod
    async def next(self) -> bytes | None:
        """The next message; None if messages may be missing here, after a lost connection or because the reader was too
        slow, so that the state has to be looked up anew. Cancelling it loses nothing."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """End the subscription: no message follows. May be called again."""
        ...


class MessageBus(Protocol):
    """Laws: a message published on a topic reaches every subscription to it that was there before, at most once, and no
    other. All subscriptions get the messages of a topic in one order, and a message published after another `publish`
    returned follows it. Nothing is kept for later subscriptions; messages on their way may still reach them.

    A lost connection between replicas is made again by the bus; each subscription gets a None where messages may have
    been missed, and every message after it.

    Raises SharedStateUnavailable when the message cannot be published, or the subscription cannot be made, now.
    """

    @abstractmethod
    async def publish(self, topic: str, message: bytes) -> None: ...

    @abstractmethod
    async def subscribe(self, *topics: str) -> Subscription:
        """Subscribe to topics. The subscription is in force when this returns."""
        ...
