"""Time and identity, injected so that tests decide both."""

from abc import abstractmethod
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Laws: `now` is aware and in UTC; `monotonic_ns` never goes back within one process."""

    @abstractmethod
    def now(self) -> datetime: ...

    @abstractmethod
    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary moment; for durations and limits."""
        ...


class IdFactory(Protocol):
    """Law: no two calls return the same id, across processes too."""

    @abstractmethod
    def new_id(self) -> str:
        """A UUID in its text form (RFC 9562)."""
        ...
