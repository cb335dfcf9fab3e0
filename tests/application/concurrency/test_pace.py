"""Long work beside the calls: what it leaves behind is freed, and the collector goes on afterwards."""

import asyncio
import gc
import sys
import weakref
from contextlib import suppress

import pytest

from stoa.application.concurrency.pace import (
    in_turns,
    keep_what_stays,
    let_go,
    making_what_stays,
    paced,
    yielding_to_the_loop,
)


class Thing:
    pass


def test_pace_lets_go_of_everything() -> None:
    things = [Thing() for _ in range(100)]
    references = [weakref.ref(thing) for thing in things]
    let_go(things)
    assert things == []
    assert all(reference() is None for reference in references)


def test_pace_gives_every_item_in_order() -> None:
    assert list(paced(iter(range(5)))) == [0, 1, 2, 3, 4]


def test_pace_keeps_what_stays_but_no_garbage() -> None:
    kept, cycle = [Thing()], Thing()
    cycle.itself = cycle  # type: ignore[attr-defined]
    reference = weakref.ref(cycle)
    del cycle
    keep_what_stays()
    try:
        assert reference() is None
        assert not any(known is kept for known in gc.get_objects())
    finally:
        gc.unfreeze()


def test_pace_of_other_threads_is_short_only_while_there_is_work_for_them() -> None:
    before = sys.getswitchinterval()
    with suppress(ValueError), yielding_to_the_loop():
        assert sys.getswitchinterval() < before
        raise ValueError
    assert sys.getswitchinterval() == before


async def test_pace_in_turns_lets_other_tasks_go_on_and_skips_nothing() -> None:
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert [item async for item in in_turns(range(10), turn_seconds=0.0)] == list(range(10))
    counting.cancel()
    assert others >= 9


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_pace_keeps_the_collector_at_rest_until_the_last_of_several_is_done(first_to_end: int) -> None:
    assert gc.isenabled()
    making = [making_what_stays(), making_what_stays()]
    try:
        for each in making:
            each.__enter__()
        making.pop(first_to_end).__exit__(None, None, None)
        assert not gc.isenabled()
        making.pop().__exit__(None, None, None)
        assert gc.isenabled()
    finally:
        gc.unfreeze()
