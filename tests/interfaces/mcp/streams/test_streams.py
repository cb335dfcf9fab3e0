"""A session's own stream while its client is away."""

import asyncio
import gc
import weakref

from stoa.application.memory.event_store import InMemoryEventStore
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import NO_CAPABILITIES
from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue
from stoa.interfaces.mcp.streams.streams import STANDALONE, Streams

SESSION = Session("s1", "me", "2025-11-25", NO_CAPABILITIES)


async def _lives() -> bool:
    return True


async def _events(queue: EventQueue) -> list[Event]:
    queue.end()
    events: list[Event] = []
    while (event := await queue.next()) is not None:
        events.append(event)
    return events


async def test_stream_that_is_resumed_has_what_came_while_its_client_was_away() -> None:
    streams = Streams(InMemoryEventStore())
    assert streams.listening() == []
    (await streams.follow(SESSION, None, _lives)).close()
    for message in (b'"one"', b'"two"'):
        for session_id in streams.listening():
            await streams.publish(session_id, STANDALONE, message)
    queue = await streams.follow(SESSION, "s:1", _lives)
    assert streams.listening() == ["s1"]
    assert await _events(queue) == [Event(b'"two"', "s:2")]
    queue.close()
    await streams.end("s1")


async def test_stream_of_a_client_that_stays_away_gets_no_more_messages() -> None:
    streams = Streams(InMemoryEventStore(), away_seconds=0)
    (await streams.follow(SESSION, None, _lives)).close()
    async with asyncio.timeout(10):
        while streams.listening():
            await asyncio.sleep(0)


async def test_stream_of_a_session_that_ended_is_not_away() -> None:
    streams = Streams(InMemoryEventStore())
    (await streams.follow(SESSION, None, _lives)).close()
    await streams.end("s1")
    assert streams.listening() == []


async def test_event_queue_of_a_closed_connection_is_not_held_until_its_token_expires() -> None:
    queue = EventQueue()
    queue.end_after(3600, queue.end)
    queue.close()
    remembered = weakref.ref(queue)
    del queue
    gc.collect()
    assert remembered() is None
