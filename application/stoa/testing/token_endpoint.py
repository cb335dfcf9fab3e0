"""An authorization server in this process, for simulations and tests: its tokens open nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from stoa.application.ports.token_endpoint import GrantedToken, TokenEndpoint, TokenRequest
from stoa.domain.errors import BackendUnavailable, UpstreamAccessDenied


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The facts that a token stands for."""

    client_id: str
    audience: str | None
    scopes: tuple[str, ...]
    subject: str | None
    """The name of the subject acted for; None: the client itself."""


class InMemoryTokenEndpoint(TokenEndpoint):
    """Issues tokens to the clients and subjects that were added, and remembers the meaning of each."""

    def __init__(self, url: str, *, lifetime_seconds: float | None = 300.0) -> None:
        self.url = url
        self.lifetime_seconds = lifetime_seconds
        self.issued: dict[str, IssuedToken] = {}
        self._clients: dict[str, tuple[str, frozenset[str]]] = {}
        self._subjects: dict[str, str] = {}

    def add_client(self, client_id: str, secret: str, *, audiences: Iterable[str] = ()) -> None:
        """Add a client, or change its secret. `audiences`: the back ends that it may get tokens for."""
        self._clients[client_id] = (secret, frozenset(audiences))

    def add_subject(self, token: str, name: str) -> None:
        """Accept `token` for exchange, as that of `name`."""
        self._subjects[token] = name

    async def grant(self, request: TokenRequest) -> GrantedToken:
        if request.url != self.url:
            raise BackendUnavailable("There is no authorization server at this address")
        secret, audiences = self._clients.get(request.client_id, (None, frozenset[str]()))
        if secret is None or secret != request.client_secret:
            raise BackendUnavailable("The authorization server does not accept the client")
        if request.audience is not None and request.audience not in audiences:
            raise self._refusal(request)
        subject = None
        if request.subject is not None:
            subject = self._subjects.get(request.subject.value)
            if subject is None:
                raise self._refusal(request)
        token = f"granted-{len(self.issued) + 1}"
        self.issued[token] = IssuedToken(request.client_id, request.audience, request.scopes, subject)
        return GrantedToken(token, self.lifetime_seconds)

    async def close(self) -> None:
        """Does nothing: there is no connection to release."""

    def _refusal(self, request: TokenRequest) -> UpstreamAccessDenied | BackendUnavailable:
        kind = BackendUnavailable if request.subject is None else UpstreamAccessDenied
        return kind("The authorization server gives no token for this")
