"""The rate limits of a caller: its own by role and, where they are set, those of its tenant and its consumer. They
limit calls; other requests have an allowance of their own (`of_requests`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitCharge, RateLimit

ROLE_LIMITS: dict[str, RateLimit] = {
    "cpi-admin": RateLimit(requests_per_minute=1000, burst=100),
    "tenant-admin": RateLimit(requests_per_minute=500, burst=50),
    "devops": RateLimit(requests_per_minute=200, burst=20),
    "viewer": RateLimit(requests_per_minute=60, burst=10),
}
"""Caller limits by role, most generous first."""

DEFAULT_LIMIT = RateLimit(requests_per_minute=30, burst=5)
"""The limit of a caller without a known role."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """Limits of unauthenticated requests, including those with an invalid token. Requests with a valid token are not
    counted."""

    address: RateLimit = RateLimit(requests_per_minute=600, burst=200)
    """The limit of one network address; for IPv6, of one /64."""
    everyone: RateLimit = RateLimit(requests_per_minute=6_000, burst=1_000)
    """The limit of all addresses together."""


DEFAULT_STRANGER_LIMITS = StrangerLimits()

REQUESTS_PER_CALL = 5
"""The factor by which the allowance of other requests exceeds the limit of calls: a client lists what is offered, opens
a stream and begins a session before its first call, and again in each of its windows."""

EVERY_OTHER = "*"
"""Stands for all names that have no limit of their own. Each of them is still counted separately."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    roles: Mapping[str, RateLimit] = field(default_factory=lambda: ROLE_LIMITS)
    tenants: Mapping[str, RateLimit] = field(default_factory=dict[str, RateLimit])
    """Limits of all callers of a tenant together. Empty by default."""
    consumers: Mapping[str, RateLimit] = field(default_factory=dict[str, RateLimit])
    """Limits of all invocations that a tenant makes for one consumer. A consumer names itself, so this protects from
    accidents, not from malice; consumers of the same name in two tenants are counted separately. Empty by default."""

    def of_role(self, roles: frozenset[str]) -> RateLimit:
        """The most generous limit among the caller's roles, else `DEFAULT_LIMIT`."""
        held = [limit for role, limit in self.roles.items() if role in roles]
        return max(held, key=lambda limit: limit.requests_per_minute, default=DEFAULT_LIMIT)

    def of_caller(self, principal: Principal) -> tuple[LimitCharge, ...]:
        own = LimitCharge("caller", f"caller:{principal.identity_key}", self.of_role(principal.roles))
        tenant = principal.tenant
        common = None if tenant is None else _of(self.tenants, tenant)
        return (own,) if common is None else (own, LimitCharge("tenant", f"tenant:{tenant}", common))

    def of_requests(self, principal: Principal) -> tuple[LimitCharge, ...]:
        """Charges for a request that is not a call: a list, a session, a stream and the like."""
        return tuple(
            LimitCharge("requests", f"requests:{charge.key}", charge.limit.times(REQUESTS_PER_CALL))
            for charge in self.of_caller(principal)
        )

    def of_consumer(self, tenant: TenantId | None, consumer: str) -> tuple[LimitCharge, ...]:
        limit = _of(self.consumers, consumer)
        return () if limit is None else (LimitCharge("consumer", f"consumer:{tenant or ''}:{consumer}", limit),)


def _of(limits: Mapping[str, RateLimit], name: str) -> RateLimit | None:
    return limits.get(name) or limits.get(EVERY_OTHER)
