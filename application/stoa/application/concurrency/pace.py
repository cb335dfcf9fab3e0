"""Long work in a thread, without keeping the event loop waiting."""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_SWITCH_SECONDS = 0.0005
_before: list[float] = []
"""Intervals at each entry that has not ended; the first is the process's own."""
_making: list[bool] = []
"""If the collector was enabled, at each entry of `making_what_stays` that has not ended."""
_lock = threading.Lock()
MANY = 1000
"""Operations or manifests from which on the garbage collector is kept away from them."""


class Pace:
    """Pauses again and again. A thread that computes keeps the loop waiting for 5 ms each time that the loop goes on
    after it read or wrote something; with this, for about 0.2 ms."""

    def __init__(self, work_seconds: float = 0.0002, pause_seconds: float = 0.0005) -> None:
        self._work_seconds = work_seconds
        self._pause_seconds = pause_seconds
        self._until = 0.0

    def __call__(self) -> None:
        if time.perf_counter() >= self._until:
            time.sleep(self._pause_seconds)
            self._until = time.perf_counter() + self._work_seconds


def paced(items: Iterable[T]) -> Iterator[T]:
    """The items, for a loop over thousands of them in a thread, with the pauses of a Pace."""
    pace = Pace()
    for item in items:
        yield item
        pace()


async def in_turns(items: Iterable[T], turn_seconds: float = 0.00025) -> AsyncIterator[T]:
    """The items, for a loop over thousands of them in the event loop: whenever `turn_seconds` have passed, other tasks
    get their turn."""
    until = time.perf_counter() + turn_seconds
    for item in items:
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + turn_seconds
        yield item


@contextmanager
def yielding_to_the_loop() -> Generator[None]:
    """Threads that compute yield to the event loop after half a millisecond. With Python's default of 5 ms each call
    would wait that long at every read and write while ten thousand tools are compiled. Only while there is such work:
    it costs each call 15 % more CPU."""
    _before.append(sys.getswitchinterval())
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        last = _before.pop()
        if not _before:  # several gateways in one process may load at once, and end in any order
            sys.setswitchinterval(last)


def let_go(items: list[Any]) -> None:
    """Empty `items` one by one. Freeing ten thousand tools at once takes 40 ms in any thread, and no other thread runs
    until then."""
    pace = Pace()
    while items:
        items.pop()
        pace()


def keep_what_stays() -> None:
    """Keep all objects made so far out of the garbage collector, as `making_what_stays` does. For objects that the
    event loop makes little by little: called often enough, no collection has much to scan."""
    gc.collect(1)  # what calls left behind in cycles is freed, not kept for good
    gc.freeze()


@contextmanager
def making_what_stays() -> Generator[None]:
    """Keep the objects made within out of the garbage collector, which would scan all of them again and again while
    nothing else runs: 0.4 s for ten thousand tools. Reference counts still free them. Several threads may make such
    objects at once; the collector rests until the last of them is done."""
    with _lock:
        _making.append(gc.isenabled())
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            gc.freeze()
            was_enabled = _making.pop()
            if was_enabled and not _making:
                gc.enable()
