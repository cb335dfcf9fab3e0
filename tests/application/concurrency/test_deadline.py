"""A Deadline ends what takes too long, like asyncio.timeout, and nothing else."""

import asyncio

import pytest

from stoa.application.concurrency.deadline import Deadline


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_takes_too_long_is_ended():
    with pytest.raises(TimeoutError), Deadline(0.001):
        await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_done_in_time_is_left_alone():
    with Deadline(0.001):
        await asyncio.sleep(0)
    await asyncio.sleep(0.002)


async def test_a_cancellation_from_outside_stays_one():
    async def work() -> None:
        with Deadline(10):
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_its_own_is_not_hidden_by_the_time():
    with pytest.raises(ValueError, match="mine"), Deadline(0.001):
        try:
            await forever()
        finally:
            raise ValueError("mine")


async def test_what_loses_its_cancellations_is_cancelled_until_it_does_not():
    lost = 0
    with pytest.raises(TimeoutError), Deadline(0.001, again_seconds=0.001) as deadline:
        while True:
            try:
                await forever()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise
                deadline.pause()
                deadline.resume()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_deadlines_may_be_nested():
    with Deadline(10), pytest.raises(TimeoutError), Deadline(0.001):
        await forever()
    with pytest.raises(TimeoutError), Deadline(0.001), Deadline(10):
        await forever()


async def test_while_it_stands_still_no_time_passes():
    with Deadline(0.01) as deadline:
        deadline.pause()
        await asyncio.sleep(0.03)
        deadline.resume()
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError), Deadline(0.001):
            await forever()
    with pytest.raises(TimeoutError), Deadline(0.01) as deadline:
        deadline.pause()
        deadline.resume()
        await forever()


async def test_what_goes_on_after_its_end_is_not_its_business():
    with Deadline(0.001) as deadline:
        deadline.pause()
    deadline.resume()
    await asyncio.sleep(0.005)


async def test_what_is_no_task_has_no_deadline():
    loop = asyncio.get_running_loop()
    told = loop.create_future()

    def callback() -> None:
        with pytest.raises(RuntimeError, match="belongs to a task"), Deadline(1):
            pass
        told.set_result(True)

    loop.call_soon(callback)
    loop.call_later(5, told.cancel)
    assert await told


async def test_deadlines_of_one_duration_end_in_their_order_and_spare_what_is_over():
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            with Deadline(0.003):
                await (asyncio.sleep(0) if number % 2 else forever())
        except TimeoutError:
            ended.append(number)

    await asyncio.gather(*(work(number) for number in range(6)))
    assert ended == [0, 2, 4]


async def test_deadline_given_its_task_ends_it():
    with pytest.raises(TimeoutError), Deadline(0.001, task=asyncio.current_task()):
        await forever()


def test_deadlines_hold_in_each_of_several_loops():
    async def overdue() -> None:
        with Deadline(60):  # its timer is never called in this loop
            pass
        with pytest.raises(TimeoutError), Deadline(0.001):
            await forever()

    for _ in range(3):
        asyncio.run(overdue())
