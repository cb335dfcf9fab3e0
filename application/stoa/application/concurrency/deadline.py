"""A time limit that can be paused."""

import asyncio
from types import TracebackType
from typing import Any

from stoa.application.concurrency.cancellation import AGAIN_SECONDS


class Deadline:
    """Cancels the body of its `with` after `seconds`, and raises TimeoutError instead. If the body loses the
    cancellation (see `cancel_and_wait`), it is cancelled again `again_seconds` later.

    Like `asyncio.timeout`, but looks the running loop up once; before Python 3.12 each look-up is a system call, and
    four of them are a twentieth of a whole call where those are slow.
    """

    __slots__ = (
        "_again_seconds",
        "_cancellations",
        "_cancelling",
        "_handle",
        "_is_over",
        "_left",
        "_loop",
        "_running",
        "_seconds",
        "_task",
        "_when",
    )

    def __init__(
        self, seconds: float, *, again_seconds: float = AGAIN_SECONDS, task: asyncio.Task[Any] | None = None
    ) -> None:
        """`task`: the task that runs the body, where it is known already."""
        self._seconds = seconds
        self._running = task
        self._again_seconds = again_seconds
        self._cancellations = 0
        self._is_over = False
        self._task: asyncio.Task[Any]

    def __enter__(self) -> "Deadline":
        task = self._running or asyncio.current_task()
        if task is None:
            raise RuntimeError("a Deadline belongs to a task")
        self._task, self._cancelling = task, task.cancelling()
        loop = self._loop = task.get_loop()
        self._when = loop.time() + self._seconds
        self._handle = loop.call_later(self._seconds, self._expire)
        return self

    def __exit__(self, kind: type[BaseException] | None, caught: BaseException | None, _: TracebackType | None) -> None:
        self._handle.cancel()
        self._is_over = True
        if self._cancellations:
            for _time in range(self._cancellations):
                self._task.uncancel()
            if self._task.cancelling() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from caught

    def pause(self) -> None:
        """Stop the clock until `resume`."""
        self._left = self._when - self._loop.time()
        self._handle.cancel()

    def resume(self) -> None:
        """Continue with the time that was left; does nothing once the body is over."""
        if not self._is_over:
            self._run(self._left)

    def _run(self, seconds: float) -> None:
        self._when = self._loop.time() + seconds
        self._handle = self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._cancellations += 1
        self._task.cancel()
        self._run(self._again_seconds)
