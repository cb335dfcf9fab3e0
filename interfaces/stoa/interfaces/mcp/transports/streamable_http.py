"""The Streamable HTTP transport as a bare ASGI application: reads a request, asks the engine, sends JSON or events.

A POST is authenticated by its headers before its body is read, so that strangers cannot make the gateway hold bodies.
`streamable_response.py` sends the answer, `server_sent_events.py` the streams of GET and of `subscriptions/listen`.
"""

import asyncio
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, Self

from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import BearerToken, Caller, Credential
from stoa.domain.errors import BodyTooLarge, InvalidInput, StoaError, UnsupportedCoding
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.engine.replies import fault_reply
from stoa.interfaces.mcp.exchange import JSON, Exchange, Refused, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_REQUEST, Fault
from stoa.interfaces.mcp.transports.server_sent_events import Receive, Send, stream_events
from stoa.interfaces.mcp.transports.streamable_response import (
    ATTEND_AFTER_SECONDS,
    SESSION_HEADER,
    Attendance,
    ResponseState,
    StreamableResponse,
    send_reply,
)
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.bodies import (
    CALLER_KEY,
    CODINGS,
    Admission,
    Bodies,
    Body,
    BodyIncomplete,
    Share,
    as_length,
    closing,
    declared_length,
    read_small,
)
from stoa.interfaces.wire.credentials import credential_of, tenant_of
from stoa.interfaces.wire.errors import REASONS_BY_STATUS
from stoa.interfaces.wire.json_text import LARGE_BYTES, PacedParser
from stoa.interfaces.wire.revisions import HANDSHAKE_REVISIONS
from stoa.interfaces.wire.views import EVERYTHING, View, read_query

Scope = MutableMapping[str, Any]
_CLOSE = (b"connection", b"close")


class WholePost(Protocol):
    """A POST whose body came with its head, and the way to answer it."""

    task: asyncio.Task[None] | None
    """The task that answers it, if it has one."""
    account: tuple[Hashable, Hashable] | None
    """To be set to (tenant, authorization key) of the caller."""

    @property
    def request(self) -> "WholeHead": ...

    @property
    def client(self) -> tuple[str, int] | None: ...

    def respond(self, json: bytes) -> bool:
        """Answers with status 200 and this JSON at once. False: nothing was sent, `send` has to."""
        ...

    async def receive(self) -> MutableMapping[str, Any]: ...

    async def send(self, message: MutableMapping[str, Any]) -> None: ...


class WholeHead(Protocol):
    """The header fields of a request, none of them repeated; names in lower case."""

    derived: Any
    """Kept for requests with an equal head; None at first."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]: ...

    @property
    def by_name(self) -> dict[bytes, bytes]: ...


@dataclass(slots=True)
class _Head:
    """The fields of the head of a POST, looked up once."""

    headers: Headers
    address: str | None
    credential: Credential
    takes_json: bool
    takes_events: bool
    version: str | None
    is_cancelled_by_leaving: bool
    """A closed connection cancels the call: in the stateless era, where the handshake era must not."""
    consumer: str
    query: bytes
    known: Caller | None = None
    """The caller that its credential proved at the latest request with this head."""

    @classmethod
    def of(cls, headers: Headers, address: str | None, credential: Credential, query: bytes) -> Self:
        takes_json, takes_events = _accepted(headers.get(b"accept"))
        version = headers.get(b"mcp-protocol-version")
        is_stateless = version is not None and version not in HANDSHAKE_REVISIONS
        consumer = headers.get(b"x-consumer-id") or "unknown"
        return cls(headers, address, credential, takes_json, takes_events, version, is_stateless, consumer, query)


class StreamableHttp:
    """Serves POST, GET and DELETE of the MCP endpoint. `late_seconds`: an answer that takes longer is streamed, with a
    ping per such interval. `view`: the default view for URLs that choose none. `address_of`: the address that an
    unauthenticated request counts against; None: not limited. `bodies`: bounds the bytes of requests that are held.
    `principal_of`: the caller of a request that was authenticated before; without it the Authorization header has a
    token to verify. `attend_after_seconds`: see `streamable_response`."""

    def __init__(
        self,
        engine: McpEngine,
        *,
        late_seconds: float = 15.0,
        view: View = EVERYTHING,
        address_of: Callable[[Scope], str | None] = lambda _: None,
        bodies: Bodies | None = None,
        attend_after_seconds: float = ATTEND_AFTER_SECONDS,
        principal_of: Callable[[Scope], Principal | None] | None = None,
    ) -> None:
        self._engine = engine
        self._principal_of = principal_of
        self._address_of = address_of
        self._bodies = bodies or Bodies()
        self._late_seconds = late_seconds
        self._view = view
        self._attendance = Attendance(attend_after_seconds)
        self._parser = PacedParser()

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
            # The body of a POST is not read: the connection closes, or its bytes would be taken for the next request.
            await send_reply(closing(send) if scope["method"] == "POST" else send, refusal)
            return
        if scope["method"] != "POST":
            await self._answer_session_request(scope, headers, address, credential, receive, send)
            return
        caller = await self._engine.admit(credential)
        share: Share | None = None
        try:
            if isinstance(caller, StoaError):
                # A stranger's body is read only as far as the record of its refusal needs it.
                small = await read_small(declared_length(scope["headers"]), receive)
                content: Body | Reply = small or b""
                respond = closing(send) if small is None else send
            else:
                scope[CALLER_KEY] = (caller.tenant, caller.authorization_key)
                share = Share(self._bodies, caller)
                content = await self._read(headers, share, receive)
                respond = send
            head = _Head.of(headers, address, credential, scope["query_string"])
            await self._answer(head, caller, content, receive, respond, send)
        except BodyIncomplete:
            return
        finally:
            if share is not None and share.size:
                share.release()

    async def answer_whole(self, post: WholePost, body: bytes) -> None:
        """Answers a POST without a query, of JSON that came whole with its head and is small: what `__call__` does for
        it, without reading."""
        head = post.request.derived
        if head.__class__ is not _Head:
            head = post.request.derived = self._head_of(post)
        credential = head.credential
        refusal = self._engine.refuse_stranger(head.address, credential)
        if refusal is not None:
            await send_reply(closing(post.send), refusal)
            return
        caller = self._engine.recognise(credential) or await self._engine.admit(credential)
        if not isinstance(caller, StoaError):
            post.account = (caller.tenant, caller.authorization_key)
            if head.known is None or head.known.principal is not caller:
                head.known = Caller(caller, credential if isinstance(credential, BearerToken) else None)
        await self._answer(head, caller, body, post.receive, post.send, post.send, post)

    def _head_of(self, post: WholePost) -> _Head:
        fields = post.request.fields
        headers = Headers.of_unrepeated(post.request.by_name)
        address = self._address_of({"client": post.client, "headers": fields})
        return _Head.of(headers, address, credential_of(headers.get(b"authorization")), b"")

    async def _answer(
        self,
        head: _Head,
        caller: Admission,
        content: Body | Reply,
        receive: Receive,
        respond: Send,
        send: Send,
        post: WholePost | None = None,
    ) -> None:
        """Answers a POST. `content`: its body, or the rejection of one that was not read. A request that is wrong in
        several ways is rejected for its body first, then for Accept, its query and its JSON."""
        headers, takes_json, takes_events, query = head.headers, head.takes_json, head.takes_events, head.query
        rejection = content if isinstance(content, Reply) else None
        if rejection is None and not (takes_json or takes_events):
            rejection = _reject(406, "Accept application/json or text/event-stream")
        tenant, view = None, self._view
        if query:
            try:
                tenant, view = read_query(query, self._view)
            except InvalidInput as error:
                rejection = rejection or _reject(400, error.message)
        message = None
        if rejection is None and not isinstance(content, Reply):
            try:
                if len(content) > LARGE_BYTES:
                    message = await messages.parse_paced(content, self._parser)
                else:
                    message = messages.parse(content)
            except Fault as fault:
                rejection = fault_reply(fault, fault.http_status)
        response = StreamableResponse(
            respond,
            receive if head.is_cancelled_by_leaving else None,
            self._late_seconds if takes_events else None,
            takes_json,
            self._attendance,
            None if post is None else post.respond,
            None if post is None else post.task,
        )
        known = head.known
        exchange = Exchange(
            head.credential if known is None or known.principal is not caller else known,
            message,
            caller,
            headers,
            head.version,
            headers.get(SESSION_HEADER),
            rejection,
            tenant,
            view,
            head.consumer,
            headers.get(b"x-request-id"),
            head.address,
            response if takes_events else None,
        )
        events = await response.deliver(self._engine.answer(exchange))
        if events is not None:
            is_started = response.state is ResponseState.STREAMING
            await stream_events(events, self._late_seconds, receive, send, is_started=is_started)

    async def _read(self, headers: Headers, share: Share, receive: Receive) -> Body | Reply:
        """The body of an authenticated caller, or its rejection, which closes the connection where bytes of the body
        are still on it. Raises BodyIncomplete."""
        length = headers.get(b"content-length")
        try:
            declared = None if length is None else as_length(length)
            coding = headers.get(b"content-encoding")
            if coding is None:
                content = await share.read(declared, receive)
            else:
                content = await share.read_coded(declared, receive, coding)
        except BodyTooLarge as error:
            return _reject(413, error.message, _CLOSE)
        except UnsupportedCoding as error:
            return _reject(415, error.message, (b"accept-encoding", CODINGS), _CLOSE)
        except InvalidInput as error:
            return _reject(400, error.message)
        except StoaError as error:
            reply = self._engine.refused(error)
            return replace(reply, headers=(*reply.headers, _CLOSE))
        media_type = (headers.get(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return _reject(415, "Content-Type must be application/json")
        return content

    async def _answer_session_request(
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
            credential,
            headers=headers,
            version=headers.get(b"mcp-protocol-version"),
            session_id=headers.get(SESSION_HEADER),
            rejection=None if takes_events else _reject(406, "Accept text/event-stream"),
            tenant=tenant_of(scope["query_string"]),
            address=address,
        )
        last_event_id = headers.get(b"last-event-id")
        reply = await self._engine.answer_session_request(scope["method"], exchange, last_event_id)
        if reply.events is None:
            await send_reply(send, reply)
        else:
            await stream_events(reply.events, self._late_seconds, receive, send)


@lru_cache(maxsize=256)  # clients say the same few things
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
    return Reply(status, messages.error(None, INVALID_REQUEST, message), (JSON, *headers), refusals=(refused,))
