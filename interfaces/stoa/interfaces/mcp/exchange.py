"""One HTTP exchange as the engine sees it: no sockets, only values."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

from stoa.domain.identity import Principal, TenantId
from stoa.domain.invocation import Credential
from stoa.interfaces.mcp.headers import Headers
from stoa.interfaces.mcp.messages import Request
from stoa.interfaces.mcp.revisions import Revision

JSON = (b"content-type", b"application/json")


@dataclass(slots=True)
class Reply:
    """What goes back: one JSON message, or nothing (202)."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class ResponseStream(Protocol):
    """Where messages go that belong to a request and come before its answer. The first one makes the answer an event
    stream; after the answer, and when the client is gone, they are dropped."""

    @abstractmethod
    async def notify(self, message: bytes) -> None: ...


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


@dataclass(slots=True)
class MethodCall:
    """A request on its way to the handler of its method."""

    request: Request
    revision: Revision
    caller: Principal
    exchange: Exchange = field(repr=False)
