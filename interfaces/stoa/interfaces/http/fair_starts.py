"""The order in which requests begin, so that a flood of one sender delays no other sender's requests.

All requests share one event loop, and a request waits for all that begin before it in the same turn. Requests with the
same credential are of one sender, and those without one from the same address, so that it is known before anything is
paid for (docs/decisions/0083).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

AT_ONCE = 4
"""Requests of one sender that begin in one turn of the loop; further ones begin in the next turns."""
REST_SECONDS = 0.03
"""Time by which requests of a sender who is refused again and again begin later."""
REFUSALS = 5
"""Refusals for excess within EXCESS_SECONDS of each other from which on a sender's requests begin later."""
EXCESS_SECONDS = 1.0
"""The least Retry-After there is: who waits that long is not delayed."""
MOST_WAITING = 1024
"""Requests that wait for a later turn, in all; beyond that they begin at once, so that what is held stays bounded."""
_MOST_REFUSED = 4096
"""Senders whose refusals are remembered."""

Start = Callable[[], object]


class _Excess(NamedTuple):
    last: float
    refusals: int


class FairStarts:
    """Says which requests begin at once, and begins the others later. `sender` is a hash of the credential or the
    address; times are the event loop's."""

    def __init__(self) -> None:
        self._turn = -1.0
        self._begun: dict[int, int] = {}
        """Requests of each sender that began in the present turn."""
        self._waiting: dict[int, deque[Start]] = {}
        self._waiting_count = 0
        self._excess: dict[int, _Excess] = {}

    def may_begin(self, sender: int, now: float) -> bool:
        """True: the request begins at once, and is counted. False: give it to `begin_later`."""
        if now != self._turn:  # uvloop's time stands still within a turn, and has milliseconds
            self._turn = now
            self._begun.clear()
            if not (self._waiting or self._excess):  # as nearly always
                self._begun[sender] = 1
                return True
        count = self._begun.get(sender, 0)
        if self._is_in_excess(sender, now):
            return False
        if (count >= AT_ONCE or sender in self._waiting) and self._waiting_count < MOST_WAITING:
            return False
        self._begun[sender] = count + 1
        return True

    def begin_later(self, sender: int, now: float, loop: asyncio.AbstractEventLoop, start: Start) -> None:
        """Calls `start` in a later turn, in the order of the sender's requests."""
        if self._is_in_excess(sender, now):
            loop.call_later(REST_SECONDS, start)
            return
        if not self._waiting:
            loop.call_soon(self._begin_turn, loop)
        self._waiting.setdefault(sender, deque()).append(start)
        self._waiting_count += 1

    def note_excess(self, sender: int, now: float) -> None:
        """Counts a refusal because the sender exceeds its limits."""
        last, refusals = self._excess.pop(sender, _Excess(now, 0))
        self._excess[sender] = _Excess(now, refusals + 1 if now - last <= EXCESS_SECONDS else 1)
        if len(self._excess) > _MOST_REFUSED:
            del self._excess[next(iter(self._excess))]

    def _is_in_excess(self, sender: int, now: float) -> bool:
        excess = self._excess.get(sender)
        if excess is None:
            return False
        if now - excess.last > EXCESS_SECONDS:
            del self._excess[sender]
            return False
        return excess.refusals > REFUSALS

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins requests of all senders that wait, as many of each."""
        share = max(1, AT_ONCE // len(self._waiting))
        for sender, starts in list(self._waiting.items()):
            for _ in range(min(share, len(starts))):
                starts.popleft()()
                self._waiting_count -= 1
            if not starts:
                del self._waiting[sender]
        if self._waiting:
            loop.call_soon(self._begin_turn, loop)
