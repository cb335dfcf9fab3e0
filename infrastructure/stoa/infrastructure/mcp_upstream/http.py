"""Streamable HTTP, of every revision (2025-11-25 and 2026-07-28, "Transports").

Each request is a POST, answered with JSON or with a stream of events that ends in the response. A stream of the
handshake era that breaks off is resumed by `Last-Event-ID`; one of the stateless era is lost with its request.
"""

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from yarl import URL

from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendProtocolError, BackendUnavailable, Unavailable
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client.backend_answers import content_type, too_large, unpacked
from stoa.infrastructure.http_client.failures import ResponseTooLong, after_another_request
from stoa.infrastructure.http_client.http1 import Http1Client, OpenResponse
from stoa.infrastructure.http_client.http1.pool import origin_of
from stoa.infrastructure.http_client.http1.response import text_of
from stoa.infrastructure.mcp_upstream import messages
from stoa.infrastructure.mcp_upstream.conversation import UNRELATED, Conversation, related
from stoa.infrastructure.mcp_upstream.duplex import MAX_PARTING
from stoa.infrastructure.mcp_upstream.events import Event, EventReader, EventTooLong
from stoa.infrastructure.mcp_upstream.messages import (
    MAX_MESSAGE_BYTES,
    Message,
    Notification,
    Request,
    Response,
    UpstreamFault,
)
from stoa.infrastructure.mcp_upstream.per_second import MAX_LINES, PerSecond
from stoa.infrastructure.mcp_upstream.session import (
    NO_ACCESS,
    STATELESS,
    Access,
    Call,
    Peer,
    Session,
    SessionGone,
    wanted_changes,
)

MAX_STREAM_BYTES = 4 * MAX_MESSAGE_BYTES
"""Upper bound on all events of one request."""
MAX_STREAM_LINES = 200_000
"""Upper bound on all events of one request."""
MAX_RESUMPTIONS = 50
MAX_RETRY_SECONDS = 10.0
GOODBYE_SECONDS = 5.0
"""For telling a server that a request is cancelled, or a session over."""
END_SECONDS = 0.05
LISTEN_SECONDS = 0.5
ESTABLISH_SECONDS = 1.0
"""For the head of the session's own stream, which some servers send with its first event."""
_JSON = "application/json"
_EVENTS = "text/event-stream"
_EITHER = f"{_JSON}, {_EVENTS}"
_REVISION = "MCP-Protocol-Version"
_NAME_PARAMETER = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def header_value(text: str) -> str:
    """A routing header's value (2026-07-28, "Encoding")."""
    is_plain = text.isascii() and (not text or text.isprintable()) and text == text.strip(" ")
    if is_plain and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode('ascii')}?="


class HttpSession(Session):
    """`tls`: the context of the server's own authority and client certificate; None: the gateway's trust store.
    `listens`: the session takes what the server sends apart from the streams of calls, as many send client requests."""

    def __init__(
        self,
        url: str,
        whose: str,
        capabilities: ClientCapabilities,
        http: Http1Client,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        tls: ssl.SSLContext | None = None,
        listens: bool = False,
    ) -> None:
        super().__init__(whose, capabilities)
        self._url = URL(url)
        self._http = http
        self._standing = {"Accept-Encoding": "identity", **dict(headers), "Content-Type": _JSON}
        """Headers of every request. What the session learns of the server joins them."""
        self._origin = origin_of(self._url, tls)
        self._target = self._url.raw_path_qs
        self._session_id: str | None = None
        self._is_introduced = False
        self.farewell = NO_ACCESS
        """For ending the session, which is no call."""
        self._listens = listens
        self._conversations: dict[messages.RequestId, _Streamed] = {}
        self._parting: set[asyncio.Task[None]] = set()

    async def request(self, method: str, params: JsonObject, call: Call) -> JsonObject:
        request_id = self._next_id()
        params = self._params(params, request_id, call)
        body = messages.request(request_id, method, params)
        headers = self._headers(call, _EITHER)
        if self.peer.is_stateless:
            headers["Mcp-Method"] = method
            if named := params.get(_NAME_PARAMETER.get(method, "")):
                headers["Mcp-Name"] = header_value(str(named))
            headers.update(call.headers)
        try:
            return await self._exchange(request_id, body, headers, call)
        except (UpstreamFault, SessionGone, Unavailable, OSError):
            raise
        except BaseException:  # the call is cancelled, or goes on with the client's next round
            if not self.peer.is_stateless and method != "initialize":  # where leaving is not enough
                self._part(self.notify("notifications/cancelled", {"requestId": request_id}, call.access))
            raise

    async def notify(self, method: str, params: JsonObject, access: Access = NO_ACCESS) -> None:
        await self.send(messages.notification(method, params), Call(access=access))

    async def watch(self, access: Access, established: Callable[[], None], uris: Sequence[str] = ()) -> None:
        call = Call(access=access)
        if self.peer.is_stateless:
            request_id = self._next_id()
            params = self._params({"notifications": wanted_changes(uris)}, request_id, call)
            headers = self._headers(call, _EITHER)
            headers["Mcp-Method"] = "subscriptions/listen"
            body = messages.request(request_id, "subscriptions/listen", params)
            response = await self._opened("POST", headers, access, body)
        else:
            response = await self._opened("GET", self._headers(call, _EVENTS), access)
        async with response:
            if response.status != 200 or _media_type(response) != _EVENTS:
                await self._refuse(response)
            established()
            async for event in self._events(response, limit=None):
                for message in await messages.read(event.data, self.whose) if event.data else []:
                    if isinstance(message, Notification):
                        self._tell_change(message)

    async def close(self) -> None:
        """Tell the server that the session is over, if it has one, and end what is still being sent."""
        if self.is_closed:
            return
        self.is_closed = True
        for task in [*self._parting]:
            task.cancel()
        await asyncio.gather(*self._parting, return_exceptions=True)
        if self._session_id is not None:
            with contextlib.suppress(Exception):  # it forgets the session by itself in the end
                async with asyncio.timeout(GOODBYE_SECONDS):
                    (await self._opened("DELETE", self._headers(Call(), None), self.farewell)).close()

    async def _discover(self, access: Access, *, is_only: bool) -> bool:
        self._agree(Peer(STATELESS, {}, {}))  # the request that asks is one of that era already
        try:
            is_known = self._discovered(await self.request("server/discover", {}, Call(access=access)))
        except (UpstreamFault, BackendProtocolError):  # older servers refuse it in many ways
            is_known = False
        if not is_known:
            del self._standing[_REVISION]
        if is_only and not is_known:
            raise BackendUnavailable(f"The back end of {self.whose} failed: it does not speak {STATELESS}")
        self.has_state = not is_known
        return is_known

    async def _initialize(self, access: Access, revision: str) -> None:
        await super()._initialize(access, revision)
        self._is_introduced = True
        self.has_state = self._session_id is not None
        if self._listens and self.has_state:
            listening = asyncio.Event()
            self._part(self._listen(listening.set), seconds=None)
            with contextlib.suppress(TimeoutError):  # a request that came before the stream stands could be lost
                async with asyncio.timeout(ESTABLISH_SECONDS):
                    await listening.wait()

    async def _listen(self, established: Callable[[], None]) -> None:
        """Take what the server sends on the session's own stream, for as long as the server offers one."""
        delay = LISTEN_SECONDS
        while True:
            async with await self._opened("GET", self._headers(Call(), _EVENTS), self.farewell) as response:
                established()
                if response.status != 200:
                    return
                with contextlib.suppress(OSError):
                    async for event in self._events(response, limit=None):
                        for message in await messages.read(event.data, self.whose) if event.data else []:
                            await self._take(message)
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_RETRY_SECONDS)

    async def _take(self, message: Message) -> None:
        conversation = related(message, self._conversations)
        if conversation is not None:
            await conversation.handle(message)
        elif isinstance(message, Request) and len(self._parting) < MAX_PARTING:
            is_ping = message.method == "ping"
            answer = messages.response(message.id, {}) if is_ping else messages.fault_response(message.id, UNRELATED)
            self._part(self.send(answer, Call(access=self.farewell)))

    async def _exchange(self, request_id: int, body: bytes, headers: dict[str, str], call: Call) -> JsonObject:
        conversation: _Streamed | None = None
        if self._listens:  # the session's own stream may bring a part of it before there is a response
            conversation = self._conversations[request_id] = _Streamed(request_id, self, call)
        try:
            async with await self._opened("POST", headers, call.access, body) as response:
                kind = _media_type(response)
                self._take_session_id(response)
                if response.status != 200 or kind != _EVENTS:
                    return await self._single(response, kind, request_id)
                conversation = conversation or _Streamed(request_id, self, call)
                position = await self._follow(response, conversation, None)
            found = conversation.outcome()
            if found is not None:
                return found
            with after_another_request():
                return await self._resumed(conversation, position, call)
        finally:
            if conversation is not None:
                self._conversations.pop(request_id, None)
                conversation.close()

    async def _single(self, response: OpenResponse, kind: str, request_id: int) -> JsonObject:
        """The response in a body of JSON."""
        if response.status != 200 or kind != _JSON:
            await self._refuse(response)
        for message in await messages.read(await self._body(response), self.whose):
            if isinstance(message, Response) and message.id == request_id:
                if message.fault is not None:
                    raise message.fault
                return message.result
        raise BackendProtocolError(f"The back end of {self.whose} failed: its answer is to another request")

    async def _follow(
        self, response: OpenResponse, conversation: "_Streamed", position: str | None
    ) -> tuple[str | None, float]:
        """Pass on the events of a stream. Returns the last event id and the seconds to wait before it is asked for
        more."""
        conversation.stream = response
        retry_seconds = 0.0
        try:
            async for event in self._events(response, limit=MAX_STREAM_BYTES):
                position = event.id or position
                retry_seconds = retry_seconds if event.retry_ms is None else event.retry_ms / 1000
                for message in await messages.read(event.data, self.whose) if event.data else []:
                    await conversation.handle(message)
                if conversation.response is not None:
                    await _finish(response)
                    break
        except OSError:
            if conversation.failure is None and (position is None or self.peer.is_stateless):
                raise
        return position, min(retry_seconds, MAX_RETRY_SECONDS)

    async def _resumed(
        self,
        conversation: "_Streamed",
        position: tuple[str | None, float],
        call: Call,
    ) -> JsonObject:
        """The response of a stream that ended before it (2025-11-25, "Resumability and Redelivery")."""
        for _ in range(MAX_RESUMPTIONS):
            event_id, retry_seconds = position
            if event_id is None or self.peer.is_stateless:
                break
            await asyncio.sleep(retry_seconds)
            headers = self._headers(call, _EVENTS)
            headers["Last-Event-ID"] = event_id
            async with await self._opened("GET", headers, call.access) as response:
                if response.status != 200:
                    await self._refuse(response)
                position = await self._follow(response, conversation, event_id)
            found = conversation.outcome()
            if found is not None:
                return found
        raise BackendUnavailable(f"The back end of {self.whose} failed: its stream ended before the response")

    async def _events(self, response: OpenResponse, limit: int | None) -> AsyncIterator[Event]:
        if (response.head.header("Content-Encoding") or "identity") != "identity":
            raise BackendProtocolError(f"The back end of {self.whose} failed: its stream has an encoding unasked")
        reader, pace, total, lines = EventReader(MAX_MESSAGE_BYTES), PerSecond(MAX_LINES), 0, 0
        try:
            while piece := await response.piece():
                total += len(piece)
                if limit is not None and total > limit:
                    raise too_large(self.whose, limit)
                for event in reader.feed(piece):
                    yield event
                if reader.lines > MAX_STREAM_LINES if limit is not None else not pace.takes(reader.lines - lines):
                    raise messages.flood(self.whose)
                lines = reader.lines
        except EventTooLong:
            raise too_large(self.whose, MAX_MESSAGE_BYTES) from None

    async def send(self, body: bytes, call: Call) -> None:
        """A notification, or an answer to a request of the server."""
        headers = self._headers(call, _EITHER)
        async with await self._opened("POST", headers, call.access, body) as response:
            if response.status not in {200, 202, 204}:
                await self._refuse(response)

    async def _opened(
        self, method: str, headers: dict[str, str], access: Access, body: bytes | None = None
    ) -> OpenResponse:
        """Sent again with another token if the first one is refused: nothing was done then. Closing the response before
        its end cancels the request in the stateless era."""
        url = await access.apply(headers, self._url)
        target = self._target if url is self._url else url.raw_path_qs
        response = await self._http.request(self._origin, method, target, headers, body, None)
        if response.status == 401 and access.refused():
            response.close()
            target = (await access.apply(headers, self._url)).raw_path_qs
            with after_another_request():
                response = await self._http.request(self._origin, method, target, headers, body, None)
        return response

    async def _body(self, response: OpenResponse) -> bytes:
        try:
            body = await response.read(MAX_MESSAGE_BYTES)
        except ResponseTooLong:
            raise too_large(self.whose, MAX_MESSAGE_BYTES) from None
        encoding = response.head.fields.get(b"content-encoding")
        return await unpacked(body, text_of(encoding), self.whose, MAX_MESSAGE_BYTES) if body and encoding else body

    async def _refuse(self, response: OpenResponse) -> None:
        """Raise what an answer without a result means."""
        status = response.status
        problem = f"The back end of {self.whose} failed: "
        if status in {401, 403}:
            raise BackendUnavailable(f"{problem}it does not accept the gateway's credential ({status})")
        if status in {408, 425, 429} or status >= 500:
            raise BackendUnavailable(f"{problem}it answered {status}")
        if status in _REDIRECTS:
            raise BackendProtocolError(f"{problem}it redirects, which is not followed; write the final address as url")
        fault = await self._fault(response)
        if self._session_id is not None and self._is_introduced and _says_that_the_session_is_gone(status, fault):
            raise SessionGone
        if fault is not None:
            raise fault
        raise BackendProtocolError(f"{problem}it answered {status} without a JSON-RPC message")

    async def _fault(self, response: OpenResponse) -> UpstreamFault | None:
        if _media_type(response) != _JSON:
            return None
        try:
            found = await messages.read(await self._body(response), self.whose)
        except BackendProtocolError:
            return None
        return next((message.fault for message in found if isinstance(message, Response)), None)

    def _take_session_id(self, response: OpenResponse) -> None:
        if self._is_introduced or self.peer.is_stateless:
            return
        named = response.head.header("Mcp-Session-Id")
        if named is not None:
            if not _SESSION_ID.fullmatch(named):
                raise BackendProtocolError(f"The back end of {self.whose} failed: its session id is none")
            self._session_id = self._standing["Mcp-Session-Id"] = named

    def _agree(self, peer: Peer) -> None:
        super()._agree(peer)
        self._standing[_REVISION] = peer.revision

    def _headers(self, call: Call, accepted: str | None) -> dict[str, str]:
        headers = self._standing.copy()
        if accepted is not None:
            headers["Accept"] = accepted
        if call.request_id:
            headers["X-Request-ID"] = call.request_id
        if call.trace is not None:
            headers["traceparent"] = call.trace.traceparent
            if call.trace.state:
                headers["tracestate"] = call.trace.state
        return headers

    def _part(self, message: Coroutine[Any, Any, None], seconds: float | None = GOODBYE_SECONDS) -> None:
        """Do in the background what no call waits for."""

        async def send() -> None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(seconds):
                    await message

        task = asyncio.create_task(send(), name="tell an upstream MCP server")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)


class _Streamed(Conversation):
    """A request whose response comes on a stream of events."""

    def __init__(self, request_id: messages.RequestId, session: HttpSession, call: Call) -> None:
        super().__init__(
            request_id, call.listener, lambda answer: session.send(answer, Call(access=call.access)), self._end_stream
        )
        self.stream: OpenResponse | None = None
        """The response that its events come on now."""

    def _end_stream(self) -> None:
        if self.stream is not None:
            self.stream.close()


def _media_type(response: OpenResponse) -> str:
    return content_type(text_of(response.head.fields.get(b"content-type", b"")))[0]


async def _finish(response: OpenResponse) -> None:
    """Wait a moment for the end of a stream that has nothing more to say, so that its connection can be used again."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(END_SECONDS):
            while await response.piece():
                pass


def _says_that_the_session_is_gone(status: int, fault: UpstreamFault | None) -> bool:
    """404 by the protocol; 400 and a text of servers that lost their sessions in a restart."""
    return status == 404 or (status == 400 and fault is not None and "session" in fault.message.lower())
