"""Long work in a thread, without keeping the event loop waiting."""

import gc
import time
from collections.abc import Generator
from contextlib import contextmanager


class Pace:
    """Pauses again and again. A thread that computes keeps the loop waiting for 5 ms each time that the loop goes on
    after it read or wrote something; with this, for about 0.2 ms."""

    def __init__(self, work_seconds: float = 0.0002, pause_seconds: float = 0.0001) -> None:
        self._work_seconds = work_seconds
        self._pause_seconds = pause_seconds
        self._until = 0.0

    def __call__(self) -> None:
        if time.perf_counter() >= self._until:
            time.sleep(self._pause_seconds)
            self._until = time.perf_counter() + self._work_seconds


@contextmanager
def making_what_stays() -> Generator[None]:
    """Objects that are made within are kept out of the garbage collector, which would look through all of them again
    and again while nothing else runs: 0.4 s for ten thousand tools. Reference counts still free them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
