"""One exchange between a client and the engine, on any transport: no connections, only values and one port."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import Credential
from stoa.domain.calls.session import Session
from stoa.interfaces.mcp.jsonrpc.messages import Request
from stoa.interfaces.mcp.streams.event_queue import EventQueue
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.bodies import Admission
from stoa.interfaces.wire.revisions import Revision
from stoa.interfaces.wire.views import EVERYTHING, View

JSON = (b"content-type", b"application/json")
PLAIN = (JSON,)
"""Headers of an answer that is JSON and nothing else."""


class Refused(NamedTuple):
    """One refusal for metrics and logs: its reason, and an HTTP status, which may differ from the one on the wire."""

    reason: RefusalReason
    status: int


@dataclass(slots=True)  # not frozen: one is made for every request, and freezing costs time
class Reply:
    """The answer to an exchange: one JSON message or batch, nothing (202), or a stream of events."""

    status: int
    """HTTP status; 202: accepted, without a message."""
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers on HTTP only. The body repeats their content if the protocol has a member for it."""
    events: EventQueue | None = None
    """Messages to send instead of a body, as they come."""
    session: Session | None = None
    """The session that this answer begins."""
    refusals: tuple[Refused, ...] = ()
    """Empty: the request was served. The reply to a batch has one for each message that was refused."""


class ResponseStream(Protocol):
    """The response to one request while it is being made: takes messages that come before the answer. Messages that
    come after the answer, or when the client is gone, are dropped."""

    @abstractmethod
    async def notify(self, message: bytes) -> None: ...

    @abstractmethod
    async def hang_up(self) -> None:
        """Close the connection if the client can resume the stream later."""
        ...

    @abstractmethod
    def record(self, recording: EventRecording) -> None:
        """Put every further message on this recording. The engine calls it once it knows the session, before any
        message; transports whose clients cannot come back ignore it."""
        ...


@dataclass(slots=True)  # not frozen, as Reply
class Exchange:
    """One message or batch of a client, with everything that its transport knows about it."""

    credential: Credential
    message: Any = None
    """The parsed JSON; None with `rejection`, and for HTTP requests without a body."""
    caller: Admission | None = None
    """The result of authentication by the transport: the principal, or the error to refuse it with."""
    headers: Headers | None = None
    """The HTTP headers; None: the transport has none, so nothing is compared with the message."""
    version: str | None = None
    """The protocol revision that is named outside of the message."""
    session_id: str | None = None
    rejection: Reply | None = None
    """The transport's refusal (media type, size, syntax). Only authenticated callers get it."""
    tenant: TenantId | None = None
    view: View = EVERYTHING
    consumer: str = "unknown"
    request_id: str | None = None
    address: str | None = None
    """The client's network address. Requests that fail to authenticate count against it."""
    stream: ResponseStream | None = None
    """None: the client takes a single answer only."""


@dataclass(slots=True)  # not frozen, as Reply
class MethodCall:
    """A request on its way to the handler of its method."""

    request: Request
    revision: Revision
    caller: Principal
    exchange: Exchange = field(repr=False)
    session: Session | None = None
    """None: a request that stands for itself."""
