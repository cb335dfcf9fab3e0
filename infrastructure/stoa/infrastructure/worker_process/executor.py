"""BoundedExecutor in separate processes."""

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar

from stoa.application.concurrency.pace import Pace, making_what_stays
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.worker_process.limits import MIB, WorkLimits
from stoa.infrastructure.worker_process.process import WorkerProcess
from stoa.infrastructure.worker_process.wire import items_of

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
MOST_PROCESSES = 2
"""Upper bound on the processes of one executor: each may take all that the limits allow."""
_LARGE_BYTES = MIB
"""Size from which a result is kept out of the garbage collector, because a result that large is a catalogue and
stays."""


class ProcessExecutor(BoundedExecutor):
    """Executes as many runs at a time as there are `processes`; others wait in their order. A further process is
    started when the ones before it are busy, and ends after IDLE_SECONDS without work; the first one after
    `idle_seconds`."""

    def __init__(
        self,
        limits: WorkLimits = WorkLimits(),
        *,
        idle_seconds: float = IDLE_SECONDS,
        processes: int | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        """`processes`: None for one for each processor that this process may use, at most MOST_PROCESSES. `modules`:
        imported by each process when it starts."""
        count = min(MOST_PROCESSES, _processors()) if processes is None else processes
        further = [WorkerProcess(limits, min(idle_seconds, IDLE_SECONDS), modules) for _ in range(count - 1)]
        self._processes = [WorkerProcess(limits, idle_seconds, modules), *further]
        self._free = asyncio.Semaphore(count)

    async def begin(self) -> None:
        """Start the first process, for a run that is expected soon: it is ready after some 0.4 s. It ends like one that
        has had a run."""
        await self._processes[0].begin()

    async def run(self, function: Callable[P, Iterable[T]], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        body = await asyncio.to_thread(pickle.dumps, (function, args, kwargs), 5)
        async with self._free:
            process = next(process for process in self._processes if not process.is_busy)
            bodies = await process.run(body)
        return await asyncio.to_thread(_unpickled, bodies)

    async def close(self) -> None:
        for process in self._processes:
            await process.close()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _unpickled(bodies: bytes) -> list[Any]:
    pace = Pace()
    items: list[Any] = []
    with making_what_stays() if len(bodies) > _LARGE_BYTES else nullcontext():
        try:
            for item in items_of(bodies):
                items.append(item)
                pace()
        except Exception as failure:
            _log.exception("a result of the process that reads manifests is none")
            raise InvalidInput(f"cannot be processed ({type(failure).__name__})") from failure
    return items
