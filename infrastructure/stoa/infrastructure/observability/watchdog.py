"""Detects a blocked event loop: how late it is, and which call blocks it.

The loop measures its own lag. A thread watches from outside, because a blocked loop cannot: after BLOCKED_SECONDS it
logs the stack of the loop's thread, with names of functions and no arguments. Calls pay nothing for it: the current
call is read from the stack of the pipeline once the loop is late.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

from stoa.application.calls.invoke_operation import InvokeOperation
from stoa.application.calls.running_calls import RunningCall
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe

TICK_SECONDS = 0.25
BLOCKED_SECONDS = 1.0
"""Lag from which the loop counts as blocked."""
MOST_UNREADY_SECONDS = 30.0
_FRAMES = 30

_log = logging.getLogger(__name__)


class _Blockage(NamedTuple):
    seconds: float
    ended_ns: int


class LoopWatchdog(HealthProbe):
    """Watches the loop that `run` runs in. `observed` gets each measured lag in seconds.

    After a blockage the gateway is not ready for as long as it was blocked, MOST_UNREADY_SECONDS at most: readiness
    falls while liveness still answers, and comes back by itself.
    """

    name = "event_loop"

    def __init__(self, clock: Clock, observed: Callable[[float], None]) -> None:
        self._clock = clock
        self._observed = observed
        self._thread = 0
        self._due_ns: int | None = None
        """Due time of the next tick; None: nothing is watched."""
        self._reported_ns = 0
        """Due time of the tick whose lateness was last logged."""
        self._blockage = _Blockage(0, 0)

    async def run(self) -> None:
        """Watches the running loop until cancelled; the thread ends with it."""
        stopped = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stopped,), name="stoa-watchdog", daemon=True)
        self.begin()
        watcher.start()
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                self.tick()
        finally:
            self._due_ns = None
            stopped.set()
            watcher.join()

    def begin(self) -> None:
        """Starts watching; call it in the thread of the loop."""
        self._thread = threading.get_ident()
        self._due_ns = self._next()

    def tick(self) -> None:
        """Records the loop's lag; called by the loop every TICK_SECONDS."""
        lag = self._lag()
        self._observed(lag)
        if lag >= BLOCKED_SECONDS:
            self._blockage = _Blockage(lag, self._clock.monotonic_ns())
            _log.warning("the event loop is free again after %.1f s", lag)
        self._due_ns = self._next()

    def check(self) -> None:
        """Logs a blockage once; called regularly by another thread."""
        due, lag = self._due_ns, self._lag()
        if due is None or lag < BLOCKED_SECONDS or self._reported_ns == due:
            return
        self._reported_ns = due
        frames = [*_frames(sys._current_frames().get(self._thread))]  # pyright: ignore[reportPrivateUsage]  # documented
        call = _call_under_way(frames)
        what = f"the call of {call['tool']}" if call else "something that is no call"
        stack = [f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in frames]
        _log.error(
            "the event loop has been busy for %.1f s with %s; all other calls wait",
            lag,
            what,
            extra={**call, "stack": stack[:_FRAMES]},
        )

    def health(self) -> Health:
        lag = self._lag()
        if lag >= BLOCKED_SECONDS:
            return Health(False, f"the event loop is blocked, for {lag:.1f} s by now")
        seconds, ended_ns = self._blockage
        since = (self._clock.monotonic_ns() - ended_ns) / 1e9
        if since < min(seconds, MOST_UNREADY_SECONDS):
            return Health(False, f"the event loop was blocked for {seconds:.1f} s until {since:.1f} s ago")
        return Health(True, f"late by {lag:.3f} s")

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(TICK_SECONDS):
            self.check()

    def _next(self) -> int:
        return self._clock.monotonic_ns() + int(TICK_SECONDS * 1e9)

    def _lag(self) -> float:
        due = self._due_ns
        return 0.0 if due is None else max(0, self._clock.monotonic_ns() - due) / 1e9


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a stack, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _call_under_way(frames: list[FrameType]) -> dict[str, str]:
    """Identifies the call in the pipeline by the gateway's own names; nothing that a stranger wrote is repeated."""
    for frame in frames:
        if frame.f_code is InvokeOperation.execute.__code__:
            call = frame.f_locals.get("call")
            if isinstance(call, RunningCall):
                return call.labels()
    return {}
