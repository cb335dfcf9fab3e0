"""The tasks of all processes that share a store: finds them, and ends those whose process died.

A process that runs a task renews a lease on it. A task whose lease has lapsed has failed, and is not run again, because
calls need not be repeatable. The metering event that its process would have recorded is stored with the lease;
the process that finds the task records it: on a request for the task, or in `watch`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from stoa.application.concurrency.supervisor import ReportDefect, Sleep
from stoa.application.ports.clock import Clock
from stoa.application.ports.task_store import TaskStore
from stoa.application.tasks.task_door import TaskDoor
from stoa.domain.access.identity import Principal
from stoa.domain.calls.task import Task
from stoa.domain.errors import StoaError, TaskInterrupted, TaskNotFound
from stoa.domain.metering.event import MeteringEvent

_log = logging.getLogger(__name__)


class StoredTasks:
    """`bill` records a metering event or raises MeteringUnavailable. `tick_seconds`: how often a task is looked at
    here, by its runner and by listeners."""

    def __init__(
        self,
        store: TaskStore,
        clock: Clock,
        door: TaskDoor,
        bill: Callable[[MeteringEvent], Awaitable[None]],
        *,
        lease_seconds: float,
        tick_seconds: float,
        report: ReportDefect,
    ) -> None:
        self.store = store
        self.clock = clock
        self.door = door
        self._bill = bill
        self.lease_seconds = lease_seconds
        self.tick_seconds = tick_seconds
        self.report = report

    async def find(self, task_id: str, caller: Principal | None) -> Task:
        """The task as it stands. `caller` with its view on the tenant of the request. Raises TaskNotFound."""
        task = await self.store.find(task_id)
        while task is not None and task.is_of(caller):
            if not task.is_abandoned(self.clock.now()):
                return task
            task = await self._fail_abandoned(task) or await self.store.find(task_id)
        raise TaskNotFound

    async def watch(self, sleep: Sleep = asyncio.sleep) -> None:
        """End abandoned tasks that no client asks for, until cancelled."""
        was_away = False
        while True:
            try:
                abandoned = await self.store.abandoned()
                # While the store was away no lease could be renewed: living processes get one interval to do so.
                for task in () if was_away else abandoned:
                    await self._fail_abandoned(task)
                was_away = False
            except StoaError as failure:
                was_away = True
                _log.warning("abandoned tasks could not be looked after: %s", failure.message)
            await sleep(self.lease_seconds / 3)

    async def _fail_abandoned(self, task: Task) -> Task | None:
        """The failed task; None when another process changed it first."""
        # Claimed by a lease of this process before billing: of many finders one records the event. Should this process
        # die too, or metering be unavailable, the next finder records it under the same event id.
        claimed = task.renewed(self.clock.now(), self.lease_seconds, task.message)
        if not await self.store.replace(claimed, task.version):
            return None
        if task.unbilled is not None:
            await self._bill(MeteringEvent.from_fields(task.unbilled))
        failed = claimed.failed(self.door.error(TaskInterrupted()), self.clock.now())
        return failed if await self.store.replace(failed, claimed.version) else None
