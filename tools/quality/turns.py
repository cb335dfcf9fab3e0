"""A gateway whose event loop is timed: `python tools/quality/turns.py FILE serve …` is `stoa serve …`, and writes to
FILE at its end which callbacks of the loop took long, and why. `soak --turns` starts its gateway so, and tells what the
longest calls waited for.

A callback's time on the wall is more than its processor time where the thread waited: for a processor, which the system
counts, or for the interpreter's lock, or for a system call.
"""

import asyncio
import gc
import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_LEAST_SECONDS = 0.0002
"""Time from which a callback is told by itself."""
_PROTOCOL_METHODS = (
    "connection_made", "data_received", "buffer_updated", "eof_received", "connection_lost", "pause_writing",
    "resume_writing",
)  # fmt: skip


class Step(NamedTuple):
    """One long callback. Times are those of CLOCK_MONOTONIC, which all processes share. What is counted is counted
    since the end of the long callback before."""

    name: str
    began: float
    ended: float
    computed: float
    """Processor time of the thread within the callback."""
    before: float
    """Processor time of the thread since the last one, in shorter callbacks and in the loop itself."""
    for_processor: float
    """Time that the thread was ready to run and had no processor."""
    sleeps: int
    """Times that the thread slept: in the loop's `poll`, or for the interpreter's lock."""
    faults: int
    threads: Sequence[str]
    """Places in the code at which other threads stood at its end."""


class Recorder:
    """Times the callbacks of the loop that runs in the thread that makes it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._collecting = 0.0
        self._thread = threading.get_ident()
        self._is_inside = False
        self._waited, self._usage, self._computed = 0.0, resource.getrusage(resource.RUSAGE_THREAD), 0.0

    def install(self) -> None:
        """Puts itself around the callbacks of uvloop's loops, and around the garbage collector."""
        import uvloop

        timed, with_methods = self._timed, self._with_methods

        class TimedLoop(uvloop.Loop):  # type: ignore[misc]
            def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
                return super().call_soon(timed(callback), *args, context=context)

            def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
                return super().call_soon_threadsafe(timed(callback), *args, context=context)

            def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
                return super().call_later(delay, timed(callback), *args, context=context)

            def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
                return super().call_at(when, timed(callback), *args, context=context)

            async def connect_accepted_socket(self, factory: Any, *args: Any, **more: Any) -> Any:
                return await super().connect_accepted_socket(lambda: with_methods(factory()), *args, **more)

            async def create_connection(self, factory: Any, *args: Any, **more: Any) -> Any:
                return await super().create_connection(lambda: with_methods(factory()), *args, **more)

        uvloop.Loop = TimedLoop
        gc.callbacks.append(self._collected)

    def _with_methods(self, protocol: Any) -> Any:
        for name in _PROTOCOL_METHODS:
            method = getattr(protocol, name, None)
            if method is not None:
                with suppress(AttributeError):  # one with slots: what it does is in the time between callbacks
                    setattr(protocol, name, self._timed(method))
        return protocol

    def _timed(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            if self._is_inside or threading.get_ident() != self._thread:
                return callback(*args)
            self._is_inside = True
            began, computed = time.perf_counter(), time.thread_time()
            name = _name_of(callback) if isinstance(getattr(callback, "__self__", None), asyncio.Task) else ""
            try:
                return callback(*args)
            finally:
                self._is_inside = False
                ended = time.perf_counter()
                if ended - began >= _LEAST_SECONDS:
                    self._note(name or _name_of(callback), began, ended, computed)

        return timed

    def _note(self, name: str, began: float, ended: float, computed: float) -> None:
        now, usage = time.thread_time(), resource.getrusage(resource.RUSAGE_THREAD)
        waited = int(os.pread(self._schedstat, 64, 0).split()[1]) / 1e9
        is_slow = ended - began > 5 * _LEAST_SECONDS
        self.steps.append(
            Step(
                name,
                began,
                ended,
                now - computed,
                computed - self._computed,
                waited - self._waited,
                usage.ru_nvcsw - self._usage.ru_nvcsw,
                usage.ru_minflt - self._usage.ru_minflt,
                self._others() if is_slow else (),
            )
        )
        self._computed, self._usage, self._waited = now, usage, waited

    def _collected(self, phase: str, told: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        elif (ended := time.perf_counter()) - self._collecting >= _LEAST_SECONDS:
            name = f"garbage, generation {told['generation']}, in {threading.current_thread().name.split('_')[0]}"
            self.steps.append(Step(name, self._collecting, ended, 0, 0, 0, 0, 0, ()))

    def _others(self) -> tuple[str, ...]:
        """The places in the code of other threads that are not waiting."""
        places: list[str] = []
        for thread, innermost in sys._current_frames().items():  # documented
            if thread == self._thread or innermost.f_code.co_qualname in _WAITING:
                continue
            names: list[str] = []
            frame: Any = innermost
            while frame is not None and len(names) < 4:
                if "/lib/python" not in frame.f_code.co_filename:
                    names.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
                frame = frame.f_back
            places.append(" < ".join(dict.fromkeys((innermost.f_code.co_qualname, *names))))
        return tuple(places)

    def write(self, file: Path) -> None:
        file.write_text("".join(f"{json.dumps(step)}\n" for step in self.steps))


_WAITING = {
    "_worker",
    "Condition.wait",
    "Event.wait",
    "Pace.__call__",
    "_ChannelShutdownManager._run_safe_shutdown_loop",
    "_Ticker._count_while_used",
    "WorkerThread.run",
}
"""Functions in which a thread sleeps."""


def _name_of(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return str(getattr(callback, "__qualname__", callback))
    coroutine: Any = owner.get_coro()
    names = [f"{getattr(coroutine, '__qualname__', coroutine)}{_request_of(coroutine)}"]
    while (inner := getattr(coroutine, "cr_await", None)) is not None:
        coroutine = inner
        if name := getattr(coroutine, "__qualname__", ""):
            names.append(name)
    return " > ".join((names[0], *names[1:][-2:]))


def _request_of(coroutine: Any) -> str:
    """The path of the request that a connection's task answers."""
    frame = getattr(coroutine, "cr_frame", None)
    request = None if frame is None else getattr(frame.f_locals.get("self"), "request", None)
    return "" if request is None else f" {request.method.decode()} {request.target.decode()[:60]} {len(request.fields)}"


def read(file: Path) -> list[Step]:
    return [Step(*json.loads(line)) for line in file.read_text().splitlines()]


def report(steps: list[Step], calls: list[tuple[float, float]], most: int = 15) -> str:
    """The work of the loop during `calls` (begin and end of each), first in sum, then for the `most` longest calls."""
    causes, counts, lines = Counter[str](), Counter[str](), list[str]()
    for began, ended in sorted(calls, key=lambda call: call[0] - call[1]):
        during = [step for step in steps if step.ended > began and step.began < ended]
        causes_of_call = Counter[str]()
        for step in during:
            causes_of_call[step.name] += step.ended - step.began
            for place in step.threads:
                causes_of_call[f"(beside) {place}"] += max(0.0, step.ended - step.began - step.computed)
        for name, seconds in causes_of_call.items():
            causes[name] += seconds
            counts[name] += 1
        if len(lines) < most:
            shown = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in causes_of_call.most_common(7))
            in_steps = _ms(during, "ended") - _ms(during, "began")
            lines.append(
                f"{(ended - began) * 1000:6.1f} ms: in long callbacks {in_steps:.1f}, "
                f"computing {_ms(during, 'computed'):.1f}, {_ms(during, 'before'):.1f} between them, "
                f"waiting for a processor {_ms(during, 'for_processor'):.1f}, "
                f"{sum(step.sleeps for step in during)} sleeps, {sum(step.faults for step in during)} faults: {shown}"
            )
    summed = [
        f"{seconds * 1000:8.1f} ms in {counts[name]:>4} calls  {name}" for name, seconds in causes.most_common(40)
    ]
    return "\n".join([f"the longest {len(calls)} calls, in sum:", *summed, "the longest:", *lines])


def _ms(steps: Sequence[Step], what: str) -> float:
    return 1000 * sum(getattr(step, what) for step in steps)


def main() -> None:
    from stoa.interfaces.main import main as stoa

    file = Path(sys.argv.pop(1))
    recorder = Recorder()
    recorder.install()
    try:
        stoa()
    finally:
        recorder.write(file)


if __name__ == "__main__":
    main()
