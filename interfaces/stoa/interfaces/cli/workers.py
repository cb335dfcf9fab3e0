"""Processes that serve behind one listening socket, and their supervisor.

uvicorn's own supervisor expects an answer of a worker five seconds after it was started, which a slow or busy processor
does not give: such workers were killed in the middle of their start, again and again. Here a starting worker is left
alone as long as its process lives, and a started one must send heartbeats.

On Linux workers are forked from a process that has only imported modules: it has no thread, event loop or connection
yet, only the listening socket, which they share. Elsewhere they are spawned.
"""

import gc
import logging
import multiprocessing
import signal
import socket
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from stoa.interfaces.http.accepting import ConnectionCounts
from stoa.interfaces.http.server import GatewayServer

_log = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0
_TICK_SECONDS = 0.25
HANG_SECONDS = 30.0
"""Silence after which a started worker is replaced: then not even its heartbeat thread runs."""
GRACE_SECONDS = 30.0
"""Time for workers to end; then they are killed."""
_MAX_DELAY_SECONDS = 30.0


class Worker(Protocol):
    """A process that serves, or is starting."""

    @property
    @abstractmethod
    def pid(self) -> int | None: ...

    @property
    @abstractmethod
    def exit_code(self) -> int | None:
        """The exit code; None while it lives."""
        ...

    @property
    @abstractmethod
    def handles(self) -> Sequence[Any]:
        """Handles that `multiprocessing.connection.wait` waits on, to detect its end."""
        ...

    @abstractmethod
    def heard(self) -> bool | None:
        """The latest message since the last call: True for the one that reports the start, False for a heartbeat. None:
        no message."""
        ...

    @abstractmethod
    def terminate(self) -> None: ...

    @abstractmethod
    def kill(self) -> None: ...

    @abstractmethod
    def join(self, timeout_seconds: float) -> None: ...


@dataclass(slots=True)
class _Place:
    """One of the required workers, with the process that currently fills it."""

    worker: Worker
    heard_at: float
    has_started: bool = False
    failures: int = 0
    """Consecutive failed starts."""
    due_at: float | None = None
    """Time of the next start, after the last process died."""


class Workers:
    """Keeps `count` workers alive. `start` starts one and returns at once.

    If a worker cannot start before any has served, all end, because the others would fail the same way. Once one has
    started, the reason may be temporary: starts are repeated, with growing pauses, while the others serve.
    """

    def __init__(self, count: int, start: Callable[[], Worker], now: float, hang_seconds: float = HANG_SECONDS) -> None:
        self._start = start
        self._hang_seconds = hang_seconds
        self._places = [_Place(start(), now) for _ in range(count)]
        self._to_replace: list[_Place] = []
        self._successor: _Place | None = None
        """The worker that replaces the first of `_to_replace` once it has started."""
        self._retired: list[Worker] = []
        """Replaced workers that finish their requests."""
        self._has_served = False
        self.has_failed = False

    @property
    def living(self) -> list[Worker]:
        places = self._places if self._successor is None else [*self._places, self._successor]
        self._retired = [worker for worker in self._retired if worker.exit_code is None]
        return [*(place.worker for place in places if place.worker.exit_code is None), *self._retired]

    def tick(self, now: float) -> None:
        """Checks every worker and replaces those that died or hang. Call it often; `now` never decreases."""
        for place in self._places:
            self._listen(place, now)
            if place.due_at is not None:
                self._restart(place, now)
            elif place.worker.exit_code is not None:
                self._bury(place, now)
            elif place.has_started and now - place.heard_at > self._hang_seconds:
                _log.error("worker %s was not heard of for %d s and is killed", place.worker.pid, self._hang_seconds)
                place.worker.kill()
        self._replace_next(now)

    def replace_all(self) -> None:
        """Replaces the workers one after the other: each ends once its successor has started."""
        self._to_replace = list(self._places)

    def end(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Tells all workers to end and waits for them."""
        living = self.living
        for worker in living:
            worker.terminate()
        deadline = time.monotonic() + grace_seconds
        for worker in living:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.exit_code is None:
                _log.error("worker %s did not end within %d s and is killed", worker.pid, grace_seconds)
                worker.kill()
                worker.join(1.0)

    def _listen(self, place: _Place, now: float) -> None:
        heartbeat = place.worker.heard()
        if heartbeat is None:
            return
        place.heard_at = now
        if heartbeat and not place.has_started:
            place.has_started, place.failures, self._has_served = True, 0, True
            _log.info("worker %s serves", place.worker.pid)

    def _bury(self, place: _Place, now: float) -> None:
        code = place.worker.exit_code
        if code == STARTUP_FAILURE and not self._has_served:
            _log.error("worker %s could not start", place.worker.pid)
            self.has_failed = True
            return
        place.failures = 0 if place.has_started else place.failures + 1
        delay = min(_MAX_DELAY_SECONDS, 2.0 ** (place.failures - 1)) if place.failures else 0.0
        _log.warning("worker %s ended with %s; the next starts in %d s", place.worker.pid, code, delay)
        place.due_at = now + delay
        self._restart(place, now)

    def _restart(self, place: _Place, now: float) -> None:
        if place.due_at is not None and now >= place.due_at:
            place.worker, place.heard_at, place.has_started, place.due_at = self._start(), now, False, None

    def _replace_next(self, now: float) -> None:
        if not self._to_replace:
            return
        if self._successor is None:
            self._successor = _Place(self._start(), now)
        successor = self._successor
        self._listen(successor, now)
        if successor.has_started:
            old = self._to_replace.pop(0)
            self._places[self._places.index(old)] = successor
            self._successor = None
            # Only after its successor serves, so that the number of serving workers never falls.
            old.worker.terminate()
            self._retired.append(old.worker)
        elif successor.worker.exit_code is not None:
            _log.error("worker %s could not start; the old ones stay", successor.worker.pid)
            self._successor = None
            self._to_replace.clear()


def supervise(config: uvicorn.Config, listeners: Sequence[socket.socket], grace_seconds: float = GRACE_SECONDS) -> int:
    """Serves with `config.workers` processes until a signal ends it; returns the exit code. SIGHUP replaces the
    workers."""
    signals: list[int] = []
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: signals.append(number))
    is_forked = sys.platform == "linux"
    if is_forked:
        gc.collect()
        gc.freeze()  # collecting in a worker would write to, and so copy, every page that they share
    context: Any = multiprocessing.get_context("fork" if is_forked else "spawn")
    ours: list[Connection] = []
    places = _Places() if is_forked else None  # a spawned process shares no memory

    def start() -> Worker:
        ours[:] = [end for end in ours if not end.closed]
        channel, theirs = context.Pipe()
        ours[:] = [*(end for end in ours if not end.closed), channel]
        shared = (tuple(ours), places.counts, places.free) if places is not None else ((), None, 0)
        process = context.Process(target=_work, args=(config, listeners, theirs, *shared))
        process.start()
        if places is not None:
            places.take(process)
        theirs.close()
        return _Process(process, channel)

    workers = Workers(config.workers, start, time.monotonic())
    is_ending = False
    while not is_ending and not workers.has_failed:
        connection.wait([handle for worker in workers.living for handle in worker.handles], timeout=_TICK_SECONDS)
        while signals:
            if signals.pop(0) == getattr(signal, "SIGHUP", None):
                workers.replace_all()
            else:
                is_ending = True
        if places is not None:
            places.clear()
        if not is_ending:
            workers.tick(time.monotonic())
    workers.end(grace_seconds)
    return STARTUP_FAILURE if workers.has_failed else 0


class _Places:
    """Which worker publishes the number of its connections where."""

    def __init__(self) -> None:
        self.counts = ConnectionCounts()
        self._taken: dict[int, Any] = {}

    @property
    def free(self) -> int:
        """Beyond hundreds of workers the last place has several; the count there is then that of any of them."""
        return next((place for place in range(len(self.counts)) if place not in self._taken), len(self.counts) - 1)

    def take(self, process: Any) -> None:
        """Gives the free place to a process."""
        self._taken[self.free] = process

    def clear(self) -> None:
        """Frees the places of those that ended, so that no connection is left to them."""
        for place in [place for place, process in self._taken.items() if process.exitcode is not None]:
            self.counts.withdraw(place)
            del self._taken[place]


class _Process(Worker):
    """A worker of this program."""

    def __init__(self, process: Any, channel: Connection) -> None:
        self._process = process
        self._channel = channel

    @property
    def pid(self) -> int | None:
        pid: int | None = self._process.pid
        return pid

    @property
    def exit_code(self) -> int | None:
        code: int | None = self._process.exitcode
        if code is not None and not self._channel.closed:
            self._channel.close()
        return code

    @property
    def handles(self) -> Sequence[Any]:
        return (self._process.sentinel,)

    def heard(self) -> bool | None:
        has_started: bool | None = None
        try:
            while not self._channel.closed and self._channel.poll():
                has_started = self._channel.recv_bytes() == _STARTED
        except (EOFError, OSError):  # it has ended, which `exit_code` tells
            pass
        return has_started

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout_seconds: float) -> None:
        self._process.join(timeout_seconds)


_STARTING, _STARTED = b"0", b"1"


def _work(
    config: uvicorn.Config,
    listeners: Sequence[socket.socket],
    channel: Connection,
    inherited: Sequence[Connection],
    counts: ConnectionCounts | None,
    place: int,
) -> None:
    """Runs a worker. `inherited`: the supervisor's pipe ends, which a fork inherits; as long as one is open, no worker
    learns that the supervisor is gone. `counts`: where it publishes its connections, at `place`."""
    for end in inherited:
        end.close()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end_with_success)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor heard it
    server = GatewayServer(config, counts, place)
    threading.Thread(target=_beat, args=(server, channel), name="heartbeat", daemon=True).start()
    server.run(list(listeners))


def _beat(server: uvicorn.Server, channel: Connection) -> None:
    """Sends heartbeats to the supervisor, and ends this process with it, because nothing else would."""
    try:
        while True:
            channel.send_bytes(_STARTED if server.started else _STARTING)
            if channel.poll(_BEAT_SECONDS):
                channel.recv_bytes()
    except (EOFError, OSError):
        signal.raise_signal(signal.SIGTERM)


def end_with_success(*_: object) -> NoReturn:
    """Exits with success on a signal. uvicorn repeats the signal to itself after its shutdown, which by default would
    kill the process with an exit code of failure."""
    raise SystemExit(0)
