"""One HTTP exchange as the engine sees it: no sockets, only values."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

from stoa.domain.identity import Principal, TenantId
from stoa.domain.invocation import Credential
from stoa.domain.session import Session
from stoa.interfaces.mcp.feeds import Feed
from stoa.interfaces.mcp.headers import Headers
from stoa.interfaces.mcp.messages import Request
from stoa.interfaces.mcp.revisions import Revision
from stoa.interfaces.mcp.streams import Recording

JSON = (b"content-type", b"application/json")


@dataclass(slots=True)
class Reply:
    """What goes back: one JSON message, nothing (202), or a stream of events."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    feed: Feed | None = None
    """An event stream to send instead of a body."""


class ResponseStream(Protocol):
    """Where messages go that belong to a request and come before its answer. The first one makes the answer an event
    stream; after the answer, and when the client is gone, they are dropped."""

    @abstractmethod
    async def notify(self, message: bytes) -> None: ...

    @abstractmethod
    async def hang_up(self) -> None:
        """Close the connection if the client can come back for what follows."""
        ...


@dataclass(slots=True)
class Exchange:
    """A POST to the endpoint."""

    headers: Headers
    body: bytes
    credential: Credential
    rejection: Reply | None = None
    """What the transport refuses (media type, size); it is told to authenticated callers only."""
    tenant: TenantId | None = None
    consumer: str = "unknown"
    request_id: str | None = None
    stream: ResponseStream | None = None
    """None: the client takes a single answer only."""
    recording: Recording | None = None
    """Keeps the events of the stream, so that a client may come back for them."""


@dataclass(slots=True)
class MethodCall:
    """A request on its way to the handler of its method."""

    request: Request
    revision: Revision
    caller: Principal
    exchange: Exchange = field(repr=False)
    session: Session | None = None
    """None: a request that stands for itself."""
