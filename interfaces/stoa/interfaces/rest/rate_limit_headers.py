"""Response headers about the caller's limits: the fields of draft-ietf-httpapi-ratelimit-headers-06, the last draft
with one number in each field, which clients read. Of several limits they describe the one that decided."""

from math import ceil

from stoa.domain.access.rate_limit import LimitVerdict


def limit_headers(verdict: LimitVerdict | None) -> dict[str, str]:
    """The headers for a verdict; none if no limit was counted. A bucket has no window, so the policy names the burst
    and the time in which it refills, which is the sustained rate. Seconds are rounded up."""
    if verdict is None or verdict.charge is None:
        return {}
    limit = verdict.charge.limit
    return {
        "RateLimit-Limit": str(limit.burst),
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(ceil(verdict.reset_seconds)),
        "RateLimit-Policy": f"{limit.burst};w={ceil(limit.capacity_us / 1_000_000)}",
    }
