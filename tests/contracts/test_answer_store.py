"""The laws of AnswerStore, for every adapter."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.contracts.adapters import parameters
from tests.live.servers import free_port
from tests.services import connections

from stoa.application.memory.answer_store import BYTES, InMemoryAnswerStore
from stoa.application.ports import AnswerStore
from stoa.domain.access.fair_share import Caps, Holder
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import SharedStateUnavailable
from stoa.domain.results.cutting import Piece
from stoa.infrastructure.redis import RedisAnswerStore
from stoa.testing.clock import ManualClock

Pair = tuple[AnswerStore, AnswerStore]
Open = Callable[[ManualClock, Caps], Any]
"""Opens an async context: the same store as two processes see it."""

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
ANN, BOB, EVE = Holder(ACME, "ann"), Holder(ACME, "bob"), Holder(GLOBEX, "eve")


def pieces(count: int = 2, size: int = 100) -> list[Piece]:
    return [Piece(str(number) * size, "text/plain", f"part {number} é") for number in range(count)]


def _in_memory(_: pytest.FixtureRequest) -> Open:
    @asynccontextmanager
    async def opened(clock: ManualClock, caps: Caps) -> AsyncGenerator[Pair]:
        store = InMemoryAnswerStore(clock, caps)
        yield store, store

    return opened


def _in_redis(server: str) -> Callable[[pytest.FixtureRequest], Open]:
    def of(request: pytest.FixtureRequest) -> Open:
        url: str = request.getfixturevalue(server)

        @asynccontextmanager
        async def opened(clock: ManualClock, caps: Caps) -> AsyncGenerator[Pair]:
            async with connections(url, url) as (one, two):
                yield RedisAnswerStore(one, clock, caps), RedisAnswerStore(two, clock, caps)

        return opened

    return of


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Open]] = {
    "memory": _in_memory,
    "in_process_redis": _in_redis("in_process_redis"),
    "real_redis": _in_redis("real_redis"),
}


@pytest.fixture(scope="session", params=parameters(ADAPTERS))
def open_store(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param](request)


async def test_answer_store_gives_each_piece_to_all_processes(open_store: Open) -> None:
    async with open_store(ManualClock(), BYTES) as (here, there):
        assert await here.keep("a1", pieces(), ANN, "key of ann", 600)
        for number, piece in enumerate(pieces(), 1):
            stored = await there.piece("a1", number)
            assert stored is not None
            assert stored.piece == piece
            assert (stored.reader, stored.tenant, stored.count) == ("key of ann", ACME, 2)
        for unknown, number in (("a1", 0), ("a1", 3), ("a2", 1)):
            assert await there.piece(unknown, number) is None


async def test_answer_store_keeps_what_belongs_to_no_tenant(open_store: Open) -> None:
    async with open_store(ManualClock(), BYTES) as (here, there):
        assert await here.keep("a1", pieces(1), Holder(None, "ann"), "key", 600)
        stored = await there.piece("a1", 1)
        assert stored is not None
        assert stored.tenant is None


async def test_answer_store_forgets_at_the_end_of_the_time(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock, BYTES) as (here, there):
        await here.keep("a1", pieces(), ANN, "key", 600)
        clock.advance(599)
        stored = await there.piece("a1", 1)
        assert stored is not None
        assert stored.seconds_left == pytest.approx(1)
        clock.advance(1)
        assert await there.piece("a1", 1) is None


async def test_answer_store_has_room_again_when_answers_expired(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock, Caps(5000, 5000, 5000)) as (here, _):
        await here.keep("a1", pieces(4, 1000), ANN, "key", 60)
        clock.advance(61)
        assert await here.keep("a2", pieces(4, 1000), BOB, "key", 60)
        assert await here.piece("a2", 4) is not None


async def test_oldest_answer_gives_way_to_a_new_one_of_its_caller(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock, Caps(10_000, 20_000, 30_000)) as (here, there):
        for number in range(3):
            assert await here.keep(f"a{number}", pieces(1, 4000), ANN, "key", 600)
            clock.advance(1)
        assert await here.keep("b0", pieces(1, 4000), BOB, "key", 600)
        assert [await there.piece(name, 1) is None for name in ("a0", "a1", "a2", "b0")] == [True, False, False, False]


async def test_largest_tenant_gives_way_to_another(open_store: Open) -> None:
    clock = ManualClock()
    async with open_store(clock, Caps(10_000, 10_000, 10_000)) as (here, there):
        for number in range(2):
            assert await here.keep(f"a{number}", pieces(1, 4000), ANN, "key", 600)
            clock.advance(1)
        assert await here.keep("e0", pieces(1, 4000), EVE, "key", 600)
        assert [await there.piece(name, 1) is None for name in ("a0", "a1", "e0")] == [True, False, False]


async def test_answer_that_is_larger_than_its_caller_may_hold_is_not_kept(open_store: Open) -> None:
    async with open_store(ManualClock(), Caps(5000, 20_000, 30_000)) as (here, there):
        assert not await here.keep("a1", pieces(1, 6000), ANN, "key", 600)
        assert await there.piece("a1", 1) is None


async def test_answer_store_that_is_away_says_so() -> None:
    async with connections(f"redis://user:pass-word@127.0.0.1:{free_port()}/0") as (redis,):
        store = RedisAnswerStore(redis, ManualClock())
        with pytest.raises(SharedStateUnavailable):
            await store.keep("a1", pieces(), ANN, "key", 600)
        with pytest.raises(SharedStateUnavailable):
            await store.piece("a1", 1)
