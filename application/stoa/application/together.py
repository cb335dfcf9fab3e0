"""Several things at once, all or nothing."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from stoa.application.ending import end

K = TypeVar("K")
V = TypeVar("V")


async def together(work: Mapping[K, Coroutine[Any, Any, V]]) -> dict[K, V]:
    """The results by key. The first that fails is raised, after the others were cancelled and have ended: nothing goes
    on behind the caller's back."""
    if len(work) == 1:  # the usual case needs no task
        return {key: await one for key, one in work.items()}
    tasks = {key: asyncio.ensure_future(one) for key, one in work.items()}
    try:
        results = await asyncio.gather(*tasks.values())
        return dict(zip(tasks, results, strict=True))
    finally:
        await end(*(task for task in tasks.values() if not task.done()))
