"""The laws of BoundedExecutor, for every adapter.

To add an executor, write a factory and put it into ADAPTERS. Limits of time and memory are their own matter.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import tools

from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.ports import BoundedExecutor
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import error
from stoa.infrastructure.worker_process import ProcessExecutor

ADAPTERS: dict[str, Callable[[], BoundedExecutor]] = {"thread": InThreadExecutor, "process": ProcessExecutor}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def make(request: pytest.FixtureRequest) -> Callable[[], BoundedExecutor]:
    return ADAPTERS[request.param]


@pytest.fixture
async def executor(make: Callable[[], BoundedExecutor]) -> AsyncIterator[BoundedExecutor]:
    made = make()
    yield made
    await made.close()


def given_back(*values: Any) -> Iterator[Any]:
    yield from values


def refusing(message: str) -> Iterator[Any]:
    yield 1
    raise InvalidInput(message)


def breaking(secret: str) -> Iterator[Any]:
    yield 1
    raise KeyError(secret)


def endlessly_nested() -> Iterator[Any]:
    yield from endlessly_nested()


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
values = json_values | tools() | st.builds(error, st.text(), st.text())


@given(st.lists(st.lists(values, max_size=4), max_size=4))
@settings(max_examples=10, deadline=None)
async def test_all_that_a_function_yields_comes_back_by_value_and_in_order(
    make: Callable[[], BoundedExecutor], runs: list[list[Any]]
) -> None:
    executor = make()
    try:
        for one in runs:
            assert await executor.run(given_back, *one) == one
    finally:
        await executor.close()


async def test_an_invalid_input_arrives_with_its_message(executor: BoundedExecutor) -> None:
    with pytest.raises(InvalidInput, match=r"^line 1: wrong\u2026$"):
        await executor.run(refusing, "line 1: wrong\u2026")


async def test_a_failure_that_was_not_foreseen_is_an_invalid_input_that_quotes_nothing(
    executor: BoundedExecutor,
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await executor.run(breaking, "s3cr3t")
    assert "KeyError" in refused.value.message
    assert "s3cr3t" not in refused.value.message


async def test_endless_recursion_is_an_invalid_input(executor: BoundedExecutor) -> None:
    with pytest.raises(InvalidInput):
        await executor.run(endlessly_nested)


async def test_no_run_concerns_another(executor: BoundedExecutor) -> None:
    runs = [executor.run(refusing, "no"), executor.run(given_back, 1), executor.run(breaking, "x")]
    first, second, third = await asyncio.gather(*runs, return_exceptions=True)
    assert isinstance(first, InvalidInput)
    assert second == [1]
    assert isinstance(third, InvalidInput)
    assert await executor.run(given_back, 2) == [2]


async def test_the_event_loop_goes_on_meanwhile(executor: BoundedExecutor) -> None:
    turns = 0
    running = asyncio.ensure_future(executor.run(given_back, threading.__name__))
    while not running.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 0
    assert await running == ["threading"]


async def test_an_executor_that_was_cancelled_runs_the_next(executor: BoundedExecutor) -> None:
    running = asyncio.ensure_future(executor.run(given_back, 1))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await executor.run(given_back, 2) == [2]
