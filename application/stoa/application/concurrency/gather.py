"""Several things at once, all or nothing."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from stoa.application.concurrency.cancellation import cancel_and_wait

K = TypeVar("K")
V = TypeVar("V")


async def gather_or_cancel(work: Mapping[K, Coroutine[Any, Any, V]]) -> dict[K, V]:
    """The results by key. The first that fails is raised, after the others were cancelled and have ended: nothing goes
    on behind the caller's back."""
    if len(work) == 1:  # the usual case needs no task
        return {key: await one for key, one in work.items()}
    tasks = {key: asyncio.ensure_future(one) for key, one in work.items()}
    try:
        results = await asyncio.gather(*tasks.values())
        return dict(zip(tasks, results, strict=True))
    finally:
        await cancel_and_wait(*(task for task in tasks.values() if not task.done()))
