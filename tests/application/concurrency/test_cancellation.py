"""What runs in the background ends when it is told to, and whoever waits for that can be told to end too."""

import asyncio

import pytest

from stoa.application.concurrency.cancellation import cancel_and_wait


async def test_what_waits_is_cancelled_and_over() -> None:
    tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    await cancel_and_wait(*tasks)
    assert all(task.cancelled() for task in tasks)


async def test_what_is_over_and_nothing_at_all_need_no_wait() -> None:
    over = asyncio.create_task(asyncio.sleep(0, "done"))
    await over
    await cancel_and_wait(over)
    await cancel_and_wait()
    assert over.result() == "done"


async def test_a_cancellation_that_was_lost_is_sent_again() -> None:
    cancellations = 0

    async def loses_the_first() -> None:
        nonlocal cancellations
        while cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    task = asyncio.create_task(loses_the_first())
    await asyncio.sleep(0)
    await cancel_and_wait(task, again_seconds=0.001)
    assert cancellations == 2


async def test_what_takes_its_time_to_tidy_up_is_waited_for() -> None:
    may_end, cancellations = asyncio.Event(), 0

    async def tidies_up() -> None:
        nonlocal cancellations
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations += 1
            await may_end.wait()
            raise

    task = asyncio.create_task(tidies_up())
    await asyncio.sleep(0)
    ending = asyncio.create_task(cancel_and_wait(task))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not ending.done()
    may_end.set()
    await ending
    assert cancellations == 1


async def test_whoever_waits_for_the_end_can_be_cancelled() -> None:
    may_end = asyncio.Event()

    async def goes_on() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(goes_on())
    await asyncio.sleep(0)
    ending = asyncio.create_task(cancel_and_wait(task))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    may_end.set()
    await task
