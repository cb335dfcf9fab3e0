"""The laws of SessionStore, for every adapter."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.servers import free_port
from tests.services import connections

from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.ports import Clock, SessionStore
from stoa.domain.access.fair_share import Caps, FairShares, NoRoom
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import LOG_LEVELS, NO_CAPABILITIES, ClientCapabilities
from stoa.domain.errors import InvalidInput, SessionsFull, SharedStateUnavailable
from stoa.domain.operations.operation import OperationKey
from stoa.infrastructure.redis import RedisConnection, RedisSessionStore
from stoa.testing.clock import ManualClock

Pair = tuple[SessionStore, SessionStore]
Open = Callable[[Clock], AbstractAsyncContextManager[Pair]]
"""Opens an empty store, as two replicas see it, for three sessions, two of one identity, with an idle time of 60 s."""

LIMITS = {"idle_seconds": 60, "capacity": 3, "per_tenant": 3, "per_identity": 2}


@pytest.fixture(scope="session")
def open_stores(shared_in: str | None) -> Open:
    @asynccontextmanager
    async def in_memory(clock: Clock) -> AsyncGenerator[Pair]:
        store = InMemorySessionStore(clock, **LIMITS)  # type: ignore[arg-type]
        yield store, store

    @asynccontextmanager
    async def in_redis(clock: Clock) -> AsyncGenerator[Pair]:
        async with connections(shared_in or "", shared_in or "") as both:
            yield tuple(RedisSessionStore(redis, clock, **LIMITS) for redis in both)  # type: ignore[arg-type, misc]

    return in_memory if shared_in is None else in_redis


def _session(name: str, who: str = "who", tenant: str | None = None) -> Session:
    only = None if tenant is None else TenantId(tenant)
    return Session(name, who, "2025-11-25", NO_CAPABILITIES, hears_only=only)


async def test_a_session_is_found_everywhere_until_it_is_deleted_and_stays_gone(open_stores: Open) -> None:
    async with open_stores(ManualClock()) as (here, there):
        await here.create(_session("a"))
        assert await there.find("a") == _session("a")
        assert await there.find("b") is None
        await there.update("a", lambda session: replace(session, log_level="debug"))
        assert await here.find("a") == replace(_session("a"), log_level="debug")
        await there.delete("a")
        await there.delete("a")
        await here.update("a", lambda session: session)
        assert await here.find("a") is None


async def test_a_session_expires_when_it_is_idle_and_each_find_is_a_use(open_stores: Open) -> None:
    clock = ManualClock()
    async with open_stores(clock) as (here, there):
        await here.create(_session("used"))
        await here.create(_session("idle"))
        for _ in range(3):
            clock.advance(40)
            assert await there.find("used") is not None
        assert await here.find("idle") is None
        await here.update("idle", lambda session: session)
        assert await here.find("idle") is None
        clock.advance(60)
        assert await here.find("used") is None


async def test_a_change_is_no_use(open_stores: Open) -> None:
    clock = ManualClock()
    async with open_stores(clock) as (store, _):
        await store.create(_session("a"))
        clock.advance(40)
        await store.update("a", lambda session: replace(session, log_level="debug"))
        clock.advance(40)
        assert await store.find("a") is None


async def test_there_is_an_upper_limit_that_expired_and_deleted_sessions_do_not_count_for(open_stores: Open) -> None:
    clock = ManualClock()
    async with open_stores(clock) as (here, there):
        for name in ("a", "b", "c"):
            await here.create(_session(name, f"owner of {name}", f"tenant of {name}"))
        with pytest.raises(SessionsFull):
            await there.create(_session("d", "somebody", "another"))
        await here.delete("a")
        await there.create(_session("d", "somebody", "another"))
        with pytest.raises(SessionsFull):
            await there.create(_session("e", "else", "yet another"))
        clock.advance(60)
        await there.create(_session("e", "else", "yet another"))
        assert await here.find("e") is not None


async def test_a_session_of_a_tenant_that_holds_most_gives_way_to_one_below_its_share(open_stores: Open) -> None:
    clock = ManualClock()
    async with open_stores(clock) as (here, there):
        for number in range(3):
            clock.advance(1)
            await here.create(_session(f"evil {number}", f"evil {number}", "evil"))
        clock.advance(1)
        assert await there.find("evil 0") is not None
        await there.create(_session("a", "ann", "acme"))
        assert [await here.find(f"evil {number}") is not None for number in range(3)] == [True, False, True]
        await here.create(_session("evil 3", "evil 0", "evil"))
        assert await here.find("a") is not None, "who is below its share keeps what it has"


ATTEMPTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("xyz"), st.integers(0, 20), st.booleans()),
    max_size=25,
)


@given(ATTEMPTS)
@settings(max_examples=40, deadline=None)
async def test_sessions_are_shared_as_the_law_of_fair_shares_says(open_stores: Open, attempts: list[Any]) -> None:
    """Whoever opens and uses sessions in whatever order: what is left is what the law leaves."""
    clock = ManualClock()
    law: FairShares[str] = FairShares(Caps(2, 3, 3))
    async with open_stores(clock) as (here, there):
        for tenant, caller, number, is_new in attempts:
            clock.advance(1 / 64)
            session = _session(f"{tenant}-{caller}-{number}", f"{tenant}:{caller}", tenant)
            if is_new and await here.find(session.id) is None:
                try:
                    await there.create(session)
                    is_refused = False
                except SessionsFull:
                    is_refused = True
                try:
                    law.put(session.id, session.holder)
                    assert not is_refused
                except NoRoom:
                    assert is_refused
            elif await here.find(session.id) is not None:
                law.use(session.id)
        kept = {f"{tenant}-{caller}-{number}" for tenant, caller, number, _ in attempts}
        assert {one for one in kept if await there.find(one) is not None} == law.keys()


async def test_one_session_too_many_takes_the_place_of_its_own_identitys_least_recently_used(open_stores: Open) -> None:
    clock = ManualClock()
    async with open_stores(clock) as (here, there):
        await here.create(_session("of another", "another"))
        for name in ("first", "second"):
            clock.advance(1)
            await here.create(_session(name))
        clock.advance(1)
        assert await there.find("first") is not None
        for name in ("third", "fourth"):
            clock.advance(1)
            await there.create(_session(name))
        found = [await here.find(name) for name in ("of another", "first", "second", "third", "fourth")]
        assert [session and session.id for session in found] == ["of another", None, None, "third", "fourth"]


async def test_no_change_is_lost_whoever_makes_it(open_stores: Open) -> None:
    keys = [OperationKey(None, str(number), "resource") for number in range(12)]

    async def watch(store: SessionStore, key: OperationKey) -> None:
        await store.update("a", lambda session: replace(session, watched=session.watched | {(key.name, key)}))

    async with open_stores(ManualClock()) as stores:
        await stores[0].create(_session("a"))
        await asyncio.gather(*(watch(stores[number % 2], key) for number, key in enumerate(keys)))
        kept = await stores[1].find("a")
        assert kept is not None
        assert {key for _, key in kept.watched} == set(keys)


texts = st.text(st.characters(codec="utf-8"), max_size=5)
sessions = st.builds(
    Session,
    st.just("id"),
    texts,
    st.just("2025-06-18"),
    st.builds(ClientCapabilities, sampling=st.booleans(), elicitation=st.booleans(), roots=st.booleans()),
    st.none() | texts.map(TenantId),
    st.booleans(),
    st.sampled_from(list(LOG_LEVELS)),
    st.frozensets(
        st.tuples(texts, st.builds(OperationKey, st.none() | texts.map(TenantId), texts, st.just("resource"))),
        max_size=3,
    ),
)


@given(sessions)
@settings(max_examples=30, deadline=None)
async def test_what_comes_out_is_what_went_in(open_stores: Open, session: Session) -> None:
    async with open_stores(ManualClock()) as (here, there):
        await here.create(session)
        assert await there.find("id") == session


async def test_a_store_that_is_away_says_so_and_gives_nothing_away() -> None:
    async with connections(f"redis://user:pass-word@127.0.0.1:{free_port()}/0") as (redis,):
        store = RedisSessionStore(redis, ManualClock())
        attempts = (store.create(_session("a")), store.find("a"), store.update("a", lambda s: s), store.delete("a"))
        for attempt in attempts:
            with pytest.raises(SharedStateUnavailable) as refused:
                await attempt
            assert "pass-word" not in str(refused.value)


async def test_what_another_version_wrote_and_nobody_can_read_is_gone(in_process_redis: str) -> None:
    async with connections(in_process_redis) as (redis,):
        store = RedisSessionStore(redis, ManualClock())
        await store.create(_session("a"))
        await redis.client.hset(f"{redis.prefix}session:a", "data", b'{"id": 1}')
        assert await store.find("a") is None


def test_an_address_that_is_none_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as refused:
        RedisConnection("redis://:pass-word@host:port/0")
    assert refused.value.message == "REDIS_URL: write it as redis://HOST:PORT/DATABASE"
