"""Callers: authentication, and the rate limits of a caller, which do not depend on the operation.

Both stand together because every use case begins with them: nothing is looked up for a stranger or for a flood.
"""

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.application.ports.token_verifier import TokenVerifier
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import BearerToken, Caller, Credential
from stoa.domain.errors import NotAuthenticated, QuotaExceeded
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision

_MOST_CALLERS = 16_384
"""Upper bound on the callers whose charges are cached."""


class Callers:
    """Authenticates callers and holds their rate limits.

    `anonymous`: the principal of callers without a credential; None (the default) refuses them.
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
        self._charges: BoundedCache[str, tuple[LimitCharge, ...]] = BoundedCache(_MOST_CALLERS)
        self._anonymous = anonymous

    async def authenticate(self, credential: Credential) -> Principal:
        """The principal of a credential. That of a Caller is not verified again, but may have expired since. Raises
        NotAuthenticated or IdentityUnavailable."""
        if isinstance(credential, BearerToken):
            return await self._verifier.verify(credential.value)
        principal = credential.principal if isinstance(credential, Caller) else credential or self._anonymous
        if principal is None:
            raise NotAuthenticated("A bearer token is required", is_missing=True)
        if not self.is_current(principal):
            raise NotAuthenticated("The token has expired", reason=RefusalReason.EXPIRED)
        return principal

    def recognise(self, credential: Credential) -> Principal | None:
        """The principal of a token that was verified recently; None: `authenticate` has to look."""
        return self._verifier.recognise(credential.value) if isinstance(credential, BearerToken) else None

    def is_current(self, principal: Principal) -> bool:
        """True for a principal whose credential has not expired."""
        return principal.expires_at is None or principal.expires_at > self._clock.now()

    def knows(self, token: str) -> bool:
        """True for a token that was verified recently, so that verifying it again costs next to nothing."""
        return self._verifier.recognise(token) is not None

    async def limit(self, principal: Principal) -> LimitVerdict:
        """Count one request of this caller that is not a call. Raises QuotaExceeded or LimiterUnavailable."""
        return raise_if_limited(await self._limiter.take(self._limits.of_requests(principal)))

    def charges(self, principal: Principal, consumer: str | None = None) -> tuple[LimitCharge, ...]:
        """Charges of any call of this caller: limits of its role, of its tenant and, where one is given, of the
        consumer on whose behalf it is made."""
        charges = self._charges.get(principal.authorization_key)
        if charges is None:
            charges = self._limits.of_caller(principal)
            self._charges.put(principal.authorization_key, charges)
        if consumer is None or not self._limits.consumers:
            return charges
        return charges + self._limits.of_consumer(principal.tenant, consumer)


def raise_if_limited(verdict: LimitVerdict) -> LimitVerdict:
    """The verdict, if it allows the call; raises QuotaExceeded otherwise."""
    if verdict.is_allowed:
        return verdict
    raise QuotaExceeded("?" if verdict.charge is None else verdict.charge.name, verdict.retry_after_seconds, verdict)


def operation_charges(operation: Operation, principal: Principal, decision: Decision | None) -> tuple[LimitCharge, ...]:
    """Charges of an authorised call in addition to its caller's: the limit of the operation, and that of the policy's
    obligation."""
    charges: tuple[LimitCharge, ...] = ()
    if operation.rate_limit is not None:
        # Per tenant: one tenant's load on a global tool must neither slow another nor be seen by it.
        charges = (LimitCharge("tool", f"tool:{principal.tenant}:{operation.key}", operation.rate_limit),)
    added = None if decision is None else decision.obligations.limit
    if added is not None:
        charges += (LimitCharge("policy", f"policy:{principal.identity_key}:{operation.key}", added),)
    return charges
