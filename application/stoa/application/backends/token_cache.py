"""Access tokens of back ends, kept until shortly before they end.

    age of the token     up to its last quarter   then, up to the end's margin      older, or refused
    a call               gets it                  gets it; one renews it meanwhile  waits for a new one

One request per token is under way, however many calls wait for it. A failure is remembered for FAILURE_SECONDS, so that
a flood of calls is not a flood of requests.
"""

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.token_endpoint import GrantedToken, TokenEndpoint, TokenRequest
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable, UpstreamAccessDenied
from stoa.domain.operations.tool import TokenGrant

MAX_TOKENS = 10_000
UNSAID_LIFETIME_SECONDS = 60.0
"""Assumed for a token whose server does not say how long it is good."""
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


class TokenKey(NamedTuple):
    """Everything that a token depends on: equal keys may share one."""

    grant: TokenGrant
    tenant: TenantId | None
    """Whose secret it is."""
    principal: str | None
    """Authorization key of the caller in whose name it acts; None: the token is the gateway's own."""
    client: bytes
    """Digest of client id and secret, so that a rotated secret finds no token of the old one."""


class _Flight(NamedTuple):
    """A request under way, or one that failed lately. The failure of one subject token is not held against another."""

    key: TokenKey
    subject: bytes | None
    """Digest of the subject token."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str = field(repr=False)
    granted_at: float
    renew_at: float
    until: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """The error to raise for each call that waits: one exception must not be raised twice, it would mix tracebacks."""

    kind: type[_Refused]
    message: str
    until: float

    def error(self) -> _Refused:
        return self.kind(self.message)


class TokenCache:
    """At most `max_tokens` tokens, shared fairly among tenants. Owns the endpoint and closes it."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        clock: Clock,
        *,
        max_tokens: int = MAX_TOKENS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report = report
        self._endpoint = endpoint
        self._clock = clock
        self._kept: dict[TokenKey, _Kept] = {}
        self._shares: FairShares[TokenKey] = FairShares(Caps(max_tokens, max_tokens, max_tokens))
        self._failures: BoundedCache[_Flight, _Failure] = BoundedCache(max_tokens)
        self._flights: dict[_Flight, asyncio.Task[_Kept | _Failure]] = {}

    async def close(self) -> None:
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._kept.clear()
        await self._endpoint.close()

    async def get(self, key: TokenKey, request: TokenRequest) -> str:
        """The token of `key`; `request` asks for a new one. Raises what TokenEndpoint raises."""
        now = self._now()
        kept = self._kept.get(key)
        if kept is not None and now < kept.renew_at:
            return kept.value
        flight = _Flight(key, None if request.subject is None else digest(request.subject.value))
        failure = self._failures.get(flight)
        is_paused = failure is not None and now < failure.until
        if kept is not None and now < kept.until:
            if not is_paused and flight not in self._flights:
                self._begin(flight, request)
            return kept.value
        if failure is not None and is_paused:
            raise failure.error()
        task = self._flights.get(flight) or self._begin(flight, request)
        ended = await asyncio.shield(task)  # one call may be cancelled; the others still want the token
        if isinstance(ended, _Failure):
            raise ended.error()
        return ended.value

    def refused(self, key: TokenKey, token: str) -> bool:
        """Forget a token that a back end did not accept. False: it was just granted, and a new one would fare no
        better."""
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
        # Waiting calls get the defect raised; of a renewal in the background only the report would tell.
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

    def _keep(self, key: TokenKey, kept: _Kept) -> None:
        with suppress(NoRoom):  # more tenants than tokens: this one is for this call alone
            for gone in self._shares.put(key, Holder(key.tenant, key.principal or "")):
                del self._kept[gone]
            self._kept[key] = kept

    def _now(self) -> float:
        # Wall time, because a token ends by the server's: a monotonic clock stands still while a machine sleeps.
        return self._clock.now().timestamp()


def _kept(granted: GrantedToken, asked_at: float) -> _Kept:
    said = granted.lifetime_seconds
    lifetime = UNSAID_LIFETIME_SECONDS if said is None else min(said, LONGEST_LIFETIME_SECONDS)
    ends_at = asked_at + lifetime
    renew_at, until = ends_at - min(RENEW_SECONDS, lifetime / 4), ends_at - min(MARGIN_SECONDS, lifetime / 10)
    return _Kept(granted.value, asked_at, renew_at, until)


def digest(*parts: str) -> bytes:
    """SHA-256 of the parts as JSON, so that no character in one part can make it look like two."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).digest()
