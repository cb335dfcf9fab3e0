"""The stdio transport (2025-11-25 and 2026-07-28, "stdio"): one client, one message a line, both eras.

Messages go through the same engine as over HTTP, and each is authenticated. Three things differ, because there is one
connection for everything: all answers and notifications share it, `notifications/cancelled` cancels in both eras (and
the cancelled request gets no answer), and `initialize` begins the only session that there is.

Bytes come in and go out through two callables, so that this is tested without a process; `stdio_process.py` has one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import BearerToken, Credential
from stoa.domain.schema.json_value import as_object, is_array
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.exchange import Exchange, Reply, ResponseStream
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.lines import LINE_LIMIT
from stoa.interfaces.mcp.jsonrpc.lines import Lines as Lines
from stoa.interfaces.mcp.jsonrpc.messages import INTERNAL_ERROR, INVALID_REQUEST, Fault, RequestId
from stoa.interfaces.mcp.streams.event_queue import EventQueue
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.transports.front import ReceivedInput, ReceivedLine
from stoa.interfaces.wire.credentials import CredentialNow
from stoa.interfaces.wire.views import EVERYTHING, View

_log = logging.getLogger(__name__)

MAX_AT_ONCE = 256
"""Requests in progress; one more is refused. Waiting instead would stop reading, and the answers to client requests
that these wait for are read from the same input."""
GRACE_SECONDS = 10.0
"""After the last message running requests may take as long; then they are cancelled."""
_CANCEL_SECONDS = 5.0

_CONSUMER = "stdio"
_IN_ORDER = frozenset({"initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""These change the session that the next message belongs to: nothing is read before they are answered."""
_BUSY = 5030

Send = Callable[[bytes], Awaitable[None]]
"""Writes all of the bytes. Raises OSError when the client is gone."""
Receive = Callable[[], Awaitable[bytes]]
"""Returns some bytes; none at the end of the input."""


class StdioDoor:
    """Serves one client, once. `credential`: authenticates each of its messages. `tenant`: whose catalogue is meant.
    `grace_seconds`: how long running requests may take after the input ended."""

    def __init__(
        self,
        engine: McpEngine,
        send: Send,
        credential: CredentialNow,
        *,
        tenant: TenantId | None = None,
        view: View = EVERYTHING,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._engine = engine
        self._send = send
        self._credential = credential
        self._tenant = tenant
        self._view = view
        self._grace_seconds = grace_seconds
        self._session_id: str | None = None
        self._running: dict[RequestId, _RunningRequest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._streaming: set[asyncio.Task[None]] = set()
        self._is_gone = asyncio.Event()
        self._is_ending = False

    async def serve(self, receive: Receive, received: ReceivedInput | None = None) -> None:
        """Serve until the client closes its end. Requests that are running may then end within `grace_seconds`; when
        this is cancelled, they are cancelled at once. `received`: input that came before what `receive` returns."""
        gone = asyncio.create_task(self._is_gone.wait())
        reading = asyncio.create_task(self._read(receive, received or ReceivedInput()))
        try:
            await asyncio.wait({gone, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                with suppress(OSError):  # an input that cannot be read has ended
                    reading.result()
                await self._finish(gone)
        finally:
            left = {gone, reading, *self._tasks}
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)  # cancelled calls are metered

    async def _finish(self, gone: asyncio.Task[Any]) -> None:
        """Let the requests in progress end. Streams are cancelled: they do not end by themselves."""
        self._is_ending = True
        for task in self._streaming:
            task.cancel()
        deadline = asyncio.create_task(asyncio.sleep(self._grace_seconds))
        while self._tasks and not gone.done() and not deadline.done():
            await asyncio.wait({gone, deadline, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        deadline.cancel()

    async def _read(self, receive: Receive, received: ReceivedInput) -> None:
        for message in received.messages:
            await self._take(message)
        while chunk := await receive():
            for line in received.lines.feed(chunk):
                await self._take(ReceivedLine(line))
        for line in received.lines.end():
            await self._take(ReceivedLine(line))

    async def _take(self, received: ReceivedLine) -> None:
        line = received.line
        value: Any = None
        rejection: bytes | None = None
        if line is None:
            rejection = messages.error(None, INVALID_REQUEST, f"A message has at most {LINE_LIMIT} bytes")
        elif not line.strip():
            return
        else:
            try:
                value = messages.parse(line)
            except Fault as fault:
                rejection = messages.error(None, fault.code, fault.message)
        await self._handle(value, None if rejection is None else Reply(400, rejection), received)

    async def _handle(self, value: Any, rejection: Reply | None, received: ReceivedLine) -> None:
        members = as_object(value)
        is_request = "id" in members and "method" in members
        request = None
        if is_request or is_array(value):
            request = _RunningRequest(self, messages.id_of(value), is_answered=received.is_answered)
        exchange = Exchange(
            await self._credential(),
            value,
            rejection=rejection,
            session_id=self._session_id,
            tenant=self._tenant,
            view=self._view,
            consumer=_CONSUMER,
            stream=request,
        )
        if request is None:
            await self._take_other(exchange, members)
        elif is_request:
            await self._take_request(exchange, request, members["method"])
        else:
            await self._begin(exchange, request)

    async def _take_other(self, exchange: Exchange, members: dict[str, Any]) -> None:
        """A notification or a response, which gets no answer, accepted or not; or something that is no message."""
        reply = await self._reply(exchange)
        if not members.keys() & {"method", "result", "error"}:
            await self.write(reply.body)
        elif reply.status == 202 and members.get("method") == "notifications/cancelled":
            self._cancel(as_object(members.get("params")).get("requestId"))

    async def _take_request(self, exchange: Exchange, request: "_RunningRequest", method: Any) -> None:
        if method == "initialize" and self._session_id is not None:
            await self._refuse(request.id, INVALID_REQUEST, "This connection has been initialized already")
        elif isinstance(method, str) and method in _IN_ORDER:
            await self._answer(exchange, request)
        elif request.id is not None and request.id in self._running:
            await self._refuse(None, INVALID_REQUEST, f"A request with the id {request.id!r} is in progress")
        else:
            await self._begin(exchange, request)

    async def _begin(self, exchange: Exchange, request: "_RunningRequest") -> None:
        if len(self._tasks) >= MAX_AT_ONCE:
            await self._refuse(request.id, _BUSY, f"At most {MAX_AT_ONCE} requests at once; wait for an answer")
            return
        request.task = self._start(self._answer(exchange, request))
        if request.id is not None:
            self._running[request.id] = request

    async def _refuse(self, request_id: RequestId | None, code: int, message: str) -> None:
        await self.write(messages.error(request_id, code, message))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _cancel(self, request_id: Any) -> None:
        """Cancel a request, in either era. Does nothing for one that is over."""
        is_id = isinstance(request_id, (str, int)) and not isinstance(request_id, bool)
        request = self._running.get(request_id) if is_id else None
        if request is not None and request.task is not None:
            request.is_over = True
            request.task.cancel()

    async def _answer(self, exchange: Exchange, request: "_RunningRequest") -> None:
        try:
            reply = await self._reply(exchange)
            if reply.events is not None:
                await self._write_events(reply.events)
        finally:
            if request.id is not None and self._running.get(request.id) is request:
                del self._running[request.id]  # before the answer is written: a client may use the id again then
        if request.is_over:
            return  # it was cancelled, and gets no answer
        request.is_over = True
        if request.is_answered and reply.session is None:
            _log.warning(
                "the client was greeted before it was found that no session can begin: %s", reply.body.decode()
            )
        if reply.body and not request.is_answered:
            await self.write(reply.body)
        if reply.session is not None:
            self._session_id = reply.session.id
            self._mark_streaming(self._start(self._write_session_stream()))

    async def _reply(self, exchange: Exchange) -> Reply:
        try:
            return await self._engine.answer(exchange)
        except Exception:  # noqa: BLE001  # last line of defence: one bad message must not end the connection
            _log.exception("a message on standard input failed unexpectedly")
            return Reply(500, messages.error(messages.id_of(exchange.message), INTERNAL_ERROR, "Internal error"))

    def _mark_streaming(self, task: asyncio.Task[None]) -> None:
        """This task writes a stream, which does not end by itself."""
        self._streaming.add(task)
        task.add_done_callback(self._streaming.discard)

    async def _write_session_stream(self) -> None:
        """Write the session's standalone stream, whose messages belong to no request. It ends when its token expires,
        and is opened again if there is another token."""
        used: Credential = None
        while True:
            credential = await self._credential()
            if isinstance(used, BearerToken) and credential == used:
                return
            used = credential
            exchange = Exchange(credential, session_id=self._session_id, tenant=self._tenant, consumer=_CONSUMER)
            reply = await self._engine.answer_session_request("GET", exchange)
            if reply.events is None:
                return
            await self._write_events(reply.events)

    async def _write_events(self, events: EventQueue) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._mark_streaming(task)
        try:
            while not self._is_ending and (event := await events.next()) is not None:
                if event.message:
                    await self.write(event.message)
        finally:
            events.close()

    async def write(self, message: bytes) -> None:
        """Write one line. JSON has no line feeds as it is written here."""
        if self._is_gone.is_set():
            return
        try:
            await self._send(message + b"\n")
        except OSError:
            self._is_gone.set()


class _RunningRequest(ResponseStream):
    """A request in progress. Its notifications are lines on the connection, until it is answered or cancelled."""

    def __init__(self, door: StdioDoor, request_id: RequestId | None, *, is_answered: bool = False) -> None:
        self.id = request_id
        self.is_answered = is_answered
        self._door = door
        self.is_over = False
        self.task: asyncio.Task[None] | None = None

    async def notify(self, message: bytes) -> None:
        if not self.is_over:
            await self._door.write(message)

    async def hang_up(self) -> None:
        """Nothing to do: one connection carries everything, and stays."""

    def record(self, recording: EventRecording) -> None:
        """Nothing to do: when the connection ends, so does the session."""
