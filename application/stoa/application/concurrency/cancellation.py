"""Cancellation of background tasks."""

import asyncio
from collections.abc import Awaitable
from typing import Any

AGAIN_SECONDS = 1.0
"""Seconds until a cancellation is repeated: longer than tasks need to tidy up, and harmless if one is interrupted in
it."""


async def cancel_and_wait(*tasks: asyncio.Task[Any], again_seconds: float = AGAIN_SECONDS) -> None:
    """Cancel tasks and wait until they are over.

    A cancellation can be lost: before Python 3.12 `asyncio.wait_for`, by which redis-py sends, drops one that comes
    together with what it waited for. So it is sent again after `again_seconds`.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_seconds)


async def first_of(*waits: Awaitable[Any]) -> None:
    """Wait until one of these is over; the others are cancelled. What they return or raise is dropped."""
    futures = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)


def is_cancelled() -> bool:
    """True once the running task was cancelled. A CancelledError without it comes from the awaited object, and a
    library may have lost one that was meant for the task."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
