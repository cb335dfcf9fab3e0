"""Time-ordered UUIDs that are cheap enough for every call."""

import os
import secrets
from collections.abc import Callable
from threading import Lock
from time import time_ns
from weakref import WeakSet

from stoa.application.ports import IdFactory

_COUNTER_BITS = 26


class UuidFactory(IdFactory):
    """UUIDv7 (RFC 9562 section 5.7), strictly increasing within one factory.

    Ids are unique, not secret: after the millisecond come a counter (section 6.2, method 1) and 48 bits that were
    drawn at random once per factory and process. Nothing may be protected by an id being hard to guess.
    """

    def __init__(self, wall_ns: Callable[[], int] = time_ns) -> None:
        self._wall_ns = wall_ns
        self._millisecond, self._counter, self._prefix = 0, 0, "00000000-0000-7"
        self.reseed()
        _factories.add(self)

    def new_id(self) -> str:
        millisecond = self._wall_ns() // 1_000_000
        with self._lock:
            if millisecond > self._millisecond:
                self._begin(millisecond)
            elif self._counter >> _COUNTER_BITS:
                # The clock stands still or went back for so long that the counter is used up: run ahead of it.
                self._begin(self._millisecond + 1)
            n = self._counter
            self._counter = n + 1
            return f"{self._prefix}{n >> 14:03x}-{0x8000 | n & 0x3FFF:04x}{self._suffix}"

    def _begin(self, millisecond: int) -> None:
        self._millisecond, self._counter = millisecond, 0
        self._prefix = f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}-7"

    def reseed(self) -> None:
        """Draw new random bits: a forked child must not go on with its parent's."""
        self._lock = Lock()  # a fork may have copied a lock that another thread held
        self._suffix = f"-{secrets.token_hex(6)}"


_factories: WeakSet[UuidFactory] = WeakSet()


def _after_fork() -> None:
    for factory in _factories:
        factory.reseed()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
