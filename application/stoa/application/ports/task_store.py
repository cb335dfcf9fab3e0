"""Stores tasks, for all processes of a deployment."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from stoa.domain.calls.task import Task

ABANDONED_AT_ONCE = 100


class TaskStore(Protocol):
    """Laws:  - A task that `create` or `replace` stored is found at once by every process that shares the store, and
    survives the death of this process as far as the adapter promises. - Compare and set: of several `replace` over the
    same version, from any processes, one returns True; the others change nothing. - A terminal task never changes: no
    `replace` over it returns True. - From `expires_at` on a task is gone: it is not found, not replaced, and makes
    room. - Tasks, and the bytes of their records, are bounded for each owner, tenant and all
    (`stoa.application.tasks.caps`). A caller that meets its own bound is refused. When all is used up, the tenant that
    holds most loses its oldest task to one that would hold less: an evicted task is no longer found, and its run ends.
    - `abandoned` names every working task whose lease has ended, sooner or later; it may name few at a time. - A found
    task is equal to the stored one.  All raise TasksUnavailable when the store cannot answer; it is then unknown if a
    change was stored."""

    @abstractmethod
    async def create(self, task: Task) -> None:
        """Store a new task. Raises QuotaExceeded, naming the bound, and the moment when the first task makes room."""
        ...

    @abstractmethod
    async def find(self, task_id: str) -> Task | None: ...

    @abstractmethod
    async def replace(self, task: Task, over: int) -> bool:
        """Store `task` under its id if the stored version is `over`, and is not terminal. Raises QuotaExceeded if it
        has become too large; then the earlier version stays."""
        ...

    @abstractmethod
    async def abandoned(self) -> Sequence[Task]:
        """Working tasks whose lease has ended, at most ABANDONED_AT_ONCE: their processes died."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Release connections; no request is made afterwards."""
        ...
