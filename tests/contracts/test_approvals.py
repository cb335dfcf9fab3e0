"""The laws of Approvals, for every adapter."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.adapters import parameters
from tests.live.servers import free_port
from tests.services import connections

from stoa.application.memory.approvals import InMemoryApprovals
from stoa.application.ports import Approvals
from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.files.approvals import FileApprovals
from stoa.infrastructure.redis import RedisApprovals

Open = Callable[[], Any]
"""Opens an async context: the same approvals as two processes see them."""


def _in_memory(_: pytest.FixtureRequest) -> Open:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[tuple[Approvals, Approvals]]:
        approvals = InMemoryApprovals()
        yield approvals, approvals

    return opened


def _in_folder(request: pytest.FixtureRequest) -> Open:
    folders: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")

    @asynccontextmanager
    async def opened() -> AsyncGenerator[tuple[Approvals, Approvals]]:
        folder = folders.mktemp("approvals") / "new"
        yield FileApprovals(folder), FileApprovals(folder)

    return opened


def _in_redis(server: str) -> Callable[[pytest.FixtureRequest], Open]:
    def of(request: pytest.FixtureRequest) -> Open:
        url: str = request.getfixturevalue(server)

        @asynccontextmanager
        async def opened() -> AsyncGenerator[tuple[Approvals, Approvals]]:
            async with connections(url, url) as (one, two):
                yield RedisApprovals(one), RedisApprovals(two)

        return opened

    return of


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Open]] = {
    "memory": _in_memory,
    "folder": _in_folder,
    "in_process_redis": _in_redis("in_process_redis"),
    "real_redis": _in_redis("real_redis"),
}


@pytest.fixture(scope="session", params=parameters(ADAPTERS))
def open_approvals(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param](request)


async def test_approvals_are_seen_by_every_process_that_shares_them(open_approvals: Open) -> None:
    async with open_approvals() as (here, there):
        assert not await there.has("a1")
        await here.add("a1")
        await here.add("a1")
        assert await there.has("a1")
        assert await here.has("a1")
        assert not await there.has("a2")


async def test_approvals_of_a_folder_that_cannot_be_written_are_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    approvals = FileApprovals(tmp_path / "file" / "approvals")
    with pytest.raises(SharedStateUnavailable):
        await approvals.add("a1")
    with pytest.raises(ValueError, match="letters and digits"):
        await approvals.has("../a1")


async def test_approvals_are_unavailable_while_redis_is_away() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with connections(url) as (connection,):
        with pytest.raises(SharedStateUnavailable):
            await RedisApprovals(connection).has("a1")
