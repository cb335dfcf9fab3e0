"""Runs several coroutines at once."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from stoa.application.concurrency.cancellation import cancel_and_wait

K = TypeVar("K")
V = TypeVar("V")


async def gather_or_cancel(work: Mapping[K, Coroutine[Any, Any, V]]) -> dict[K, V]:
    """The results by key. The first failure is raised after the other coroutines were cancelled and have ended, so that
    nothing goes on in the background."""
    if len(work) == 1:  # the usual case needs no task
        return {key: await coroutine for key, coroutine in work.items()}
    tasks = {key: asyncio.ensure_future(coroutine) for key, coroutine in work.items()}
    try:
        results = await asyncio.gather(*tasks.values())
        return dict(zip(tasks, results, strict=True))
    finally:
        await cancel_and_wait(*(task for task in tasks.values() if not task.done()))


async def in_order(work: Iterable[Coroutine[Any, Any, V]], at_once: int) -> AsyncGenerator[V]:
    """The results in the order of the coroutines, of which at most `at_once` run. Close it (`contextlib.aclosing`): the
    others are cancelled then, and have ended."""
    running: deque[asyncio.Task[V]] = deque()
    try:
        for coroutine in work:
            running.append(asyncio.create_task(coroutine))
            if len(running) == at_once:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        await cancel_and_wait(*running)
