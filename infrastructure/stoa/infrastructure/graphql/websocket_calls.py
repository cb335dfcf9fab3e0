"""Subscriptions over graphql-transport-ws (github.com/enisdenjo/graphql-ws, PROTOCOL.md). Only they need aiohttp, so
this module is imported with the first tool of their kind.
"""

import asyncio
from http import HTTPStatus
from typing import cast

import aiohttp
import pydantic_core

from stoa.domain.errors import BackendError, BackendProtocolError, BackendUnavailable
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.graphql.calls import REDIRECTED, REDIRECTS
from stoa.infrastructure.graphql.request import GraphQlRequest, RequestPlan
from stoa.infrastructure.graphql.subscriptions import Ended, Reading, SubscriptionCall
from stoa.infrastructure.http_client.backend_errors import TRANSLATED, translated
from stoa.infrastructure.http_client.tls_secrets import TlsContexts
from stoa.infrastructure.http_client.websockets import WebSockets, say_goodbye

TRANSPORT_WS = "graphql-transport-ws"
"""The WebSocket subprotocol."""

_ID = "1"
_OWN_CODES = 4000
"""Close codes from here on are the application protocol's (RFC 6455 section 7.4.2)."""
_STATUSES = {4401: HTTPStatus.UNAUTHORIZED, 4403: HTTPStatus.FORBIDDEN}
_CONTROL_BYTES = 8 * 1024
"""Bytes that a ping or pong counts as: each takes as long as a message, and an honest peer sends a few in a minute."""
_GONE = frozenset({aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED})


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

    async def _stream(self, request: GraphQlRequest, reading: Reading) -> RawAnswer:
        limit = self._bounds.max_bytes + 4096
        headers = _handshake(request.headers)
        problem: BackendError | None = None
        status: int = HTTPStatus.SWITCHING_PROTOCOLS
        try:
            async with self._websockets.connected(
                request.url, headers, protocol=TRANSPORT_WS, max_message_bytes=limit, tls=self._tls_context()
            ) as socket:
                if socket.protocol != TRANSPORT_WS:
                    raise BackendProtocolError(f"The back end of {self.name} failed: it does not speak {TRANSPORT_WS}")
                try:
                    return await self._subscribed(socket, request, reading)
                except Ended as ended:
                    if str(ended) != "maxBytes":  # one that sends too much is not listened to any more
                        await say_goodbye(socket)
                    raise
        except aiohttp.WSServerHandshakeError as error:
            status = error.status
        except TRANSLATED as error:
            problem = translated(error, self.name)
        if problem is not None:
            raise problem  # outside the handler: what aiohttp says quotes URL and headers, and with them secrets
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise BackendProtocolError(f"The back end of {self.name} failed: its answer is no WebSocket")
        text = REDIRECTED if status in REDIRECTS else "The back end opens no WebSocket at this address."
        return reading.refused(_phrase(status), text, request.place)

    async def _subscribed(
        self, socket: aiohttp.ClientWebSocketResponse, request: GraphQlRequest, reading: Reading
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
                reading.received(_CONTROL_BYTES)
                await _send(socket, {"type": "pong"})
            elif kind == "pong":
                reading.received(_CONTROL_BYTES)
            elif not is_acknowledged or message.get("id") != _ID:
                raise reading.nonsense()
            elif kind == "next" and is_object(payload):
                await reading.add(payload, len(frame.data))
            elif kind == "error" and is_array(payload):
                return reading.failed(payload)
            elif kind == "complete":
                raise Ended("completed")
            else:
                raise reading.nonsense()

    async def _frame(self, socket: aiohttp.ClientWebSocketResponse, reading: Reading) -> aiohttp.WSMessage:
        """The next text, or the close frame. Raises BackendUnavailable when the connection is gone."""
        while True:
            if reading.is_turn_over():
                await asyncio.sleep(0)
            frame = await socket.receive()
            if frame.type is aiohttp.WSMsgType.TEXT:
                reading.received(len(frame.data))
                return frame
            if frame.type is aiohttp.WSMsgType.CLOSE and isinstance(frame.data, int) and frame.data >= _OWN_CODES:
                return frame
            if frame.type in _GONE:
                raise BackendUnavailable(f"The back end of {self.name} failed: the connection was lost")
            if frame.type is aiohttp.WSMsgType.ERROR and socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                raise Ended("maxBytes")
            if frame.type not in {aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}:
                raise reading.nonsense()
            data = bytes(cast("bytes", frame.data))
            reading.received(len(data) + _CONTROL_BYTES)
            if frame.type is aiohttp.WSMsgType.PING:
                await socket.pong(data)

    def _closed(self, code: int, reason: str, request: GraphQlRequest, reading: Reading) -> RawAnswer:
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
