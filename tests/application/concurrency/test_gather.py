"""Several coroutines at once."""

import asyncio
from contextlib import aclosing

import pytest

from stoa.application.concurrency.gather import in_order


async def test_gather_in_order_gives_results_in_the_order_of_the_coroutines_and_runs_no_more_at_once() -> None:
    running: set[int] = set()
    most = 0
    has_ended = [asyncio.Event() for _ in range(6)]

    async def work(number: int) -> int:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        if number % 2 == 0:  # the second of each pair ends first
            await has_ended[number + 1].wait()
        has_ended[number].set()
        running.remove(number)
        return number

    async with asyncio.timeout(30), aclosing(in_order(map(work, range(6)), 2)) as results:
        assert [result async for result in results] == list(range(6))
    assert most == 2


async def test_gather_in_order_cancels_what_runs_when_one_fails() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise ValueError("one")

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with pytest.raises(ValueError, match="one"):
        async with aclosing(in_order([fail(), wait_for_ever()], 2)) as results:
            async for _ in results:
                pass
    assert ended == ["cancelled"]
