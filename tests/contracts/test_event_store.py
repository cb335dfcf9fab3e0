"""The laws of EventStore, for every adapter."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.ports import EventStore, Replay, StoredEvent

Open = Callable[[], EventStore]
"""Opens an empty store that keeps 8 messages of a session."""

ADAPTERS: dict[str, Open] = {"memory": lambda: InMemoryEventStore(messages=8)}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_store(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param]


names = st.sampled_from(["a", "b"])


@given(st.lists(st.tuples(names, names, st.binary(max_size=3)), max_size=30), st.integers(-1, 9))
@settings(max_examples=60, deadline=None)
async def test_a_replay_is_complete_and_of_that_stream_only_or_it_is_none(
    open_store: Open, appended: list[tuple[str, str, bytes]], after: int
) -> None:
    store = open_store()
    told: dict[tuple[str, str], list[bytes]] = {}
    for session, stream, message in appended:
        mine = told.setdefault((session, stream), [])
        mine.append(message)
        assert await store.append(session, stream, message) == len(mine)
    for session in ("a", "b"):
        recent = [entry for entry in appended if entry[0] == session][-8:]
        for stream in ("a", "b"):
            mine = told.get((session, stream), [])
            replay = await store.replay(session, stream, after)
            missing = len(mine) - after
            if not mine or not 0 <= after <= len(mine) or missing > sum(entry[1] == stream for entry in recent):
                assert replay is None
            else:
                events = [StoredEvent(n, mine[n - 1]) for n in range(after + 1, len(mine) + 1)]
                assert replay == Replay(events, is_over=False)


async def test_a_stream_that_is_over_says_so_and_a_forgotten_session_has_none(open_store: Open) -> None:
    store = open_store()
    await store.append("s", "t", b"1")
    await store.append("s", "t", b"2", is_last=True)
    assert await store.replay("s", "t", 1) == Replay([StoredEvent(2, b"2")], is_over=True)
    assert await store.replay("other", "t", 1) is None
    await store.forget("s")
    assert await store.replay("s", "t", 1) is None


async def test_a_stream_is_known_when_it_has_begun(open_store: Open) -> None:
    store = open_store()
    await store.begin("s", "t")
    assert await store.replay("s", "t", 0) == Replay([], is_over=False)
    assert await store.append("s", "t", b"1") == 1
    await store.begin("s", "t")
    assert await store.replay("s", "t", 0) == Replay([StoredEvent(1, b"1")], is_over=False)


async def test_large_messages_push_out_old_ones() -> None:
    store = InMemoryEventStore(size=10)
    for _ in range(3):
        await store.append("s", "t", b"12345")
    assert await store.replay("s", "t", 0) is None
    assert await store.replay("s", "t", 1) is not None


async def test_the_session_that_is_silent_for_longest_gives_way_first() -> None:
    store = InMemoryEventStore(total=10)
    for session in ("a", "b", "a", "c"):
        await store.append(session, "t", b"1234")
    assert await store.replay("b", "t", 0) is None
    assert await store.replay("c", "t", 0) is not None
    await store.forget("a")
    await store.append("d", "t", b"1234")
    assert await store.replay("c", "t", 0) is not None


async def test_sessions_that_nobody_ends_do_not_pile_up() -> None:
    store = InMemoryEventStore(sessions=2)
    for session in ("a", "b", "c"):
        await store.begin(session, "t")
    assert await store.replay("a", "t", 0) is None
    assert await store.replay("b", "t", 0) is not None
