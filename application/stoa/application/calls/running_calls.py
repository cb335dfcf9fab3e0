"""The calls that run in this process, and ending those that a shutdown does not wait for."""

import asyncio
from typing import Any


class RunningCalls:
    """Knows each call by its event, with the asyncio task it runs in."""

    def __init__(self) -> None:
        self.tasks: dict[str, asyncio.Task[Any] | None] = {}
        """By event; the pipeline enters each call before it does anything, and takes it out before it meters it."""
        self.is_over = False
        """No further call may go to its back end."""
        self._cut: set[str] = set()

    def __len__(self) -> int:
        return len(self.tasks)

    def cut(self) -> int:
        """Cancel every call that runs, for good; how many there were. Each is metered, and its caller is told."""
        self.is_over = True
        waiting = {event_id: task for event_id, task in self.tasks.items() if event_id not in self._cut}
        self._cut.update(waiting)
        for task in set(waiting.values()):
            if task is not None:
                task.cancel()
        return len(waiting)

    def was_cut(self, event_id: str) -> bool:
        """Was the cancellation that the call has just got that of `cut`, and no other? Then it is taken back."""
        task = self.tasks.get(event_id)
        return event_id in self._cut and task is not None and task.uncancel() == 0
