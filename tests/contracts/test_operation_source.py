"""The laws of OperationSource, for every adapter.

To add a source, write a context manager that opens an empty Place, and put it into ADAPTERS.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import tool
from tests.strategies import local_bindings, tools

from stoa.application.memory.operation_source import InMemoryOperationSource
from stoa.application.ports import OperationSource
from stoa.domain.operations.operation import Operation

PATIENCE_SECONDS = 30


class Place(Protocol):
    """Where the operations of one source come from."""

    source: OperationSource

    @abstractmethod
    async def offer(self, operations: Sequence[Operation]) -> None:
        """Make these all that the source can give."""
        ...


class MemoryPlace(Place):
    def __init__(self) -> None:
        self.source: InMemoryOperationSource = InMemoryOperationSource("memory")

    async def offer(self, operations: Sequence[Operation]) -> None:
        self.source.replace(operations)


OpenPlace = Callable[[], AbstractAsyncContextManager[Place]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Place]:
    yield MemoryPlace()


ADAPTERS: dict[str, OpenPlace] = {"memory": _memory}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_place(request: pytest.FixtureRequest) -> OpenPlace:
    return ADAPTERS[request.param]


@asynccontextmanager
async def watching(place: Place) -> AsyncIterator[Callable[[], Any]]:
    """Yields what waits for the next notice."""
    changes = place.source.changes()
    notices: asyncio.Queue[None] = asyncio.Queue()

    async def follow() -> None:
        async for _ in changes:
            notices.put_nowait(None)

    follower = asyncio.create_task(follow())
    try:
        yield lambda: asyncio.wait_for(notices.get(), PATIENCE_SECONDS)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


operations = st.lists(tools(binding=local_bindings), max_size=3, unique_by=lambda one: one.key)


@given(st.lists(operations, max_size=4))
@settings(max_examples=25, deadline=None)
async def test_operation_source_gives_what_exists_now_in_a_lasting_order(open_place, history):
    async with open_place() as place:
        for offered in history:
            await place.offer(offered)
            snapshot = await place.source.snapshot()
            assert {one.key for one in snapshot.operations} == {one.key for one in offered}
            assert await place.source.snapshot() == snapshot


async def test_operation_source_tells_every_watcher_of_a_change_even_right_after_the_watch_was_opened(open_place):
    async with open_place() as place, watching(place) as one, watching(place) as other:
        await place.offer([tool("ant")])
        await one()
        await other()
        assert [each.key for each in (await place.source.snapshot()).operations] == [tool("ant").key]
        await place.offer([])
        await one()
        assert (await place.source.snapshot()).operations == ()


async def test_operation_source_has_a_name(open_place):
    async with open_place() as place:
        assert place.source.name
