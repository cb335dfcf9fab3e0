"""Time-ordered UUIDs that are cheap enough for every call."""

import os
import secrets
from collections.abc import Callable
from threading import Lock
from time import time_ns
from weakref import WeakSet

from stoa.application.ports import IdFactory

_FIRST, _LAST = 0x8000, 0xBFFF
"""The low part of the counter, 14 bits, with the bits of the variant (RFC 9562 section 4.1)."""
_LAST_BLOCK = 0xFFF
"""The last value of the counter's high part, 12 bits."""


class UuidFactory(IdFactory):
    """UUIDv7 (RFC 9562 section 5.7), strictly increasing within one factory.

    Ids are unique, not secret: after the millisecond come a counter (section 6.2, method 1) and 48 bits that were
    drawn at random once per factory and process. Nothing may be protected by an id being hard to guess.
    """

    def __init__(self, wall_ns: Callable[[], int] = time_ns) -> None:
        self._wall_ns = wall_ns
        self._millisecond = self._block = self._low = 0
        self._prefix = ""
        self._begin(0, 0)
        self.reseed()
        _factories.add(self)

    def new_id(self) -> str:
        millisecond = self._wall_ns() // 1_000_000
        with self._lock:
            if millisecond > self._millisecond:
                self._begin(millisecond, 0)
            elif self._low > _LAST:
                if self._block < _LAST_BLOCK:
                    self._begin(self._millisecond, self._block + 1)
                else:  # the clock stands still, or went back, for long: run ahead of it
                    self._begin(self._millisecond + 1, 0)
            low = self._low
            self._low = low + 1
            return f"{self._prefix}{low:x}{self._suffix}"

    def _begin(self, millisecond: int, block: int) -> None:
        self._millisecond, self._block, self._low = millisecond, block, _FIRST
        self._prefix = f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}-7{block:03x}-"

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
