"""What a caller's requests are counted against: its own limit by role, and where they are set its tenant's and its
consumer's. These are limits of calls; what is no call has an allowance beside them."""

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
"""For a caller with no known role."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """What requests of callers are counted against that nobody vouches for, those with a token that proves nothing
    included. Requests with a valid token are not counted."""

    address: RateLimit = RateLimit(requests_per_minute=600, burst=200)
    """From one network address; of IPv6 from one /64."""
    everyone: RateLimit = RateLimit(requests_per_minute=6_000, burst=1_000)
    """From all addresses together."""


DEFAULT_STRANGER_LIMITS = StrangerLimits()

REQUESTS_PER_CALL = 5
"""How much larger than the limit of calls the allowance of other requests is: a client asks what there is, opens a
stream and begins a session before its first call, and again in each of its windows."""

EVERY_OTHER = "*"
"""Stands for all names that have no limit of their own; each is still counted by itself."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    roles: Mapping[str, RateLimit] = field(default_factory=lambda: ROLE_LIMITS)
    tenants: Mapping[str, RateLimit] = field(default_factory=dict[str, RateLimit])
    """All callers of a tenant together. None by default."""
    consumers: Mapping[str, RateLimit] = field(default_factory=dict[str, RateLimit])
    """All invocations of a tenant for one consumer. It names itself, so this protects from accidents, not from malice;
    consumers of one name in two tenants know nothing of each other. None by default."""

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
        """Of what is no call: lists, sessions, streams and the like."""
        return tuple(
            LimitCharge("requests", f"requests:{claim.key}", claim.limit.times(REQUESTS_PER_CALL))
            for claim in self.of_caller(principal)
        )

    def of_consumer(self, tenant: TenantId | None, consumer: str) -> tuple[LimitCharge, ...]:
        limit = _of(self.consumers, consumer)
        return () if limit is None else (LimitCharge("consumer", f"consumer:{tenant or ''}:{consumer}", limit),)


def _of(limits: Mapping[str, RateLimit], name: str) -> RateLimit | None:
    return limits.get(name) or limits.get(EVERY_OTHER)
