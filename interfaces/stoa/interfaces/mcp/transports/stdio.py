"""The stdio transport (2025-11-25 and 2026-07-28, "stdio"): one client, one message a line, both eras.

Everything goes through the same engine as over HTTP, and every message is authenticated. What differs is what a
connection means: all requests and all that is told beside them share it, `notifications/cancelled` cancels in both eras
(the cancelled request gets no answer), and `initialize` begins the one session that there is.

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
from stoa.interfaces.mcp.exchange import EVERYTHING, Exchange, Reply, ResponseStream, View
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.lines import LINE_LIMIT
from stoa.interfaces.mcp.jsonrpc.lines import Lines as Lines
from stoa.interfaces.mcp.jsonrpc.messages import INTERNAL_ERROR, INVALID_REQUEST, Fault, RequestId
from stoa.interfaces.mcp.streams.feeds import Feed
from stoa.interfaces.mcp.streams.streams import Recording
from stoa.interfaces.mcp.transports.front import Kept, Waiting

_log = logging.getLogger(__name__)

MAX_AT_ONCE = 256
"""Requests in progress; one more is refused. Reading must go on meanwhile: answers to our questions come there too."""
GRACE_SECONDS = 10.0
"""How long running requests may take after the last message; then they are cancelled."""
_CANCEL_SECONDS = 5.0

_IN_ORDER = frozenset({"initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""These change the session that the next message belongs to."""
_BUSY = 5030

Send = Callable[[bytes], Awaitable[None]]
"""Writes the bytes, all of them. Raises OSError when nobody reads any more."""
Receive = Callable[[], Awaitable[bytes]]
"""Some bytes; none: the end."""
CredentialNow = Callable[[], Awaitable[Credential]]
"""The credential of the next message."""


class StdioDoor:
    """Serves one client, once. `credential` vouches for every message of it; `tenant` is whose catalogue is meant."""

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
        self._running: dict[RequestId, _Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: set[asyncio.Task[None]] = set()
        self._is_gone = asyncio.Event()
        self._is_ending = False

    async def serve(self, receive: Receive, waiting: Waiting | None = None) -> None:
        """Until the client sends nothing more or reads nothing more. Then what is running may end, for a while; when
        this is cancelled, it is cancelled at once. `waiting` is what came before `receive`."""
        gone = asyncio.create_task(self._is_gone.wait())
        reading = asyncio.create_task(self._read(receive, waiting or Waiting()))
        try:
            await asyncio.wait({gone, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                with suppress(OSError):  # nothing can be read any more: the same as the end
                    reading.result()
                await self._finish(gone)
        finally:
            left = {gone, reading, *self._tasks}
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)  # cancelled calls are metered

    async def _finish(self, gone: asyncio.Task[Any]) -> None:
        """Let the requests in progress end. What only listens does not end by itself."""
        self._is_ending = True
        for task in self._listening:
            task.cancel()
        deadline = asyncio.create_task(asyncio.sleep(self._grace_seconds))
        while self._tasks and not gone.done() and not deadline.done():
            await asyncio.wait({gone, deadline, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        deadline.cancel()

    async def _read(self, receive: Receive, waiting: Waiting) -> None:
        for kept in waiting.messages:
            await self._take(kept)
        while chunk := await receive():
            for line in waiting.lines.feed(chunk):
                await self._take(Kept(line))
        for line in waiting.lines.end():
            await self._take(Kept(line))

    async def _take(self, kept: Kept) -> None:
        line = kept.line
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
        exchange = await self._exchange(None if rejection is None else Reply(400, rejection))
        members = as_object(value)
        if "id" in members and "method" in members:
            await self._request(exchange, value, members, is_answered=kept.is_answered)
        elif is_array(value):
            await self._begin(exchange, value, _Request(self, None))
        elif "method" in members or "result" in members or "error" in members:
            # A notification, or an answer to a question of ours: accepted or not, it gets no answer.
            reply = await self._reply(exchange, value)
            if reply.status == 202 and members.get("method") == "notifications/cancelled":
                self._cancel(as_object(members.get("params")).get("requestId"))
        else:
            await self.write((await self._reply(exchange, value)).body)

    async def _exchange(self, rejection: Reply | None = None) -> Exchange:
        return Exchange(
            body=b"",
            credential=await self._credential(),
            rejection=rejection,
            session_id=self._session_id,
            tenant=self._tenant,
            view=self._view,
            consumer="stdio",
        )

    async def _request(self, exchange: Exchange, value: Any, members: dict[str, Any], *, is_answered: bool) -> None:
        request_id, method = messages.id_of(value), members["method"]
        request = _Request(self, request_id, is_answered=is_answered)
        if method == "initialize" and self._session_id is not None:
            await self._refuse(request_id, INVALID_REQUEST, "This connection has been initialized already")
        elif isinstance(method, str) and method in _IN_ORDER:
            await self._answer(exchange, value, request)
        elif request_id is not None and request_id in self._running:
            await self._refuse(None, INVALID_REQUEST, f"A request with the id {request_id!r} is in progress")
        else:
            await self._begin(exchange, value, request)

    async def _begin(self, exchange: Exchange, value: Any, request: "_Request") -> None:
        if len(self._tasks) >= MAX_AT_ONCE:
            await self._refuse(request.id, _BUSY, f"At most {MAX_AT_ONCE} requests at once; wait for an answer")
            return
        request.task = self._start(self._answer(exchange, value, request))
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
        """What is not running any more is left alone."""
        is_id = isinstance(request_id, (str, int)) and not isinstance(request_id, bool)
        request = self._running.get(request_id) if is_id else None
        if request is not None and request.task is not None:
            request.is_over = True
            request.task.cancel()

    async def _answer(self, exchange: Exchange, value: Any, request: "_Request") -> None:
        exchange.stream = request
        try:
            reply = await self._reply(exchange, value)
            if reply.feed is not None:
                await self._pump(reply.feed)
        finally:
            if request.id is not None and self._running.get(request.id) is request:
                del self._running[request.id]  # before it is answered: then the id may be used again
        if request.is_over:
            return  # it was cancelled, so it gets no answer
        request.is_over = True
        if request.is_answered and reply.session is None:
            _log.warning(
                "the client was greeted before it was found that no session can begin: %s", reply.body.decode()
            )
        if reply.body and not request.is_answered:
            await self.write(reply.body)
        if reply.session is not None:
            self._session_id = reply.session.id
            self._listen(self._start(self._tell_news()))

    async def _reply(self, exchange: Exchange, value: Any) -> Reply:
        try:
            return await self._engine.answer_parsed(exchange, value)
        except Exception:  # noqa: BLE001  # last line of defence: one bad message must not end the connection
            _log.exception("a message on standard input failed unexpectedly")
            return Reply(500, messages.error(messages.id_of(value), INTERNAL_ERROR, "Internal error"))

    def _listen(self, task: asyncio.Task[None]) -> None:
        """This task has no end of its own."""
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)

    async def _tell_news(self) -> None:
        """What the session is told beside its requests, as long as its credential is good."""
        used: Credential = None
        while True:
            exchange = await self._exchange()
            if isinstance(used, BearerToken) and exchange.credential == used:
                return  # its stream ended with it
            used = exchange.credential
            reply = await self._engine.answer_other("GET", exchange)
            if reply.feed is None:
                return
            await self._pump(reply.feed)

    async def _pump(self, feed: Feed) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._listen(task)
        try:
            while not self._is_ending and (event := await feed.next()) is not None:
                if event.message:
                    await self.write(event.message)
        finally:
            feed.close()

    async def write(self, message: bytes) -> None:
        """One line. JSON as it is written here has no line feeds."""
        if self._is_gone.is_set():
            return
        try:
            await self._send(message + b"\n")
        except OSError:
            self._is_gone.set()


class _Request(ResponseStream):
    """A request in progress, and what is told beside it."""

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
        """There is one connection for everything."""

    def record(self, recording: Recording) -> None:
        """Nobody comes back."""
