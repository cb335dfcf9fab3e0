"""Messages between the replicas of one gateway."""

from abc import abstractmethod
from typing import Protocol


class Subscription(Protocol):
    """Messages of some topics, for one reader."""

    @abstractmethod
    async def next(self) -> bytes | None:
        """The next message. None: here messages may be missing, after a lost connection or because the reader was too
        slow; what matters has to be looked up anew. Cancelling it loses nothing."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Nothing follows; may be called again."""
        ...


class MessageBus(Protocol):
    """Laws: a message published on a topic reaches every subscription to it that was there before, at most once, and
    nobody else. All subscriptions get the messages of a topic in one order, and what one publisher published after
    another came back follows it. Nothing is kept for those who subscribe later; what is on its way may still reach
    them.

    Where the connection between replicas is lost it is made again, without the reader's doing; what may have been
    missed meanwhile is reported to each subscription by a None, after which it gets every message again.

    Raises SharedStateUnavailable when the message cannot be published, or the subscription cannot be made, now.
    """

    @abstractmethod
    async def publish(self, topic: str, message: bytes) -> None: ...

    @abstractmethod
    async def subscribe(self, *topics: str) -> Subscription:
        """In force when it returns."""
        ...
