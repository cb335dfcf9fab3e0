"""A worker process: started when there is work, kept while there is more, replaced after a run exceeded its limits."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from stoa.domain.errors import InvalidInput, Unavailable
from stoa.infrastructure.worker_process.limits import MIB, WorkLimits
from stoa.infrastructure.worker_process.wire import (
    EXHAUSTED,
    FAILED,
    HEAD_BYTES,
    ITEMS,
    REFUSED,
    RUN,
    head,
    unpacked,
)

_log = logging.getLogger(__name__)

_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL")
"""Environment variables that the worker gets; the others may hold secrets."""
_POLITENESS = 10
"""Increment of the worker's `nice` value, so that calls go first: also while it starts, which takes 0.3 s."""
_MAIN = f"""\
import os
if hasattr(os, "nice"): os.nice({_POLITENESS})
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from stoa.infrastructure.worker_process.limits import WorkLimits
from stoa.infrastructure.worker_process.worker import main
main(int(sys.argv[2]), WorkLimits(*json.loads(sys.argv[3])), sys.argv[4:])
"""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class WorkerProcess:
    """Executes one run at a time. The process gets no secret from the environment, writes no file, and ends with this
    one, or after `idle_seconds` without work."""

    def __init__(self, limits: WorkLimits, idle_seconds: float, modules: Sequence[str] = ()) -> None:
        """`modules`: imported when the process starts; a run imports whatever else it needs."""
        self.is_busy = False
        self._limits = limits
        self._modules = modules
        self._idle_seconds = idle_seconds
        self._worker: _Worker | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Future[int]] = set()

    async def begin(self) -> None:
        """Start the process without a run. One that cannot be started is no failure here, but one of the next run."""
        with suppress(Unavailable):
            await self._started()
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._end)

    async def run(self, body: bytes) -> bytes:
        """The pickled items of the run in `body`. Raises InvalidInput, or Unavailable if nothing can be run now."""
        self.is_busy, is_good = True, False
        if self._idle is not None:
            self._idle.cancel()
        try:
            worker = await self._started()
            async with asyncio.timeout(self._limits.wall_seconds):
                bodies = await self._run(worker, body)
            is_good = True
            return bodies
        except InvalidInput:
            is_good = True
            raise
        except TimeoutError:
            message = f"not processed within {self._limits.wall_seconds:g} s; the machine is busy"
            raise Unavailable(message) from None
        except (asyncio.IncompleteReadError, ConnectionError) as ended:
            raise InvalidInput(await self._reason()) from ended
        finally:
            self.is_busy = False
            if not is_good:
                self._end()
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._end)

    async def _run(self, worker: _Worker, body: bytes) -> bytes:
        """Runs a body and returns the pickled items of the answer. Raises InvalidInput, or the error that shows that
        the worker is gone."""
        worker.writer.write(head(RUN, len(body)))
        worker.writer.write(body)
        await worker.writer.drain()
        bodies = bytearray()
        while True:
            kind, length = unpacked(await worker.reader.readexactly(HEAD_BYTES))
            if len(bodies) + length > self._limits.result_bytes + MIB:
                raise ConnectionError  # the peer is no longer our worker
            body = await worker.reader.readexactly(length)
            if kind == ITEMS:
                bodies += body
            elif kind in {REFUSED, EXHAUSTED}:
                if kind == EXHAUSTED:
                    self._end()
                raise InvalidInput(body.decode("utf-8", "replace"))
            elif kind == FAILED:
                reason = body.decode("utf-8", "replace")
                _log.error("an input could not be processed: %s", reason)
                raise InvalidInput(f"cannot be processed ({reason})")
            else:
                return bytes(bodies)

    async def _started(self) -> _Worker:
        if self._worker is not None and self._worker.process.poll() is None:
            return self._worker
        self._end()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = self._begin(theirs.fileno())
            reader, writer = await asyncio.open_connection(sock=ours)
        except OSError as caught:
            ours.close()
            raise Unavailable("the process that reads manifests cannot be started") from caught
        self._worker = _Worker(process, reader, writer)
        return self._worker

    def _begin(self, channel: int) -> subprocess.Popen[bytes]:
        paths = json.dumps([path or str(Path.cwd()) for path in sys.path])
        return subprocess.Popen(  # noqa: S603  # ourselves again
            [
                *(sys.executable, "-I", "-c", _MAIN, paths, str(os.getpid())),
                *(json.dumps(astuple(self._limits)), *self._modules),
            ],
            stdin=channel,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            start_new_session=True,
        )

    async def _reason(self) -> str:
        worker = self._worker
        code = 0 if worker is None else await asyncio.to_thread(worker.process.wait)
        if sys.platform != "win32" and -code == signal.SIGXCPU:
            return f"takes more than {self._limits.cpu_seconds} s of computing time"
        if code > 0:
            return "cannot be processed: the process that reads manifests does not start or ended; see its installation"
        return f"needs more than {self._limits.memory_bytes // MIB} MiB of memory, or ends the process that reads it"

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.process.kill()
        worker.writer.close()
        reaped = asyncio.get_running_loop().run_in_executor(None, worker.process.wait)
        self._ending.add(reaped)
        reaped.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._end()
        if self._ending:
            await asyncio.wait(set(self._ending))
