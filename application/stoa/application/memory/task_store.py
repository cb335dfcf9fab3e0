"""Tasks of one process; they die with it."""

from collections.abc import Iterable, Sequence
from itertools import islice

from stoa.application.ports import Clock, TaskStore
from stoa.application.ports.task_store import ABANDONED_AT_ONCE
from stoa.application.tasks import task_record
from stoa.application.tasks.caps import TASK_CAPS, TaskCaps, refusal
from stoa.domain.access.fair_share import Bound, FairShares, NoRoom
from stoa.domain.calls.task import Task


class InMemoryTaskStore(TaskStore):
    def __init__(self, clock: Clock, *, caps: TaskCaps = TASK_CAPS) -> None:
        self._clock = clock
        self._tasks: dict[str, Task] = {}
        self._number: FairShares[str] = FairShares(caps.number, evicts_own=False)
        self._size: FairShares[str] = FairShares(caps.size, evicts_own=False)

    async def create(self, task: Task) -> None:
        now = self._clock.now()
        self._forget(task_id for task_id, stored in list(self._tasks.items()) if stored.expires_at <= now)
        self._make_room(task)
        self._tasks[task.id] = task

    async def find(self, task_id: str) -> Task | None:
        task = self._tasks.get(task_id)
        return task if task is not None and task.expires_at > self._clock.now() else None

    async def replace(self, task: Task, over: int) -> bool:
        stored = await self.find(task.id)
        if stored is None or stored.version != over or stored.is_over:
            return False
        self._make_room(task)
        self._tasks[task.id] = task
        return True

    async def abandoned(self) -> Sequence[Task]:
        now = self._clock.now()
        lost = (task for task in self._tasks.values() if task.is_abandoned(now) and task.expires_at > now)
        return list(islice(lost, ABANDONED_AT_ONCE))

    async def close(self) -> None:
        self._forget(list(self._tasks))

    def _make_room(self, task: Task) -> None:
        is_size = False
        try:
            self._forget(self._number.put(task.id, task.holder))
            is_size = True
            self._forget(self._size.put(task.id, task.holder, len(task_record.dump(task))))
        except NoRoom as full:
            if task.id not in self._tasks:
                self._number.remove(task.id)
            raise refusal(full.bound, is_size=is_size, retry_after_seconds=self._until_room(full.bound, task)) from full

    def _until_room(self, bound: Bound, task: Task) -> float:
        """Seconds until the first task ends that counts against the same bound."""
        others = (
            other
            for other in self._tasks.values()
            if bound is Bound.ALL
            or other.holder == task.holder
            or (bound is Bound.TENANT and other.tenant == task.tenant)
        )
        first = min((other.expires_at for other in others), default=task.expires_at)
        return (first - self._clock.now()).total_seconds()

    def _forget(self, task_ids: Iterable[str]) -> None:
        for task_id in task_ids:
            self._tasks.pop(task_id, None)
            self._number.remove(task_id)
            self._size.remove(task_id)
