"""The Streamable HTTP transport as a bare ASGI application: reads a POST, asks the engine, writes JSON or SSE.

Only this module touches the connection. An answer goes out as JSON; it becomes an event stream when the client takes
nothing else, when something has to be told or asked before it, or when it is late, so that proxies and clients do not
give up on a silent connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import BodyTooLarge, InvalidInput, StoaError, UnsupportedCoding
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.exchange import EVERYTHING, JSON, Exchange, Refused, Reply, ResponseStream, View
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INTERNAL_ERROR, INVALID_REQUEST
from stoa.interfaces.mcp.streams.feeds import Event, Feed
from stoa.interfaces.mcp.streams.streams import Recording
from stoa.interfaces.mcp.transports.views import read_query
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.bodies import (
    CALLER_KEY,
    CODINGS,
    Bodies,
    BodyIncomplete,
    Share,
    as_length,
    closing,
    declared_length,
    read_small,
)
from stoa.interfaces.wire.credentials import credential_of, tenant_of
from stoa.interfaces.wire.errors import REASONS_BY_STATUS
from stoa.interfaces.wire.revisions import HANDSHAKE_REVISIONS

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SESSION_HEADER = b"mcp-session-id"
_ATTEND_AFTER_SECONDS = 0.05
_SSE_HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class StreamableHttp:
    """`late_seconds`: an answer that takes longer is streamed, with a comment as often to keep the connection open.
    `view`: what is shown where the URL does not say. `address_of`: what a client's requests are counted under while
    nobody vouches for it; None: they are not limited. `bodies`: what may be held of requests. `principal_of`: the
    caller of a request that was authenticated before; without it the Authorization header has a token to verify.
    `attend_after_seconds`: how long an answer takes before its client is watched."""

    def __init__(
        self,
        engine: McpEngine,
        *,
        late_seconds: float = 15.0,
        view: View = EVERYTHING,
        address_of: Callable[[Scope], str | None] = lambda _: None,
        bodies: Bodies | None = None,
        attend_after_seconds: float = _ATTEND_AFTER_SECONDS,
        principal_of: Callable[[Scope], Principal | None] | None = None,
    ) -> None:
        self._engine = engine
        self._principal_of = principal_of
        self._address_of = address_of
        self._bodies = bodies or Bodies()
        self._late_seconds = late_seconds
        self._attend_after_seconds = attend_after_seconds
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope["headers"])
        address = self._address_of(scope)
        credential: Credential
        if self._principal_of is None:
            credential = credential_of(headers.get(b"authorization"))
        else:
            credential = self._principal_of(scope)
        refusal = self._engine.refuse_stranger(address, credential)
        if refusal is not None:
            await _send(closing(send) if scope["method"] == "POST" else send, refusal)
            return
        if scope["method"] != "POST":
            await self._without_body(scope, headers, address, credential, receive, send)
            return
        caller = await self._engine.admit(credential)
        exchange = Exchange(
            headers=headers,
            version=headers.get(b"mcp-protocol-version"),
            session_id=headers.get(SESSION_HEADER),
            body=b"",
            credential=credential,
            caller=caller,
            address=address,
            consumer=headers.get(b"x-consumer-id") or "unknown",
            request_id=headers.get(b"x-request-id"),
        )
        share: Share | None = None
        try:
            if isinstance(caller, StoaError):
                # Of a stranger's body no more is read than what is counted of it in the record of its refusal.
                small = await read_small(declared_length(scope["headers"]), receive)
                exchange.body, is_read = small or b"", small is not None
            else:
                scope[CALLER_KEY] = (caller.tenant, caller.authorization_key)
                share = Share(self._bodies, caller)
                is_read = await self._read(exchange, share, receive)
            answer = self._prepare(exchange, scope["query_string"], receive, send if is_read else closing(send))
            feed = await answer.deliver(self._engine.answer(exchange))
            if feed is not None:
                await _stream(feed, self._late_seconds, receive, send)
        except BodyIncomplete:
            return
        finally:
            if share is not None and share.size:
                share.release()

    async def _read(self, exchange: Exchange, share: Share, receive: Receive) -> bool:
        """Read the body, or find out why not; false: some of it was not read. Raises BodyIncomplete."""
        headers = exchange.headers or Headers(())
        length = headers.get(b"content-length")
        try:
            declared = None if length is None else as_length(length)
            coding = headers.get(b"content-encoding")
            if coding is None:
                exchange.body = await share.read(declared, receive)
            else:
                exchange.body = await share.read_coded(declared, receive, coding)
        except BodyTooLarge as refusal:
            exchange.rejection = _reject(413, refusal.message)
            return False
        except UnsupportedCoding as refusal:
            exchange.rejection = _reject(415, refusal.message, (b"accept-encoding", CODINGS))
            return False
        except InvalidInput as refusal:
            exchange.rejection = _reject(400, refusal.message)
            return True
        except StoaError as refusal:
            exchange.rejection = self._engine.refused(refusal)
            return False
        media_type = (headers.get(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            exchange.rejection = _reject(415, "Content-Type must be application/json")
        return True

    def _prepare(self, exchange: Exchange, query: bytes, receive: Receive, send: Send) -> "_Answer":
        headers = exchange.headers or Headers(())
        takes_json, takes_events = _accepted(headers.get(b"accept"))
        if exchange.rejection is None and not (takes_json or takes_events):
            exchange.rejection = _reject(406, "Accept application/json or text/event-stream")
        exchange.view = self._view
        if query:
            try:
                exchange.tenant, exchange.view = read_query(query, self._view)
            except InvalidInput as wrong:
                exchange.rejection = exchange.rejection or _reject(400, wrong.message)
        answer = _Answer(
            send,
            # In the stateless era a closed connection cancels the call; in the handshake era it must not.
            receive if exchange.version is not None and exchange.version not in HANDSHAKE_REVISIONS else None,
            self._late_seconds if takes_events else None,
            is_stream=not takes_json,
            attend_after_seconds=self._attend_after_seconds,
        )
        if takes_events:
            exchange.stream = answer
        return answer

    async def _without_body(
        self,
        scope: Scope,
        headers: Headers,
        address: str | None,
        credential: Credential,
        receive: Receive,
        send: Send,
    ) -> None:
        _, takes_events = _accepted(headers.get(b"accept"))
        exchange = Exchange(
            headers=headers,
            version=headers.get(b"mcp-protocol-version"),
            session_id=headers.get(SESSION_HEADER),
            body=b"",
            rejection=None if takes_events else _reject(406, "Accept text/event-stream"),
            credential=credential,
            address=address,
            tenant=tenant_of(scope["query_string"]),
        )
        reply = await self._engine.answer_other(scope["method"], exchange, headers.get(b"last-event-id"))
        if reply.feed is None:
            await _send(send, reply)
        else:
            await _stream(reply.feed, self._late_seconds, receive, send)


class _Answer(ResponseStream):
    """One answer on its way out, and what has to be seen to until it is ready: a client that goes away, and a
    connection that would be silent for too long. Most answers are ready before either is worth a task, so both begin
    only after a moment."""

    def __init__(
        self,
        send: Send,
        receive: Receive | None,
        late_seconds: float | None,
        *,
        is_stream: bool,
        attend_after_seconds: float,
    ) -> None:
        self._attend_after_seconds = attend_after_seconds
        self._send = send
        self._receive = receive
        self._late_seconds = late_seconds
        self._is_stream = is_stream
        self._has_begun = False
        self._has_client = True
        self._is_over = False
        self._is_left = False
        self._beginning: asyncio.Lock | None = None
        self._recording: Recording | None = None
        self._attendants: list[asyncio.Task[None]] = []

    async def deliver(self, work: Awaitable[Reply]) -> Feed | None:
        """Send the result of `work`, or return it when it is a stream; cancel `work` when the client goes away and that
        means to cancel."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        timer = loop.call_later(self._attend_after_seconds, self._attend, task)
        try:
            reply = await work
        except asyncio.CancelledError:
            if self._has_client or task is None:
                raise
            task.uncancel()
            return None
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must not leak to the client
            _log.exception("a request to the MCP endpoint failed unexpectedly")
            reply = Reply(500, messages.error(None, INTERNAL_ERROR, "Internal error"), (JSON,))  # the engine told it
        finally:
            timer.cancel()
            for attendant in self._attendants:
                attendant.cancel()
            if self._attendants:
                await asyncio.wait(self._attendants)
        if reply.feed is not None:
            return reply.feed
        await self._finish(reply)
        return None

    def _attend(self, task: asyncio.Task[None] | None) -> None:
        if self._receive is not None and task is not None:
            self._attendants.append(asyncio.create_task(self._watch(self._receive, task)))
        if self._late_seconds is not None:
            self._attendants.append(asyncio.create_task(self._keep_alive(self._late_seconds)))

    async def _watch(self, receive: Receive, task: asyncio.Task[None]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._has_client = False
        task.cancel()

    async def _keep_alive(self, every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            if not self._has_begun:
                await self._begin_stream()
            await self._write(b": ping\n\n")

    def record(self, recording: Recording) -> None:
        self._recording = recording

    async def notify(self, message: bytes) -> None:
        if self._is_over or not self._has_client:
            return
        if not self._has_begun:
            await self._begin_stream()
        await self._write(await self._event(message))

    async def hang_up(self) -> None:
        recording = self._recording
        if self._is_over or self._is_left or recording is None or not recording.can_be_left:
            return
        if not self._has_begun:
            await self._begin_stream()
        if recording.can_be_left:  # still: its beginning may have been impossible to keep
            await self._write(b"", is_last=True)
            self._is_left = True

    async def _write(self, body: bytes, *, is_last: bool = False) -> None:
        """What comes after the client was left is kept for it and not sent."""
        if not self._is_left:
            await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def _begin_stream(self) -> None:
        if self._beginning is None:
            self._beginning = asyncio.Lock()  # a message and a comment may both want to be the first
        async with self._beginning:
            if not self._has_begun:
                await self._send({"type": "http.response.start", "status": 200, "headers": list(_SSE_HEADERS)})
                self._has_begun = True  # only now: a start that was cancelled on its way has begun nothing
                opening = None if self._recording is None else await self._recording.opening()
                if opening is not None:
                    await self._write(frame(opening))

    async def _finish(self, reply: Reply) -> None:
        self._is_over = True
        # An error keeps its HTTP status while that can still be said.
        if not self._has_begun and (not self._is_stream or reply.status != 200):
            await _send(self._send, reply)
            return
        if not self._has_begun:
            await self._begin_stream()
        event = await self._event(reply.body, is_last=True)
        await self._write(event, is_last=True)

    async def _event(self, message: bytes, *, is_last: bool = False) -> bytes:
        recording = self._recording
        return frame(Event(message) if recording is None else await recording.event(message, is_last=is_last))


def frame(event: Event) -> bytes:
    """One server-sent event."""
    name = b"" if event.id is None else b"id: %b\n" % event.id.encode("ascii")
    if not event.message:
        # Data makes it an event, whose id counts; without, no client takes it for a message, and all heed the delay.
        return b"%bretry: %d\n%b\n" % (name, event.retry_ms, b"data: \n" if event.id is not None else b"")
    return b"event: message\n%bdata: %b\n\n" % (name, event.message)


async def _stream(feed: Feed, every_seconds: float, receive: Receive, send: Send) -> None:
    """Send a feed until it is over or the client goes away, with comments that keep the connection open."""
    gone, coming = asyncio.create_task(_disconnected(receive)), asyncio.create_task(feed.next())
    try:
        await send({"type": "http.response.start", "status": 200, "headers": list(_SSE_HEADERS)})
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        while not gone.done():
            await asyncio.wait({gone, coming}, timeout=every_seconds, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                item = coming.result()
                if item is None:
                    break
                await send({"type": "http.response.body", "body": frame(item), "more_body": True})
                coming = asyncio.create_task(feed.next())
            elif not gone.done():
                await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        coming.cancel()
        feed.close()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _accepted(accept: str | None) -> tuple[bool, bool]:
    """(JSON, event stream): what the client takes. Many say less than the protocol asks for; they are served too."""
    if not accept or "*/*" in accept:
        return True, True
    types = accept.lower()
    return (
        "application/json" in types or "application/*" in types,
        "text/event-stream" in types or "text/*" in types,
    )


def _reject(status: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    refused = Refused(REASONS_BY_STATUS.get(status, RefusalReason.BAD_REQUEST), status)
    return Reply(status, messages.error(None, INVALID_REQUEST, message), (JSON, *headers), refused=refused)


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    if reply.session is not None:
        headers.append((SESSION_HEADER, reply.session.id.encode("ascii")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
