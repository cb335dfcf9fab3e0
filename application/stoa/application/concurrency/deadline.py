"""A time limit that can be paused."""

import asyncio
from types import TracebackType
from typing import Any

from stoa.application.concurrency.cancellation import AGAIN_SECONDS

_MOST_QUEUES = 256


class _Queue:
    """Deadlines of one duration in one loop, in the order in which they end. One timer of the loop serves all: nearly
    every body is over before, and a timer of its own would cost it more than its deadline is worth."""

    __slots__ = ("loop", "timer", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.timer: asyncio.TimerHandle | None = None
        self.waiting: dict[Deadline, float] = {}
        """When each one ends, by the loop's clock."""

    def look(self) -> None:
        """Lets those expire whose time is over."""
        now = self.loop.time()
        self.timer = None
        while self.waiting:
            deadline, when = next(iter(self.waiting.items()))
            if when > now:
                self.timer = self.loop.call_at(when, self.look)
                return
            del self.waiting[deadline]
            deadline.expire()


class _Queues(dict[float, _Queue]):
    """The queues of one loop by duration."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop


_latest: _Queues | None = None
"""Those of the loop that was asked for last: a process has one, and tests have one after the other."""


def _queue_of(loop: asyncio.AbstractEventLoop, seconds: float) -> _Queue:
    global _latest  # noqa: PLW0603  # a cache
    queues = _latest
    if queues is None or queues.loop is not loop:
        queues = _latest = _Queues(loop)  # deadlines of another loop keep theirs
    queue = queues.get(seconds)
    if queue is None:
        if len(queues) >= _MOST_QUEUES:
            return _Queue(loop)
        queue = queues[seconds] = _Queue(loop)
    return queue


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
        "_queue",
        "_running",
        "_seconds",
        "_task",
        "_when",
    )

    def __init__(
        self, seconds: float, task: asyncio.Task[Any] | None = None, *, again_seconds: float = AGAIN_SECONDS
    ) -> None:
        """`task`: the task that runs the body, where it is known already."""
        self._seconds = seconds
        self._running = task
        self._again_seconds = again_seconds
        self._cancellations = 0
        self._is_over = False
        self._handle: asyncio.TimerHandle | None = None
        """Its own timer, after a pause or for a repeated cancellation."""
        self._task: asyncio.Task[Any]

    def __enter__(self) -> "Deadline":
        task = self._running or asyncio.current_task()
        if task is None:
            raise RuntimeError("a Deadline belongs to a task")
        self._task, self._cancelling = task, task.cancelling()
        loop = self._loop = task.get_loop()
        self._when = when = loop.time() + self._seconds
        queues = _latest
        queue = None if queues is None or queues.loop is not loop else queues.get(self._seconds)
        if queue is None:
            queue = _queue_of(loop, self._seconds)
        self._queue = queue
        queue.waiting[self] = when
        if queue.timer is None:
            queue.timer = loop.call_at(when, queue.look)
        return self

    def __exit__(self, kind: type[BaseException] | None, caught: BaseException | None, _: TracebackType | None) -> None:
        self._queue.waiting.pop(self, None)
        self._is_over = True
        if self._handle is not None:
            self._handle.cancel()
        if self._cancellations:
            for _time in range(self._cancellations):
                self._task.uncancel()
            if self._task.cancelling() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from caught

    def pause(self) -> None:
        """Stop the clock until `resume`."""
        self._left = self._when - self._loop.time()
        self._stop()

    def resume(self) -> None:
        """Continue with the time that was left; does nothing once the body is over."""
        if not self._is_over:
            self._run(self._left)

    def _run(self, seconds: float) -> None:
        self._when = self._loop.time() + seconds
        self._handle = self._loop.call_later(seconds, self.expire)

    def _stop(self) -> None:
        self._queue.waiting.pop(self, None)
        if self._handle is not None:
            self._handle.cancel()

    def expire(self) -> None:
        """The time is over."""
        self._cancellations += 1
        self._task.cancel()
        self._run(self._again_seconds)
