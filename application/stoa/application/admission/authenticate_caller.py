"""The first two stages of every use case: authenticate, then the limits of the caller and of its tenant.

They stand together because nothing may be looked up, and no work done, for a stranger or for a flood.
"""

from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import BearerToken, Credential
from stoa.domain.errors import NotAuthenticated, QuotaExceeded
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision

_MOST_CALLERS = 4096
"""Whose claims are kept ready."""


class AuthenticateCaller:
    """Turns a credential into a Principal within its limits.

    `anonymous` is who a caller without a credential is; None (the default) refuses such callers.
    """

    def __init__(
        self,
        *,
        verifier: TokenVerifier,
        limiter: RateLimiter,
        clock: Clock,
        limits: CallerLimits = CallerLimits(),
        anonymous: Principal | None = None,
    ) -> None:
        self._verifier = verifier
        self._limiter = limiter
        self._clock = clock
        self._limits = limits
        self._claims: dict[str, tuple[LimitCharge, ...]] = {}
        self._anonymous = anonymous

    async def authenticate(self, credential: Credential) -> Principal:
        """Raises NotAuthenticated or IdentityUnavailable."""
        if isinstance(credential, BearerToken):
            return await self._verifier.verify(credential.value)
        principal = credential or self._anonymous
        if principal is None:
            raise NotAuthenticated("A bearer token is required", is_missing=True)
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise NotAuthenticated("The token has expired", reason=RefusalReason.EXPIRED)
        return principal

    def knows(self, token: str) -> bool:
        """Was this token verified lately?"""
        return self._verifier.knows(token)

    async def limit(self, principal: Principal) -> LimitVerdict:
        """Count one request of this caller that is no call. Raises QuotaExceeded or LimiterUnavailable."""
        return raise_if_limited(await self._limiter.take(self._limits.of_requests(principal)))

    def claims(self, principal: Principal, consumer: str | None = None) -> tuple[LimitCharge, ...]:
        """The limits that one call of this caller counts against, whatever it calls. `consumer`: on whose behalf it is
        made."""
        claims = self._claims.get(principal.authorization_key)
        if claims is None:
            if len(self._claims) >= _MOST_CALLERS:
                self._claims.clear()
            claims = self._claims[principal.authorization_key] = self._limits.of_caller(principal)
        if consumer is None or not self._limits.consumers:
            return claims
        return claims + self._limits.of_consumer(principal.tenant, consumer)


def raise_if_limited(verdict: LimitVerdict) -> LimitVerdict:
    """Raises QuotaExceeded when it is a refusal."""
    if verdict.is_allowed:
        return verdict
    raise QuotaExceeded("?" if verdict.claim is None else verdict.claim.name, verdict.retry_after_seconds, verdict)


def limits_of(operation: Operation, principal: Principal, decision: Decision | None) -> tuple[LimitCharge, ...]:
    """What a permitted call of `operation` is counted against besides."""
    claims: tuple[LimitCharge, ...] = ()
    if operation.rate_limit is not None:
        # Per tenant: one tenant's load on a global tool must neither slow another nor be seen by it.
        claims = (LimitCharge("tool", f"tool:{principal.tenant}:{operation.key}", operation.rate_limit),)
    added = None if decision is None else decision.obligations.limit
    if added is not None:
        claims += (LimitCharge("policy", f"policy:{principal.identity_key}:{operation.key}", added),)
    return claims
