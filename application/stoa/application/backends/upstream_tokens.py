"""Access tokens that the gateway shows to back ends: its own (client credentials), or in the caller's name (exchange).

    age of the token     up to its last quarter   then, up to the end's margin      older, or refused
    a call               gets it                  gets it; one renews it meanwhile  waits for a new one

One request per token is under way, whoever waits for it; a failure is remembered for FAILURE_SECONDS, so that a flood
of calls is not a flood of requests. The caller's token goes to its own issuer and nowhere else: whoever writes a
manifest must not be able to collect tokens by naming a token endpoint of his own.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.token_endpoint import GrantedToken, TokenEndpoint, TokenRequest
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    InvalidInput,
    UpstreamAccessDenied,
)
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import SecretReference, TokenGrant

MAX_TOKENS = 10_000
UNSAID_LIFETIME_SECONDS = 60.0
"""Of a token whose server does not say how long it is good."""
LONGEST_LIFETIME_SECONDS = 86_400.0
RENEW_SECONDS = 60.0
"""A token is renewed this long before its end, or in its last quarter where that is shorter."""
MARGIN_SECONDS = 10.0
"""A token is not used this close to its end, or in its last tenth: the call takes time, and clocks differ."""
FAILURE_SECONDS = 1.0
REFUSED_SECONDS = 5.0
"""A token that a back end refuses so soon after it was granted is kept: the next one would be refused as well."""

_Refused = UpstreamAccessDenied | BackendUnavailable | BackendTimedOut | BackendProtocolError
_REFUSED = (UpstreamAccessDenied, BackendUnavailable, BackendTimedOut, BackendProtocolError)


class _Key(NamedTuple):
    """Everything that a token depends on: equal keys may share one."""

    grant: TokenGrant
    tenant: TenantId | None
    """Whose secret it is."""
    principal: str | None
    """Authorization key of who is acted for."""
    client: bytes
    """SHA-256 of client id and secret: after a rotation nothing of before is found."""


class _Flight(NamedTuple):
    """A request under way, or failed lately. Another token of the same principal is not judged by it."""

    key: _Key
    subject: bytes | None


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str = field(repr=False)
    granted_at: float
    renew_at: float
    until: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """Raised anew for each who waits: an exception is not for sharing."""

    kind: type[_Refused]
    message: str
    until: float

    def error(self) -> _Refused:
        return self.kind(self.message)


class UpstreamTokens:
    """The tokens of all tools. `issuers`: whose tokens may be exchanged, each below its own issuer's URL."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        credentials: CredentialSource,
        clock: Clock,
        *,
        issuers: Sequence[str] = (),
        max_tokens: int = MAX_TOKENS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report = report
        self._endpoint = endpoint
        self._credentials = credentials
        self._clock = clock
        self._issuers = tuple(issuers)
        self._kept: dict[_Key, _Kept] = {}
        self._shares: FairShares[_Key] = FairShares(Caps(max_tokens, max_tokens, max_tokens))
        self._failures: BoundedCache[_Flight, _Failure] = BoundedCache(max_tokens)
        self._flights: dict[_Flight, asyncio.Task[_Kept | _Failure]] = {}

    def prepare(self, tool: Operation) -> "TokenSupply":
        """Raises InvalidInput when the tool's authentication cannot work."""
        grant, secret = tool.authentication.grant, tool.authentication.secret
        if grant is None or secret is None:
            raise InvalidInput("authentication.type oauth2 needs authentication.grant and authentication.secret")
        if grant.type == "tokenExchange" and not any(_is_below(grant.token_url, issuer) for issuer in self._issuers):
            known = ", ".join(self._issuers) or "none: this gateway verifies no tokens"
            raise InvalidInput(
                "authentication.tokenUrl: a caller's token is shown to its own issuer only; write a URL below one of "
                f"the gateway's issuers ({known})"
            )
        return TokenSupply(self, tool, grant, SecretReference(name=secret.name))

    async def close(self) -> None:
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._kept.clear()
        await self._endpoint.close()

    def client(self, tenant: TenantId | None, secret: SecretReference) -> tuple[str, str]:
        """Id and secret, as they are now. Raises BackendUnavailable."""
        read = self._credentials.read
        return read(tenant, secret, "clientId"), read(tenant, secret, "clientSecret")

    async def get(self, key: _Key, request: TokenRequest) -> str:
        """Raises what TokenEndpoint raises."""
        now = self._now()
        kept = self._kept.get(key)
        if kept is not None and now < kept.renew_at:
            return kept.value
        flight = _Flight(key, None if request.subject is None else _digest(request.subject.value))
        failure = self._failures.get(flight)
        is_paused = failure is not None and now < failure.until
        if kept is not None and now < kept.until:
            if not is_paused and flight not in self._flights:
                self._begin(flight, request)
            return kept.value
        if failure is not None and is_paused:
            raise failure.error()
        task = self._flights.get(flight) or self._begin(flight, request)
        ended = await asyncio.shield(task)  # who waits may go away; the others still want the token
        if isinstance(ended, _Failure):
            raise ended.error()
        return ended.value

    def refused(self, key: _Key, token: str) -> bool:
        kept = self._kept.get(key)
        if kept is not None and kept.value == token:
            if self._now() - kept.granted_at < REFUSED_SECONDS:
                return False
            del self._kept[key]
            self._shares.remove(key)
        return True

    def _begin(self, flight: _Flight, request: TokenRequest) -> "asyncio.Task[_Kept | _Failure]":
        task = asyncio.create_task(self._ask(flight, request))
        self._flights[flight] = task
        task.add_done_callback(lambda done: self._ended(flight, done))
        return task

    def _ended(self, flight: _Flight, task: "asyncio.Task[_Kept | _Failure]") -> None:
        if self._flights.get(flight) is task:
            del self._flights[flight]
        # A defect is raised to those who wait; a renewal in the background has nobody who does.
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._report("upstream tokens", defect)

    async def _ask(self, flight: _Flight, request: TokenRequest) -> _Kept | _Failure:
        asked_at = self._now()
        try:
            granted = await self._endpoint.grant(request)
            if request.subject is not None and granted.value == request.subject.value:
                raise BackendProtocolError("The authorization server returned the token that it was to exchange")
        except _REFUSED as refused:
            failure = _Failure(type(refused), refused.message, self._now() + FAILURE_SECONDS)
            self._failures.put(flight, failure)
            return failure
        self._failures.discard(flight)
        kept = _kept(granted, asked_at)
        self._keep(flight.key, kept)
        return kept

    def _keep(self, key: _Key, kept: _Kept) -> None:
        with suppress(NoRoom):  # more tenants than tokens: this one is for this call alone
            for gone in self._shares.put(key, Holder(key.tenant, key.principal or "")):
                del self._kept[gone]
            self._kept[key] = kept

    def _now(self) -> float:
        # Wall time, because a token ends by the server's: a monotonic clock stands still while a machine sleeps.
        return self._clock.now().timestamp()


class TokenSupply:
    """The tokens of one tool, made at registration."""

    def __init__(self, tokens: UpstreamTokens, tool: Operation, grant: TokenGrant, secret: SecretReference) -> None:
        self._tokens = tokens
        self._name = str(tool.key)
        self._tenant = tool.tenant
        self._grant = grant
        self._secret = secret

    def bind(self, principal: Principal, token: BearerToken | None) -> UpstreamAccess:
        """Access for one call. `token`: what `principal` was verified from, None where a program vouches for it. Raises
        UpstreamAccessDenied when the tool acts in the caller's name and there is no token to show."""
        if self._grant.type == "clientCredentials":
            return _Access(self, None, None)
        if token is None:
            raise UpstreamAccessDenied(
                f"{self._name} acts in the caller's name at its back end: call it with a bearer token of your own"
            )
        if not _is_below(self._grant.token_url, principal.issuer):
            raise UpstreamAccessDenied(f"{self._name} acts in the name of callers whose token is from another issuer")
        return _Access(self, principal.authorization_key, token)

    async def token(self, principal: str | None, subject: BearerToken | None) -> tuple[_Key, str]:
        client_id, client_secret = self._tokens.client(self._tenant, self._secret)
        grant = self._grant
        key = _Key(grant, self._tenant, principal, _digest(client_id, client_secret))
        request = TokenRequest(grant.token_url, client_id, client_secret, grant.audience, grant.scopes, subject)
        return key, await self._tokens.get(key, request)

    def refused(self, key: _Key, token: str) -> bool:
        return self._tokens.refused(key, token)


class _Access(UpstreamAccess):
    __slots__ = ("_key", "_principal", "_subject", "_supply")

    def __init__(self, supply: TokenSupply, principal: str | None, subject: BearerToken | None) -> None:
        self._supply = supply
        self._principal = principal
        self._subject = subject
        self._key: _Key | None = None

    async def token(self) -> str:
        self._key, token = await self._supply.token(self._principal, self._subject)
        return token

    def refused(self, token: str) -> bool:
        return self._key is None or self._supply.refused(self._key, token)


def _kept(granted: GrantedToken, asked_at: float) -> _Kept:
    said = granted.lifetime_seconds
    lifetime = UNSAID_LIFETIME_SECONDS if said is None else min(said, LONGEST_LIFETIME_SECONDS)
    ends_at = asked_at + lifetime
    renew_at, until = ends_at - min(RENEW_SECONDS, lifetime / 4), ends_at - min(MARGIN_SECONDS, lifetime / 10)
    return _Kept(granted.value, asked_at, renew_at, until)


def _is_below(url: str, issuer: str) -> bool:
    return url.startswith(f"{issuer.rstrip('/')}/")


def _digest(*parts: str) -> bytes:
    """As JSON, so that no character in one part can make it look like two."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).digest()
