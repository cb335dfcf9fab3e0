"""The laws of EventStore, for every adapter."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.servers import free_port
from tests.services import connections

from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.ports import EventStore, Replay, StoredEvent
from stoa.domain.access.fair_share import Holder
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.redis import RedisEventStore
from stoa.testing.clock import ManualClock

Pair = tuple[EventStore, EventStore]
Open = Callable[..., AbstractAsyncContextManager[Pair]]
"""Opens an empty store, as two replicas see it, with these limits; by itself it keeps 8 messages of a session."""


@pytest.fixture(scope="session")
def open_stores(shared_in: str | None) -> Open:
    @asynccontextmanager
    async def in_memory(clock: ManualClock | None = None, **limits: int) -> AsyncGenerator[Pair]:
        store = InMemoryEventStore(**({"messages": 8} | limits))
        yield store, store

    @asynccontextmanager
    async def in_redis(clock: ManualClock | None = None, **limits: int) -> AsyncGenerator[Pair]:
        options = {"messages": 8} | limits
        async with connections(shared_in or "", shared_in or "") as both:
            yield tuple(RedisEventStore(redis, clock or ManualClock(), **options) for redis in both)  # type: ignore[misc]

    return in_memory if shared_in is None else in_redis


names = st.sampled_from(["a", "b"])


@given(st.lists(st.tuples(names, names, st.binary(max_size=3)), max_size=24), st.integers(-1, 9))
@settings(max_examples=25, deadline=None)
async def test_a_replay_is_complete_and_of_that_stream_only_or_it_is_none(
    open_stores: Open, appended: list[tuple[str, str, bytes]], after: int
) -> None:
    async with open_stores() as stores:
        told: dict[tuple[str, str], list[bytes]] = {}
        for turn, (session, stream, message) in enumerate(appended):
            mine = told.setdefault((session, stream), [])
            mine.append(message)
            assert await stores[turn % 2].append(session, stream, message) == len(mine)
        for session in ("a", "b"):
            recent = [entry for entry in appended if entry[0] == session][-8:]
            for stream in ("a", "b"):
                mine = told.get((session, stream), [])
                replay = await stores[0].replay(session, stream, after)
                missing = len(mine) - after
                if not mine or not 0 <= after <= len(mine) or missing > sum(entry[1] == stream for entry in recent):
                    assert replay is None
                else:
                    events = [StoredEvent(n, mine[n - 1]) for n in range(after + 1, len(mine) + 1)]
                    assert replay == Replay(events, is_over=False)


async def test_a_stream_that_is_over_says_so_and_a_forgotten_session_has_none(open_stores: Open) -> None:
    async with open_stores() as (here, there):
        await here.append("s", "t", b"1")
        await here.append("s", "t", b"2", is_last=True)
        assert await there.replay("s", "t", 1) == Replay([StoredEvent(2, b"2")], is_over=True)
        assert await there.replay("other", "t", 1) is None
        await there.forget("s")
        assert await here.replay("s", "t", 1) is None


async def test_a_stream_is_known_when_it_has_begun(open_stores: Open) -> None:
    async with open_stores() as (here, there):
        assert await here.begin("s", "t") == 0
        assert await there.replay("s", "t", 0) == Replay([], is_over=False)
        assert await there.append("s", "t", b"1") == 1
        assert await here.begin("s", "t") == 1
        assert await there.replay("s", "t", 0) == Replay([StoredEvent(1, b"1")], is_over=False)


async def test_a_stream_that_is_over_and_whose_messages_are_gone_begins_anew(open_stores: Open) -> None:
    async with open_stores(messages=1) as (store, _):
        await store.append("s", "t", b"1", is_last=True)
        await store.append("s", "u", b"1")
        assert await store.replay("s", "t", 1) is None
        assert await store.append("s", "t", b"1") == 1
        assert await store.replay("s", "t", 0) == Replay([StoredEvent(1, b"1")], is_over=False)


async def test_no_number_is_given_twice_whoever_appends(open_stores: Open) -> None:
    async with open_stores(messages=100) as stores:
        numbers = await asyncio.gather(*(stores[turn % 2].append("s", "t", b"%d" % turn) for turn in range(20)))
        assert sorted(numbers) == list(range(1, 21))
        replay = await stores[0].replay("s", "t", 0)
        assert replay is not None
        assert [event.message for event in replay.events] == [
            b"%d" % turn for _, turn in sorted(zip(numbers, range(20), strict=True))
        ]


async def test_large_messages_push_out_old_ones(open_stores: Open) -> None:
    async with open_stores(size=10) as (store, _):
        for _ in range(3):
            await store.append("s", "t", b"12345")
        assert await store.replay("s", "t", 0) is None
        assert await store.replay("s", "t", 1) is not None
        await store.append("s", "t", b"longer than there is room")
        assert await store.replay("s", "t", 3) is None
        assert await store.replay("s", "t", 4) == Replay([], is_over=False)


async def test_the_session_that_is_silent_for_longest_gives_way_first(open_stores: Open) -> None:
    clock = ManualClock()
    async with open_stores(clock, total=10) as (store, _):
        for session in ("a", "b", "a", "c"):
            clock.advance(1)
            await store.append(session, "t", b"1234")
        assert await store.replay("b", "t", 0) is None
        assert await store.replay("c", "t", 0) is not None
        await store.forget("a")
        clock.advance(1)
        await store.append("d", "t", b"1234")
        assert await store.replay("c", "t", 0) is not None


def _of(tenant: str, caller: str = "x") -> Holder:
    return Holder(TenantId(tenant), caller)


async def test_bytes_of_stored_events_are_shared_by_callers_and_tenants(open_stores: Open) -> None:
    """The silent of the caller, then of the tenant, then of the tenant that holds most, gives way."""
    clock = ManualClock()
    async with open_stores(clock, per_caller=8, per_tenant=12, total=20) as (here, there):

        async def append(session: str, holder: Holder) -> None:
            clock.advance(1)
            await here.append(session, "t", b"1234", holder=holder)

        async def kept() -> set[str]:
            return {one for one in "abcdefg" if await there.replay(one, "t", 0) is not None}

        for session in "abc":
            await append(session, _of("evil"))
        assert await kept() == {"b", "c"}
        for session in "de":
            await append(session, _of("evil", "y"))
        assert await kept() == {"c", "d", "e"}
        await append("f", _of("acme"))
        await append("g", _of("beta"))
        assert await kept() == {"c", "d", "e", "f", "g"}
        await append("g", _of("beta"))
        assert await kept() == {"d", "e", "f", "g"}, "evil holds most"
        await append("d", _of("evil"))
        assert await kept() >= {"f", "g"}, "who is below its share keeps what it has"


async def test_what_was_silent_for_too_long_leaves_room(in_process_redis: str) -> None:
    clock = ManualClock()
    async with connections(in_process_redis) as (redis,):
        store = RedisEventStore(redis, clock, kept_seconds=60)
        await store.append("old", "t", b"1234")
        clock.advance(60)
        await store.append("new", "t", b"12")
        assert await store.replay("old", "t", 0) is None
        assert await redis.client.get(f"{redis.prefix}logs-total") == b"2"


async def test_a_store_that_is_away_says_so() -> None:
    async with connections(f"redis://127.0.0.1:{free_port()}/0") as (redis,):
        store = RedisEventStore(redis, ManualClock())
        attempts = (store.begin("s", "t"), store.append("s", "t", b""), store.replay("s", "t", 0), store.forget("s"))
        for attempt in attempts:
            with pytest.raises(SharedStateUnavailable):
                await attempt


async def test_sessions_that_nobody_ends_do_not_pile_up() -> None:
    store = InMemoryEventStore(sessions=2)
    for session in ("a", "b", "c"):
        await store.begin(session, "t")
    assert await store.replay("a", "t", 0) is None
    assert await store.replay("b", "t", 0) is not None
