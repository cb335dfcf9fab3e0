"""One request and its answer, as ASGI's `receive` and `send`, or whole (`short_way`)."""

import asyncio
import logging
from collections.abc import Awaitable, Hashable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from stoa.interfaces.http.guard import AsgiApp, Scope
from stoa.interfaces.http.request_head import RequestHead
from stoa.interfaces.wire.bodies import CALLER_KEY

_log = logging.getLogger("uvicorn.error")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_NO_BODY = frozenset({204, 304})
_ABOUT_THE_SENDER = frozenset({200, 429})
"""Statuses of answers that say with Retry-After that their sender exceeds a limit: JSON-RPC has its errors in 200. A
503 is about the gateway."""


def json_head(fields: list[tuple[bytes, bytes]]) -> bytes:
    """The head of an answer with status 200 and JSON, up to the value of Content-Length. `fields`: its further
    fields."""
    lines = b"".join(b"%b: %b\r\n" % (name.lower(), value) for name, value in fields)
    return b"%b%bcontent-type: application/json\r\ncontent-length: " % (_STATUS_LINES[200], lines)


class Outlet(Protocol):
    """The transport of a cycle's answer."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool: ...


class Connection(Protocol):
    """The connection that a request came on."""

    @property
    def outlet(self) -> Outlet: ...

    @property
    def flow(self) -> FlowControl: ...

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer; None: it has none, as over a Unix socket."""
        ...

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Header fields of every answer."""
        ...

    def json_head(self) -> bytes:
        """The head of an answer with status 200 and JSON, up to the value of Content-Length."""
        ...

    def scope_of(self, head: RequestHead) -> Scope:
        """The ASGI scope of a request."""
        ...

    def on_answered(self) -> None:
        """Is called once an answer is written whole."""
        ...

    def note_excess(self, cycle: "RequestCycle", /) -> None:
        """Is called when the sender of a request exceeds its limits."""
        ...


class ShortWay(Protocol):
    """Answers requests with no ASGI between."""

    def body_of(self, cycle: "RequestCycle", /) -> bytes | None:
        """The body of a request that goes the short way; None: any other."""
        ...

    def answer(self, cycle: "RequestCycle", body: bytes, /) -> Awaitable[None]: ...


class RequestCycle:
    """One request and its answer. `keep_alive`: the connection may serve another request. `body`: the whole of it, if
    it came with its head."""

    __slots__ = (
        "_body",
        "_changed",
        "_connection",
        "_expected",
        "_expects_continue",
        "_flow",
        "_has_news",
        "_head",
        "_is_chunked",
        "_outlet",
        "_scope",
        "account",
        "client",
        "disconnected",
        "keep_alive",
        "more_body",
        "request",
        "response_complete",
        "response_started",
        "task",
    )  # fmt: skip

    def __init__(
        self, request: RequestHead, connection: Connection, keep_alive: bool, body: bytes | None = None
    ) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.disconnected = False
        self.more_body = body is None
        self.response_started = False
        self.response_complete = False
        self.account: tuple[Hashable, Hashable] | None = None
        """(tenant, authorization key) that unread bytes of the answer count against; None: not known yet."""
        self.client = connection.client
        """Address and port of the peer; None: it has none, as over a Unix socket."""
        self.task: asyncio.Task[None] | None = None
        """The task that runs `run`."""
        self._connection = connection
        self._outlet = connection.outlet
        self._flow = connection.flow
        self._expects_continue = request.expects_continue and request.version == "1.1"
        self._scope: Scope | None = None
        """Made for an application; the short way needs none."""
        self._body: bytes | bytearray = body or b""
        self._has_news = body is not None
        """Something came that `receive` has not told yet."""
        self._changed: asyncio.Event | None = None
        """Set when something comes; made by a `receive` that has to wait."""
        self._head: list[bytes] | None = None
        """The head of an answer of known length, which goes out with its first bytes."""
        self._is_chunked = False
        self._expected = 0
        """Bytes of the body that Content-Length still promises."""

    # The connection's side

    def add_body(self, data: bytes) -> None:
        if not self._body:
            self._body = data  # as it is: most bodies are not longer than what comes at once
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        if len(self._body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        self.note_news()

    def end_body(self) -> None:
        self.more_body = False
        self.note_news()

    def disconnect(self) -> None:
        """The client is gone, or is treated as if it were."""
        self.disconnected = True
        self.note_news()

    def note_account(self) -> None:
        """Takes over from the scope who the caller is, as soon as the application has found out."""
        if self._scope is not None:
            self.account = self._scope.get(CALLER_KEY, self.account)

    def note_news(self) -> None:
        self._has_news = True
        if self._changed is not None:
            self._changed.set()

    def take_whole_body(self, limit: int) -> bytes | None:
        """The body, if it came whole already and has at most `limit` bytes; then `receive` waits for the client to go
        away."""
        if self.more_body or self.disconnected or self._expects_continue or len(self._body) > limit:
            return None
        body = bytes(self._body)
        self._body, self._has_news = b"", False
        return body

    async def run(self, app: AsgiApp, short_way: ShortWay | None, tasks: set[asyncio.Task[None]]) -> None:
        """Lets the MCP door answer a request that it takes whole, and the application any other. Takes its `task` out
        of `tasks` at its end."""
        try:
            if short_way is not None and (body := short_way.body_of(self)) is not None:
                await short_way.answer(self, body)
            else:
                self._scope = scope = self._connection.scope_of(self.request)
                await app(scope, self.receive, self.send)
        except BaseException as caught:  # noqa: BLE001  # last line of defence: the client gets an answer, or sees the end
            _log.error("Exception in ASGI application\n", exc_info=caught)
            await self._end_unanswered()
            return
        finally:
            if self.task is not None:
                tasks.discard(self.task)
        if not self.response_complete and not self.disconnected:
            _log.error("ASGI callable returned without completing response.")
            await self._end_unanswered()

    async def _end_unanswered(self) -> None:
        if self.response_started and self._head is None:
            self._outlet.close()
            return
        self.response_started, self._head = False, None
        text = b"Internal Server Error"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": text})

    # ASGI's side

    async def receive(self) -> MutableMapping[str, Any]:
        if self._expects_continue:
            self._expects_continue = False
            if not self._outlet.is_closing():
                self._outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._has_news and not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            if self._changed is None:
                self._changed = asyncio.Event()
            while not self._has_news:
                await self._changed.wait()
                self._changed.clear()
        self._has_news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._send_body(message.get("body", b""), is_last=not message.get("more_body", False))
        elif message["type"] == "http.response.start" and not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}'")

    def _start(self, status: int, headers: Any) -> None:
        self.response_started = True
        self._expects_continue = False
        length: int | None = None
        closes = False
        head = [_STATUS_LINES[status]]
        for name, value in (*self._connection.default_headers, *headers):
            lower = name.lower()
            if lower == b"transfer-encoding":
                continue  # how the body is framed is decided here
            if lower == b"content-length":
                length = int(value)
            elif lower == b"connection":
                closes = closes or b"close" in value.lower()
            elif lower == b"retry-after" and status in _ABOUT_THE_SENDER:
                self._connection.note_excess(self)
            head.append(b"%b: %b\r\n" % (lower, value))
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            head.append(b"connection: close\r\n")
        self._is_chunked = length is None and self.request.method != b"HEAD" and status not in _NO_BODY
        if self._is_chunked:
            head.append(b"transfer-encoding: chunked\r\n")
        lines = b"".join(head)
        if lines.count(b"\n") != len(head) or lines.count(b"\r") != len(head) or b"\0" in lines:
            self.response_started = False
            raise RuntimeError("A header of the answer holds a line break")
        self._expected = length or 0
        if length is None:
            self._outlet.write(lines + b"\r\n")
        else:
            self._head = [lines, b"\r\n"]

    def _send_body(self, body: bytes, *, is_last: bool) -> None:
        if self.request.method == b"HEAD":
            body, self._expected = b"", 0
        elif self._is_chunked:
            chunk = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            body = b"".join([*chunk, b"0\r\n\r\n"] if is_last else chunk)
        else:
            self._expected -= len(body)
            if self._expected < 0:
                raise RuntimeError("Response content longer than Content-Length")
        if self._head is not None:
            body = b"".join([*self._head, body])
            self._head = None
        if body:
            self._outlet.write(body)
        if is_last:
            if self._expected:
                raise RuntimeError("Response content shorter than Content-Length")
            self._complete()

    def _complete(self) -> None:
        self.response_complete = self._has_news = True
        if self._changed is not None:
            self._changed.set()
        if not self.keep_alive:
            self._outlet.close()
        self._connection.on_answered()

    def respond(self, json: bytes) -> bool:
        """Answers with status 200 and this JSON in one write. False: nothing was written, for the connection is not in
        the state for it; `send` will wait for it or say why."""
        if self.response_started or self.disconnected or not self.keep_alive or self._flow.write_paused:
            return False
        self.response_started = True
        self._outlet.write(self._connection.json_head() + b"%d\r\n\r\n%b" % (len(json), json))
        self._complete()
        return True
