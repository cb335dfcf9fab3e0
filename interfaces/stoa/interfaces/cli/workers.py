"""Processes that serve together behind one listening socket, and what keeps them alive.

uvicorn's own supervisor expects an answer of a worker five seconds after it was started, which a slow or busy processor
does not give: such workers were killed in the middle of their start, again and again. Here a worker that starts is left
alone as long as its process lives, and one that has started must be heard of.

On Linux workers are forked from a process that has imported everything and done nothing else: no thread, no event loop
and no connection is there yet, only the listening socket, which they share. Elsewhere they are spawned.
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

from stoa.interfaces.http.server import GatewayServer

_log = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0
_TICK_SECONDS = 0.25
HANG_SECONDS = 30.0
"""A worker that has started and was not heard of for so long is replaced: not even one of its threads runs."""
GRACE_SECONDS = 30.0
"""How long workers that were told to end may take; then they are killed."""
_MAX_DELAY_SECONDS = 30.0


class Worker(Protocol):
    """A process that serves, or will."""

    @property
    @abstractmethod
    def pid(self) -> int | None: ...

    @property
    @abstractmethod
    def exit_code(self) -> int | None:
        """None: it lives."""
        ...

    @property
    @abstractmethod
    def handles(self) -> Sequence[Any]:
        """What `multiprocessing.connection.wait` can wait for, to know that it ended."""
        ...

    @abstractmethod
    def heard(self) -> bool | None:
        """What it said since it was asked last: whether it has started. None: nothing."""
        ...

    @abstractmethod
    def terminate(self) -> None: ...

    @abstractmethod
    def kill(self) -> None: ...

    @abstractmethod
    def join(self, timeout_seconds: float) -> None: ...


@dataclass(slots=True)
class _Place:
    """One of the workers that are wanted, whichever process it is at the moment."""

    worker: Worker
    heard_at: float
    has_started: bool = False
    failures: int = 0
    """Starts in a row that did not succeed."""
    due_at: float | None = None
    """When the next one is started, after the last has died."""


class Workers:
    """Keeps `count` workers alive. `start` makes one and returns at once.

    The first that cannot start ends them all: the next would fail the same way. When one has started before, the reason
    may pass: starts are repeated, with growing pauses, while the others serve.
    """

    def __init__(self, count: int, start: Callable[[], Worker], now: float, hang_seconds: float = HANG_SECONDS) -> None:
        self._start = start
        self._hang_seconds = hang_seconds
        self._places = [_Place(start(), now) for _ in range(count)]
        self._to_replace: list[_Place] = []
        self._successor: _Place | None = None
        """Takes the place of the first of them as soon as it has started."""
        self._retired: list[Worker] = []
        """Those that were exchanged and finish what they are doing."""
        self._has_served = False
        self.has_failed = False

    @property
    def living(self) -> list[Worker]:
        places = self._places if self._successor is None else [*self._places, self._successor]
        self._retired = [worker for worker in self._retired if worker.exit_code is None]
        return [*(place.worker for place in places if place.worker.exit_code is None), *self._retired]

    def tick(self, now: float) -> None:
        """Look at every worker and replace those that died or hang. Call it often; `now` never goes back."""
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
        """Exchange the workers one after the other: each goes when its successor has started."""
        self._to_replace = list(self._places)

    def end(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Tell all to end and wait for them."""
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
        said = place.worker.heard()
        if said is None:
            return
        place.heard_at = now
        if said and not place.has_started:
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
            old.worker.terminate()
            self._retired.append(old.worker)
        elif successor.worker.exit_code is not None:
            _log.error("worker %s could not start; the old ones stay", successor.worker.pid)
            self._successor = None
            self._to_replace.clear()


def supervise(config: uvicorn.Config, listeners: Sequence[socket.socket], grace_seconds: float = GRACE_SECONDS) -> int:
    """Serve with `config.workers` processes until told to end; the exit code. SIGHUP exchanges the workers."""
    told: list[int] = []
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: told.append(number))
    is_forked = sys.platform == "linux"
    if is_forked:
        gc.collect()
        gc.freeze()  # collecting in a worker would write to, and so copy, every page that they share
    context: Any = multiprocessing.get_context("fork" if is_forked else "spawn")
    ours: list[Connection] = []

    def start() -> Worker:
        ours[:] = [one for one in ours if not one.closed]
        channel, theirs = context.Pipe()
        ours[:] = [*(one for one in ours if not one.closed), channel]
        process = context.Process(target=_work, args=(config, listeners, theirs, tuple(ours) if is_forked else ()))
        process.start()
        theirs.close()
        return _Process(process, channel)

    workers = Workers(config.workers, start, time.monotonic())
    is_ending = False
    while not is_ending and not workers.has_failed:
        connection.wait([handle for worker in workers.living for handle in worker.handles], timeout=_TICK_SECONDS)
        while told:
            if told.pop(0) == getattr(signal, "SIGHUP", None):
                workers.replace_all()
            else:
                is_ending = True
        if not is_ending:
            workers.tick(time.monotonic())
    workers.end(grace_seconds)
    return STARTUP_FAILURE if workers.has_failed else 0


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
        said: bool | None = None
        try:
            while not self._channel.closed and self._channel.poll():
                said = self._channel.recv_bytes() == _STARTED
        except (EOFError, OSError):  # it has ended, which `exit_code` tells
            pass
        return said

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout_seconds: float) -> None:
        self._process.join(timeout_seconds)


_STARTING, _STARTED = b"0", b"1"


def _work(
    config: uvicorn.Config, listeners: Sequence[socket.socket], channel: Connection, inherited: Sequence[Connection]
) -> None:
    """What a worker does. `inherited`: the supervisor's ends, which a fork has too; as long as one of them is open
    nobody learns that the supervisor is gone."""
    for one in inherited:
        one.close()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end_with_success)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor heard it
    server = GatewayServer(config)
    threading.Thread(target=_beat, args=(server, channel), name="heartbeat", daemon=True).start()
    server.run(list(listeners))


def _beat(server: uvicorn.Server, channel: Connection) -> None:
    """Tell the supervisor that this process lives, and end with it: without it nothing would end this one."""
    try:
        while True:
            channel.send_bytes(_STARTED if server.started else _STARTING)
            if channel.poll(_BEAT_SECONDS):
                channel.recv_bytes()
    except (EOFError, OSError):
        signal.raise_signal(signal.SIGTERM)


def end_with_success(*_: object) -> NoReturn:
    """Being told to end is a success. uvicorn repeats the signal to itself when it has shut down; by default that would
    kill the process, with an exit code of failure."""
    raise SystemExit(0)
