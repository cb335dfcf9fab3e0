"""The laws of OneTimeMarks, for every adapter."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.adapters import parameters
from tests.live.servers import free_port
from tests.services import connections

from stoa.application.memory.one_time_marks import InMemoryOneTimeMarks
from stoa.application.ports import OneTimeMarks
from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.files.one_time_marks import FileOneTimeMarks
from stoa.infrastructure.redis import RedisOneTimeMarks
from stoa.testing.clock import ManualClock

Pair = tuple[OneTimeMarks, OneTimeMarks]
Open = Callable[[ManualClock], Any]
"""Opens an async context: the same marks as two processes see them."""


def _in_memory(_: pytest.FixtureRequest) -> Open:
    @asynccontextmanager
    async def opened(clock: ManualClock) -> AsyncGenerator[Pair]:
        marks = InMemoryOneTimeMarks(clock)
        yield marks, marks

    return opened


def _in_folder(request: pytest.FixtureRequest) -> Open:
    folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")

    @asynccontextmanager
    async def opened(clock: ManualClock) -> AsyncGenerator[Pair]:
        folder = folders.mktemp("marks") / "new"
        yield FileOneTimeMarks(folder, clock), FileOneTimeMarks(folder, clock)

    return opened


def _in_redis(server: str) -> Callable[[pytest.FixtureRequest], Open]:
    def of(request: pytest.FixtureRequest) -> Open:
        url: str = request.getfixturevalue(server)

        @asynccontextmanager
        async def opened(clock: ManualClock) -> AsyncGenerator[Pair]:
            async with connections(url, url) as (one, two):
                yield RedisOneTimeMarks(one, clock), RedisOneTimeMarks(two, clock)

        return opened

    return of


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Open]] = {
    "memory": _in_memory,
    "folder": _in_folder,
    "in_process_redis": _in_redis("in_process_redis"),
    "real_redis": _in_redis("real_redis"),
}


@pytest.fixture(scope="session", params=parameters(ADAPTERS))
def open_marks(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param](request)


async def test_one_time_marks_are_taken_once_whoever_takes_them_and_when(open_marks: Open) -> None:
    clock = ManualClock()
    async with open_marks(clock) as (here, there):
        end = clock.now().timestamp() + 600
        both = [marks.take("a" * 32, end) for _ in range(4) for marks in (here, there)]
        assert (await asyncio.gather(*both)).count(True) == 1
        assert await there.take("b" * 32, end)
        clock.advance(599)
        for marks in (here, there):
            assert not await marks.take("a" * 32, end)
            assert not await marks.take("b" * 32, end)
        assert await here.take("c" * 32, end)


async def test_one_time_marks_in_a_folder_survive_the_process_and_make_room_when_they_expired(tmp_path: Path) -> None:
    clock = ManualClock()
    for number in range(5):
        end = clock.now().timestamp() + 600
        assert await FileOneTimeMarks(tmp_path, clock).take("a", end), number
        assert not await FileOneTimeMarks(tmp_path, clock).take("a", end)
        clock.advance(601)
    assert len(list(tmp_path.rglob("a"))) <= 2


async def test_one_time_marks_in_memory_make_room_when_they_expired() -> None:
    clock = ManualClock()
    marks = InMemoryOneTimeMarks(clock)
    end = clock.now().timestamp() + 600
    assert [await marks.take("a", end), await marks.take("a", end)] == [True, False]
    clock.advance(600)
    assert await marks.take("a", end + 600)


async def test_one_time_marks_that_cannot_be_kept_are_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SharedStateUnavailable):
        await FileOneTimeMarks(tmp_path / "file", ManualClock()).take("a", 0)
    with pytest.raises(ValueError, match="letters and digits"):
        await FileOneTimeMarks(tmp_path, ManualClock()).take("../a", 0)
    async with connections(f"redis://user:pass-word@127.0.0.1:{free_port()}/0") as (redis,):
        with pytest.raises(SharedStateUnavailable):
            await RedisOneTimeMarks(redis, ManualClock()).take("a", 0)
