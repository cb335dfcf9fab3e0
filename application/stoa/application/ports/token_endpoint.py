"""Requests access tokens from an OAuth2 authorization server."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

from stoa.domain.calls.invocation import BearerToken


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Client credentials (RFC 6749 section 4.4); with a `subject`, the exchange of its token (RFC 8693)."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    audience: str | None = None
    scopes: tuple[str, ...] = ()
    subject: BearerToken | None = None


@dataclass(frozen=True, slots=True)
class GrantedToken:
    value: str = field(repr=False)
    """A bearer token in visible ASCII."""
    lifetime_seconds: float | None = None
    """Lifetime from now on, 0 or more; None: the server sent none."""


class TokenEndpoint(Protocol):
    """Laws:

    - A token is given for the client, audience, scopes and subject of this very request.
    - Client secret and subject token go to `url` and nowhere else; no redirect is followed.
    - Nothing that was sent or answered is in an error, a log line or a repr.
    - An answer comes in bounded time, also when the server is silent.

    Raises UpstreamAccessDenied if the server refuses such a token to the subject; BackendUnavailable if it is away or
    refuses the client itself, BackendTimedOut, and BackendProtocolError for an answer that no token endpoint gives.
    """

    @abstractmethod
    async def grant(self, request: TokenRequest) -> GrantedToken: ...

    @abstractmethod
    async def close(self) -> None:
        """Release connections; no request is made afterwards."""
        ...
