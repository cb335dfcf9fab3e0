"""Server-sent events on an ASGI connection (HTML, "Server-sent events")."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PING = b": ping\n\n"
"""A comment: it keeps the connection open, and clients ignore it."""
_HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # or nginx would hold events back until its buffer is full
)


async def start_events(send: Send) -> None:
    """Send the head of an event stream."""
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})


async def send_part(send: Send, body: bytes, *, is_last: bool = False) -> None:
    """Send a part of the body."""
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})


def frame(event: Event) -> bytes:
    """The event as bytes."""
    event_id = b"" if event.id is None else b"id: %b\n" % event.id.encode("ascii")
    if not event.message:
        # Without a data field it is no event, and its id would not count. With an empty one every client notes the id,
        # and none takes it for a message.
        return b"%bretry: %d\n%b\n" % (event_id, event.retry_ms, b"data: \n" if event.id is not None else b"")
    return b"event: message\n%bdata: %b\n\n" % (event_id, event.message)


async def stream_events(
    events: EventQueue, ping_seconds: float, receive: Receive, send: Send, *, is_started: bool = False
) -> None:
    """Send the events of a queue until it is over or the client goes away, with a ping after each `ping_seconds` of
    silence. Closes the queue. `is_started`: the head was sent already, with pings while the queue was being opened."""
    gone, coming = asyncio.create_task(wait_for_disconnect(receive)), asyncio.create_task(events.next())
    try:
        if not is_started:
            await start_events(send)
        await send_part(send, b": open\n\n")
        while not gone.done():
            await asyncio.wait({gone, coming}, timeout=ping_seconds, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                event = coming.result()
                if event is None:
                    break
                await send_part(send, frame(event))
                coming = asyncio.create_task(events.next())
            elif not gone.done():
                await send_part(send, PING)
        if not gone.done():
            await send_part(send, b"", is_last=True)
    finally:
        gone.cancel()
        coming.cancel()
        events.close()


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
