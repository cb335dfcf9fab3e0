"""One exchange as the engine sees it, whatever the transport: no connections, only values."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import Credential
from stoa.domain.calls.session import Session
from stoa.interfaces.mcp.jsonrpc.messages import Request
from stoa.interfaces.mcp.streams.feeds import Feed
from stoa.interfaces.mcp.streams.streams import Recording
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.bodies import Admission
from stoa.interfaces.wire.revisions import Revision

JSON = (b"content-type", b"application/json")


class Refused(NamedTuple):
    """What a reply that is a refusal is counted as."""

    reason: RefusalReason
    status: int
    """As HTTP counts, whatever status the protocol sends it with."""


@dataclass(slots=True)
class Reply:
    """What goes back: one JSON message, nothing (202), or a stream of events."""

    status: int
    """As HTTP counts; 202: there is nothing to say."""
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Of HTTP alone; what they say is in the body too, where the protocol has a place for it."""
    feed: Feed | None = None
    """Messages to send instead of a body, as they come."""
    session: Session | None = None
    """The session that this answer begins."""
    refused: Refused | None = None
    """None: the answer is no refusal."""


class ResponseStream(Protocol):
    """Where messages go that belong to a request and come before its answer; after it, and when the client is gone,
    they are dropped."""

    @abstractmethod
    async def notify(self, message: bytes) -> None: ...

    @abstractmethod
    async def hang_up(self) -> None:
        """Close the connection if the client can come back for what follows."""
        ...

    @abstractmethod
    def record(self, recording: Recording) -> None:
        """From now on every message belongs on this recording, if a client of this transport could come back for it."""
        ...


@dataclass(frozen=True, slots=True)
class View:
    """What of the catalogue's tools a client is shown, and how, as it chose itself. No permission: what is not shown
    can be called all the same by whoever may."""

    is_faithful: bool = False
    """Input schemas as they are, not as every client understands them."""
    tags: frozenset[str] = frozenset()
    """Tools with at least one of these; empty: all."""
    toolset: str | None = None
    """Tools of this ToolSet."""


EVERYTHING = View()


@dataclass(slots=True)
class Exchange:
    """A message of a client on its way in."""

    body: bytes
    credential: Credential
    caller: Admission | None = None
    """Where the transport authenticated already: who this is, or why it is refused."""
    headers: Headers | None = None
    """What HTTP says of the message; None: the transport has none, and there is nothing to hold the message against."""
    version: str | None = None
    """The protocol revision, where it is said outside of the message."""
    session_id: str | None = None
    rejection: Reply | None = None
    """What the transport refuses (media type, size); it is told to authenticated callers only."""
    tenant: TenantId | None = None
    view: View = EVERYTHING
    consumer: str = "unknown"
    request_id: str | None = None
    address: str | None = None
    """Of the client, on a network; what is counted against it are requests that nobody vouches for."""
    stream: ResponseStream | None = None
    """None: the client takes a single answer only."""


@dataclass(slots=True)
class MethodCall:
    """A request on its way to the handler of its method."""

    request: Request
    revision: Revision
    caller: Principal
    exchange: Exchange = field(repr=False)
    session: Session | None = None
    """None: a request that stands for itself."""
