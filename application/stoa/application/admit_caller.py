"""The first two stages of every use case: authenticate, then the caller's own limit.

They stand together because nothing may be looked up, and no work done, for a stranger or for a flood.
"""

from collections.abc import Mapping

from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.domain.errors import NotAuthenticated, QuotaExceeded
from stoa.domain.identity import Principal
from stoa.domain.invocation import BearerToken, Credential
from stoa.domain.rate_limit import ROLE_LIMITS, RateLimit, caller_limit


class AdmitCaller:
    """Turns a credential into a Principal within its limit.

    `anonymous` is who a caller without a credential is; None (the default) refuses such callers.
    """

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        limiter: RateLimiter,
        clock: Clock,
        limits: Mapping[str, RateLimit] = ROLE_LIMITS,
        anonymous: Principal | None = None,
    ) -> None:
        self._verifier = verifier
        self._limiter = limiter
        self._clock = clock
        self._limits = dict(limits)
        self._limit_of: dict[frozenset[str], RateLimit] = {}
        self._anonymous = anonymous

    async def authenticate(self, credential: Credential) -> Principal:
        """Raises NotAuthenticated or IdentityUnavailable."""
        if isinstance(credential, BearerToken):
            return await self._verifier.verify(credential.value)
        principal = credential or self._anonymous
        if principal is None:
            raise NotAuthenticated("A bearer token is required", is_missing=True)
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise NotAuthenticated("The token has expired")
        return principal

    async def limit(self, principal: Principal) -> None:
        """Count one request of this caller. Raises QuotaExceeded or LimiterUnavailable."""
        verdict = await self._limiter.take("caller:" + principal.identity_key, self.limit_of(principal))
        if not verdict.is_allowed:
            raise QuotaExceeded("caller", verdict.retry_after_seconds)

    async def left(self, principal: Principal) -> int:
        """Requests that this caller may make right now; counts none. Raises LimiterUnavailable."""
        return await self._limiter.peek("caller:" + principal.identity_key, self.limit_of(principal))

    def limit_of(self, principal: Principal) -> RateLimit:
        limit = self._limit_of.get(principal.roles)
        if limit is None:
            limit = caller_limit(principal.roles, self._limits)
            if len(self._limit_of) < 1024:  # role sets come from tokens: their number must not be the caller's choice
                self._limit_of[principal.roles] = limit
        return limit
