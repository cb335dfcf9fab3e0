"""Subscriptions as bounded reads (GraphQL, section 6.2.3): what comes until the stream or a bound ends is the answer.

Over graphql-transport-ws (github.com/enisdenjo/graphql-ws, PROTOCOL.md) or GraphQL over Server-Sent Events, distinct
connections mode (graphql-sse, PROTOCOL.md). Nothing is resumed: a call sees one connection.
"""

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, cast

import aiohttp
import pydantic_core

from stoa.application.ports import BackendCall, CallContext, ClientChannel
from stoa.domain.errors import BackendProtocolError, BackendUnavailable
from stoa.domain.operations.binding import StreamBounds
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.infrastructure.graphql.answers import event_of, result_of, shown_errors
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.graphql.calls import QUICKLY_READ_BYTES, REDIRECTED, REDIRECTS, AuthorisedCall, HttpCall
from stoa.infrastructure.graphql.request import GraphQlRequest, RequestPlan
from stoa.infrastructure.http_client.backend_errors import TRANSLATED, translated
from stoa.infrastructure.http_client.backend_session import content_type
from stoa.infrastructure.http_client.event_stream import EventStreamParser, EventTooLarge
from stoa.infrastructure.http_client.tls_secrets import TlsContexts
from stoa.infrastructure.http_client.websockets import WebSockets

TRANSPORT_WS = "graphql-transport-ws"
"""The WebSocket subprotocol."""
EVENT_STREAM = "text/event-stream"

_UNENCODED = frozenset({"", "identity", "none"})
"""`none` is no registered coding; GraphQL Yoga sends it so that proxies leave its streams alone."""
_MARGIN = 0.9
"""Of the tool's timeout: reading ends before it, so that what has come is not lost."""
_FRAME_BYTES = 16
"""What a message counts at least, so that a flood of empty ones ends too."""
_OVERHEAD = 2
"""Bytes on the wire for each byte of messages, before a stream of nothing but comments and pings is ended."""
_ID = "1"
_OWN_CODES = 4000
"""Close codes from here on are the application protocol's (RFC 6455 section 7.4.2)."""
_STATUSES = {4401: HTTPStatus.UNAUTHORIZED, 4403: HTTPStatus.FORBIDDEN}
_GONE = frozenset({aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED})


class StreamAnswer(RawAnswer):
    """The messages of a stream, which are no GraphQL response themselves."""

    __slots__ = ()


class _Ended(Exception):
    """Ends the reading, with the reason as its text: a bound is reached, or the stream is complete."""


class _Reading:
    """The messages of one stream, as they come. `whose` names the tool in errors."""

    def __init__(self, bounds: StreamBounds, timeout_seconds: float, channel: ClientChannel | None, whose: str) -> None:
        self._bounds = bounds
        self._channel = channel
        self._whose = whose
        self._messages: list[JsonObject] = []
        self._size = self._received = 0
        self._limit = asyncio.timeout(_MARGIN * timeout_seconds)
        self._is_begun = False

    async def run(self, stream: Coroutine[Any, Any, RawAnswer]) -> RawAnswer:
        """The answer that the coroutine `stream` gives, or the messages that came until it raised _Ended."""
        try:
            async with self._limit:
                return await stream
        except _Ended as ended:
            return self._answer(str(ended))
        except TimeoutError:
            if not self._limit.expired() or not self._is_begun:
                raise
            return self._answer("maxDuration")
        except (BackendUnavailable, BackendProtocolError) as error:
            if not self._messages:
                raise
            return self._answer("error", {"message": error.message})
        except TRANSLATED as error:
            if not self._messages:
                raise
            return self._answer("error", {"message": translated(error, self._whose).message})

    def begin(self) -> None:
        """The service has accepted the subscription: its time begins."""
        self._is_begun = True
        deadline = asyncio.get_running_loop().time() + self._bounds.max_seconds
        self._limit.reschedule(min(deadline, cast("float", self._limit.when())))

    def received(self, count: int) -> None:
        """Raises _Ended when a peer sends much that is no message."""
        self._received += count + _FRAME_BYTES
        if self._received > _OVERHEAD * self._bounds.max_bytes + 64 * 1024:
            raise _Ended("maxBytes")

    async def add(self, response: JsonObject, size: int) -> None:
        """One GraphQL response of so many bytes. Raises _Ended, BackendProtocolError."""
        self._size += size
        if self._size > self._bounds.max_bytes:
            raise _Ended("maxBytes")
        event = event_of(response)
        if event is None:
            raise self.nonsense()
        self._messages.append(event)
        if self._channel is not None:
            await self._channel.progress(len(self._messages))
        if len(self._messages) == self._bounds.max_messages:
            raise _Ended("maxMessages")

    def failed(self, errors: list[Any]) -> RawAnswer:
        """Errors that refused the subscription, or that ended it."""
        if self._messages:
            return self._answer("error", {"errors": shown_errors(errors)})
        return RawAnswer(pydantic_core.to_json({"errors": errors}), "application/json")

    def refused(self, status: str, text: str, uri: str) -> RawAnswer:
        if self._messages:
            return self._answer("error", {"message": f"{status} {text}".strip()})
        return RawAnswer(text.encode(), "text/plain", is_error=True, status=status, uri=uri)

    async def parsed(self, text: str) -> JsonObject:
        try:
            is_long = len(text) > QUICKLY_READ_BYTES
            value = await asyncio.to_thread(pydantic_core.from_json, text) if is_long else pydantic_core.from_json(text)
        except ValueError:
            raise self.nonsense() from None
        if not is_object(value):
            raise self.nonsense()
        return value

    def nonsense(self) -> BackendProtocolError:
        return BackendProtocolError(f"The back end of {self._whose} failed: it sends what is no GraphQL subscription")

    def _answer(self, end: str, error: JsonObject | None = None) -> StreamAnswer:
        content: JsonObject = {"messages": self._messages, "end": end}
        if error is not None:
            content["error"] = error
        # Some servers answer a subscription that they refuse with one message, and complete the stream.
        is_refused = bool(self._messages) and all("errors" in each and not each["data"] for each in self._messages)
        body = pydantic_core.to_json(content, inf_nan_mode="constants")
        return StreamAnswer(body, "application/json", is_error=error is not None or is_refused)


class SubscriptionCall(AuthorisedCall, BackendCall):
    """What both transports have in common."""

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        # Whole: a server that looks a document up by its hash may not do so for subscriptions.
        request = self._plan.build(arguments, context.request_id, is_whole=True)
        try:
            answer = await self._sent(request, context)
        except TRANSLATED as error:
            problem = translated(error, self.name)
        else:
            return answer if isinstance(answer, StreamAnswer) else result_of(answer, self.name)
        raise problem  # outside the handler: what aiohttp says quotes URL and headers, and with them secrets

    async def _answer(self, request: GraphQlRequest, context: CallContext) -> RawAnswer:
        reading = _Reading(self._bounds, self._timeout_seconds, context.channel, self.name)
        return await reading.run(self._stream(request, reading))

    async def _stream(self, request: GraphQlRequest, reading: _Reading) -> RawAnswer:
        raise NotImplementedError


class EventStreamCall(SubscriptionCall, HttpCall):
    """GraphQL over Server-Sent Events."""

    async def _stream(self, request: GraphQlRequest, reading: _Reading) -> RawAnswer:
        request.headers |= {"Accept": EVENT_STREAM, "Accept-Encoding": "identity"}
        async with self._requested(request) as response:
            is_stream = content_type(response.headers.get("Content-Type", ""))[0] == EVENT_STREAM
            if response.status != HTTPStatus.OK or not is_stream:
                return await self._read(response, request)
            if response.headers.get("Content-Encoding", "identity").lower() not in _UNENCODED:
                raise reading.nonsense()
            reading.begin()
            events = EventStreamParser(self._bounds.max_bytes)
            while chunk := await response.content.readany():
                reading.received(len(chunk))
                try:
                    complete = events.feed(chunk)
                except EventTooLarge:
                    raise _Ended("maxBytes") from None
                for event in complete:
                    if event.type == "complete":
                        raise _Ended("completed")
                    if event.type in {"next", "message"}:  # older servers do not name it
                        await reading.add(await reading.parsed(event.data), len(event.data))
            raise _Ended("completed")


class WebSocketCall(SubscriptionCall):
    """graphql-transport-ws."""

    def __init__(
        self,
        tool: Operation,
        binding: GraphQlBinding,
        plan: RequestPlan,
        contexts: TlsContexts,
        websockets: WebSockets,
    ) -> None:
        super().__init__(tool, binding, plan, contexts)
        self._websockets = websockets

    def preview(self, arguments: JsonObject) -> JsonObject:
        request = super().preview(arguments)
        return {
            **request,
            "method": "GET",
            "headers": {**_handshake(request["headers"]), "Sec-WebSocket-Protocol": TRANSPORT_WS},
            "body": _subscribe(request["body"]),
        }

    async def _stream(self, request: GraphQlRequest, reading: _Reading) -> RawAnswer:
        limit = self._bounds.max_bytes + 4096
        headers = _handshake(request.headers)
        try:
            async with self._websockets.connected(
                request.url, headers, protocol=TRANSPORT_WS, max_message_bytes=limit, tls=self._tls_context()
            ) as socket:
                if socket.protocol != TRANSPORT_WS:
                    raise BackendProtocolError(f"The back end of {self.name} failed: it does not speak {TRANSPORT_WS}")
                return await self._subscribed(socket, request, reading)
        except aiohttp.WSServerHandshakeError as error:
            status = error.status
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise BackendProtocolError(f"The back end of {self.name} failed: its answer is no WebSocket")
        text = REDIRECTED if status in REDIRECTS else "The back end opens no WebSocket at this address."
        return reading.refused(_phrase(status), text, request.place)

    async def _subscribed(
        self, socket: aiohttp.ClientWebSocketResponse, request: GraphQlRequest, reading: _Reading
    ) -> RawAnswer:
        # Browsers cannot send headers with a WebSocket, so servers look for the credential here, too.
        await _send(socket, {"type": "connection_init", "payload": self._plan.credentials_in(request)})
        is_acknowledged = False
        while True:
            frame = await self._frame(socket, reading)
            if frame.type is aiohttp.WSMsgType.CLOSE:
                return self._closed(frame.data, str(frame.extra or ""), request, reading)
            message = await reading.parsed(frame.data)
            kind, payload = message.get("type"), message.get("payload")
            if kind == "connection_ack" and not is_acknowledged:
                is_acknowledged = True
                await socket.send_str(_subscribe((request.data or b"{}").decode()))
                reading.begin()
            elif kind == "ping":
                await _send(socket, {"type": "pong"})
            elif kind == "pong":
                continue
            elif not is_acknowledged or message.get("id") != _ID:
                raise reading.nonsense()
            elif kind == "next" and is_object(payload):
                await reading.add(payload, len(frame.data))
            elif kind == "error" and is_array(payload):
                return reading.failed(payload)
            elif kind == "complete":
                raise _Ended("completed")
            else:
                raise reading.nonsense()

    async def _frame(self, socket: aiohttp.ClientWebSocketResponse, reading: _Reading) -> aiohttp.WSMessage:
        """The next text, or the close frame. Raises BackendUnavailable when the connection is gone."""
        while True:
            frame = await socket.receive()
            if frame.type is aiohttp.WSMsgType.TEXT:
                reading.received(len(frame.data))
                return frame
            if frame.type is aiohttp.WSMsgType.CLOSE and isinstance(frame.data, int) and frame.data >= _OWN_CODES:
                return frame
            if frame.type in _GONE:
                raise BackendUnavailable(f"The back end of {self.name} failed: the connection was lost")
            if frame.type is aiohttp.WSMsgType.ERROR and socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                raise _Ended("maxBytes")
            if frame.type not in {aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}:
                raise reading.nonsense()
            data = bytes(cast("bytes", frame.data))
            reading.received(len(data))
            if frame.type is aiohttp.WSMsgType.PING:
                await socket.pong(data)

    def _closed(self, code: int, reason: str, request: GraphQlRequest, reading: _Reading) -> RawAnswer:
        """The service closed the connection, and says why."""
        status = _phrase(_STATUSES[code]) if code in _STATUSES else f"WebSocket closed with {code}"
        return reading.refused(status, reason, request.place)


async def _send(socket: aiohttp.ClientWebSocketResponse, message: JsonObject) -> None:
    await socket.send_str(pydantic_core.to_json(message).decode())


def _subscribe(payload: str) -> str:
    return f'{{"id":"{_ID}","type":"subscribe","payload":{payload}}}'


def _handshake(headers: dict[str, str]) -> dict[str, str]:
    """The headers of a request that go with the handshake; those of a body do not."""
    return {name: value for name, value in headers.items() if name not in {"Accept", "Content-Type"}}


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
