"""The Streamable HTTP transport as a bare ASGI application: reads a POST, asks the engine, writes JSON or SSE.

Only this module touches the connection. An answer goes out as JSON; it becomes an event stream when the client takes
nothing else, or when it is late, so that proxies and clients do not give up on a silent connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from stoa.domain.identity import TenantId
from stoa.domain.invocation import BearerToken, Credential
from stoa.interfaces.mcp import messages
from stoa.interfaces.mcp.engine import McpEngine
from stoa.interfaces.mcp.exchange import JSON, Exchange, Reply
from stoa.interfaces.mcp.headers import Headers
from stoa.interfaces.mcp.messages import INVALID_REQUEST
from stoa.interfaces.mcp.revisions import LEGACY

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 4 * 1024 * 1024
_WATCH_AFTER_SECONDS = 0.05
_SSE_HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class StreamableHttp:
    """`late_seconds`: an answer that takes longer is streamed, with a comment as often to keep the connection open."""

    def __init__(self, engine: McpEngine, *, late_seconds: float = 15.0) -> None:
        self._engine = engine
        self._late_seconds = late_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            body = messages.error(None, INVALID_REQUEST, "Use POST; this server offers no stream of its own")
            await _send(send, Reply(405, body, (JSON, (b"allow", b"POST"))))
            return
        headers = Headers(scope["headers"])
        takes_json, takes_events = _accepted(headers.get(b"accept"))
        body, rejection = await _read(headers, receive)
        if rejection is None and not (takes_json or takes_events):
            rejection = _reject(406, "Accept application/json or text/event-stream")
        exchange = Exchange(
            headers=headers,
            body=body,
            rejection=rejection,
            credential=credential_of(headers.get(b"authorization")),
            tenant=_tenant(scope["query_string"]),
            consumer=headers.get(b"x-consumer-id") or "unknown",
            request_id=headers.get(b"x-request-id"),
        )
        answer = _Answer(send, self._late_seconds if takes_events else None, is_stream=not takes_json)
        version = headers.get(b"mcp-protocol-version")
        # In the stateless era a closed connection cancels the call; in the handshake era it must not.
        watched = receive if version is not None and version not in LEGACY else None
        reply = await _unless_disconnected(self._engine.answer(exchange), watched, answer)
        if reply is not None:
            await answer.finish(reply)


class _Answer:
    """The response on its way out: JSON, unless it has begun to stream."""

    def __init__(self, send: Send, late_seconds: float | None, *, is_stream: bool) -> None:
        self._send = send
        self._is_stream = is_stream
        self._pings: asyncio.Task[None] | None = None
        self._late_seconds = late_seconds
        loop = asyncio.get_running_loop()
        self._timer = None if late_seconds is None else loop.call_later(late_seconds, self._start_pings)

    def _start_pings(self) -> None:
        self._pings = asyncio.create_task(self._ping(self._late_seconds or 0))

    async def _ping(self, every_seconds: float) -> None:
        await self._begin_stream()
        while True:
            await self._send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
            await asyncio.sleep(every_seconds)

    async def _begin_stream(self) -> None:
        self._is_stream = True
        await self._send({"type": "http.response.start", "status": 200, "headers": list(_SSE_HEADERS)})

    async def finish(self, reply: Reply) -> None:
        has_begun = self._pings is not None
        await self.abandon()
        # An error keeps its HTTP status while that can still be said.
        if not self._is_stream or (not has_begun and reply.status != 200):
            await _send(self._send, reply)
            return
        if not has_begun:
            await self._begin_stream()
        event = b"event: message\ndata: " + reply.body + b"\n\n"
        await self._send({"type": "http.response.body", "body": event, "more_body": False})

    async def abandon(self) -> None:
        """Stop what would still be sent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pings is not None:
            self._pings.cancel()
            with suppress(asyncio.CancelledError):
                await self._pings


async def _unless_disconnected(work: Awaitable[Reply], receive: Receive | None, answer: _Answer) -> Reply | None:
    """The result of `work`; None when the client went away first and `work` was cancelled for it.

    Most calls are over before watching would be worth a task, so it begins only after a moment.
    """
    if receive is None:
        return await work
    task = asyncio.current_task()
    watcher: asyncio.Task[None] | None = None
    has_gone = False

    async def watch() -> None:
        nonlocal has_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        has_gone = True
        if task is not None:
            task.cancel()

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch())

    timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_SECONDS, begin)
    try:
        return await work
    except asyncio.CancelledError:
        await answer.abandon()
        if not has_gone:
            raise
        if task is not None:
            task.uncancel()
        return None
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()


def credential_of(authorization: str | None) -> Credential:
    """The bearer token of an Authorization header (RFC 6750 section 2.1), or None. Other schemes prove nothing here."""
    scheme, _, token = (authorization or "").partition(" ")
    return BearerToken(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


def _tenant(query: bytes) -> TenantId | None:
    chosen = parse_qs(query.decode("latin-1")).get("tenant_id") if query else None
    return TenantId(chosen[-1]) if chosen else None


def _accepted(accept: str | None) -> tuple[bool, bool]:
    """(JSON, event stream): what the client takes. Many say less than the protocol asks for; they are served too."""
    if accept is None:
        return True, True
    if "*/*" in accept:
        return True, True
    return (
        "application/json" in accept or "application/*" in accept,
        "text/event-stream" in accept or "text/*" in accept,
    )


async def _read(headers: Headers, receive: Receive) -> tuple[bytes, Reply | None]:
    """The body, or the reply that refuses it."""
    media_type = (headers.get(b"content-type") or "").partition(";")[0].strip().lower()
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > BODY_LIMIT:
        return b"", _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > BODY_LIMIT:
                return b"", _too_large()
        body = b"".join(chunks)
    if media_type != "application/json":
        return b"", _reject(415, "Content-Type must be application/json")
    return body, None


def _too_large() -> Reply:
    return _reject(413, f"The body is larger than {BODY_LIMIT} bytes")


def _reject(status: int, message: str) -> Reply:
    return Reply(status, messages.error(None, INVALID_REQUEST, message), (JSON,))


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
