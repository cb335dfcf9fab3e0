"""Tasks of one process; they die with it."""

from stoa.application.ports import Clock, TaskStore
from stoa.domain.errors import QuotaExceeded
from stoa.domain.task import Task

TASKS_PER_OWNER = 1000


class InMemoryTaskStore(TaskStore):
    def __init__(self, clock: Clock, *, per_owner: int = TASKS_PER_OWNER) -> None:
        self._clock = clock
        self._per_owner = per_owner
        self._tasks: dict[str, Task] = {}

    async def create(self, task: Task) -> None:
        now = self._clock.now()
        self._tasks = {known: kept for known, kept in self._tasks.items() if kept.expires_at > now}
        ends = [kept.expires_at for kept in self._tasks.values() if kept.owner == task.owner]
        if len(ends) >= self._per_owner:
            raise QuotaExceeded("tasks", (min(ends) - now).total_seconds())
        self._tasks[task.id] = task

    async def find(self, task_id: str) -> Task | None:
        task = self._tasks.get(task_id)
        return task if task is not None and task.expires_at > self._clock.now() else None

    async def replace(self, task: Task, over: int) -> bool:
        kept = await self.find(task.id)
        if kept is None or kept.version != over or kept.is_over:
            return False
        self._tasks[task.id] = task
        return True

    async def close(self) -> None:
        self._tasks.clear()
