"""A session's own stream while its client is away."""

import asyncio

from stoa.application.memory.event_store import InMemoryEventStore
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import NO_CAPABILITIES
from stoa.interfaces.mcp.streams.feeds import Event, Feed
from stoa.interfaces.mcp.streams.streams import STANDALONE, Streams

SESSION = Session("s1", "me", "2025-11-25", NO_CAPABILITIES)


async def _lives() -> bool:
    return True


async def _events(feed: Feed) -> list[Event]:
    feed.end()
    events: list[Event] = []
    while (event := await feed.next()) is not None:
        events.append(event)
    return events


async def test_a_client_that_comes_back_finds_what_was_told_while_it_was_away() -> None:
    streams = Streams(InMemoryEventStore())
    assert streams.listening() == []
    (await streams.follow(SESSION, None, _lives)).close()
    for message in (b'"one"', b'"two"'):
        for session_id in streams.listening():
            await streams.publish(session_id, STANDALONE, message)
    feed = await streams.follow(SESSION, "s:1", _lives)
    assert streams.listening() == ["s1"]
    assert await _events(feed) == [Event(b'"two"', "s:2")]
    feed.close()
    await streams.end("s1")


async def test_a_client_that_stays_away_is_told_no_more() -> None:
    streams = Streams(InMemoryEventStore(), away_seconds=0)
    (await streams.follow(SESSION, None, _lives)).close()
    async with asyncio.timeout(10):
        while streams.listening():
            await asyncio.sleep(0)


async def test_a_session_that_has_ended_is_not_away() -> None:
    streams = Streams(InMemoryEventStore())
    (await streams.follow(SESSION, None, _lives)).close()
    await streams.end("s1")
    assert streams.listening() == []


async def test_a_connection_that_is_gone_is_not_remembered_until_its_token_expires() -> None:
    feed = Feed()
    feed.deadline = asyncio.get_running_loop().call_later(3600, feed.end)
    feed.close()
    assert feed.deadline.cancelled()
