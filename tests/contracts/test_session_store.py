"""The laws of SessionStore, for every adapter."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from stoa.application.memory.clock import ManualClock
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.ports import Clock, SessionStore
from stoa.domain.dialogue import NO_CAPABILITIES
from stoa.domain.errors import SessionsFull
from stoa.domain.session import Session

Open = Callable[[Clock], SessionStore]
"""Opens an empty store for two sessions, with an idle time of 60 s."""


def _memory(clock: Clock) -> SessionStore:
    return InMemorySessionStore(clock, idle_seconds=60, capacity=2)


ADAPTERS: dict[str, Open] = {"memory": _memory}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_store(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param]


def _session(name: str) -> Session:
    return Session(name, "who", "2025-11-25", NO_CAPABILITIES)


async def test_a_session_is_found_until_it_is_deleted(open_store: Open) -> None:
    store = open_store(ManualClock())
    await store.create(_session("a"))
    assert await store.find("a") == _session("a")
    assert await store.find("b") is None
    changed = replace(_session("a"), log_level="debug")
    await store.replace(changed)
    assert await store.find("a") == changed
    await store.delete("a")
    await store.delete("a")
    await store.replace(changed)
    assert await store.find("a") is None


async def test_a_session_expires_when_it_is_idle_and_each_find_is_a_use(open_store: Open) -> None:
    clock = ManualClock()
    store = open_store(clock)
    await store.create(_session("used"))
    await store.create(_session("idle"))
    for _ in range(3):
        clock.advance(40)
        assert await store.find("used") is not None
    assert await store.find("idle") is None
    clock.advance(60)
    assert await store.find("used") is None


async def test_there_is_an_upper_limit_that_expired_sessions_do_not_count_for(open_store: Open) -> None:
    clock = ManualClock()
    store = open_store(clock)
    for name in ("a", "b"):
        await store.create(_session(name))
    with pytest.raises(SessionsFull):
        await store.create(_session("c"))
    clock.advance(60)
    await store.create(_session("c"))
    assert await store.find("c") is not None
