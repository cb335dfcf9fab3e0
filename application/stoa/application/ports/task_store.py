"""Where tasks are kept, for all processes of a deployment."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from stoa.domain.calls.task import Task

ABANDONED_AT_ONCE = 100


class TaskStore(Protocol):
    """Laws:

    - What `create` or `replace` kept is found at once by every process that shares the store, and survives the death of
      this one as far as the adapter says.
    - Compare and set: of several `replace` over the same version one returns True, whichever processes they come from;
      the others change nothing.
    - A terminal task never changes: no `replace` over it returns True.
    - From `expires_at` on a task is gone: it is not found, not replaced, and makes room.
    - Tasks, and the bytes of their records, are bounded for each owner, tenant and all (`stoa.application.tasks.caps`).
      Who meets an own bound is refused. When all is used up, the tenant that holds most loses its oldest task to one
      that would hold less: a task that is gone is found by nobody, and its run ends.
    - `abandoned` names every working task whose lease has ended, sooner or later: what it names may be few at a time.
    - What is found is equal to what was kept.

    All raise TasksUnavailable when the store cannot answer; whether a change was kept is then not known.
    """

    @abstractmethod
    async def create(self, task: Task) -> None:
        """Raises QuotaExceeded, naming the bound, and the moment when the first task makes room."""
        ...

    @abstractmethod
    async def find(self, task_id: str) -> Task | None: ...

    @abstractmethod
    async def replace(self, task: Task, over: int) -> bool:
        """Keep `task` under its id if the version that is kept is `over`, and is not terminal. Raises QuotaExceeded
        when it has become too large; then the earlier version stays."""
        ...

    @abstractmethod
    async def abandoned(self) -> Sequence[Task]:
        """Working tasks whose lease has ended, at most ABANDONED_AT_ONCE: their processes died."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Release what is open; nothing is asked afterwards."""
        ...
