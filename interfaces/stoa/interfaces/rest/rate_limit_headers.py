"""What a REST answer says about the caller's limits: the fields of draft-ietf-httpapi-ratelimit-headers-06, the last
with one number in each field, which is what clients read. Of several limits it is the one that matters most."""

from math import ceil

from stoa.domain.access.rate_limit import LimitVerdict


def limit_headers(verdict: LimitVerdict | None) -> dict[str, str]:
    """None where no limit was counted. A bucket has no window; the policy names the burst and the time in which that
    comes back, which is the sustained rate. Seconds are whole and never too early."""
    if verdict is None or verdict.claim is None:
        return {}
    limit = verdict.claim.limit
    return {
        "RateLimit-Limit": str(limit.burst),
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(ceil(verdict.reset_seconds)),
        "RateLimit-Policy": f"{limit.burst};w={ceil(limit.capacity_us / 1_000_000)}",
    }
