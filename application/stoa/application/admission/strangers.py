"""Strangers: limits requests whose caller is not authenticated, before any work is done for them.  The doors call
`check` before they read a body or verify a token, and `refused` for every request whose caller could not be
authenticated. Valid tokens are never counted, and a token that was verified recently passes however others at the same
address behave. A new token passes too until the address has used up its limit; from then on a bounded number of new
ones a second is verified, so that a caller behind the same address (NAT) is kept out for moments at most. Each process
counts by itself: it limits its own work."""

from collections.abc import Callable

from stoa.application.metering.recorder import Recorder
from stoa.application.ports.clock import Clock
from stoa.domain.access.caller_limits import StrangerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit, remaining
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import BearerToken, Credential
from stoa.domain.errors import NotAuthenticated, QuotaExceeded, StoaError
from stoa.domain.metering.event import Status
from stoa.domain.policy.decision import Door

_EVERYONE = ""
_ATTEMPTS = RateLimit(requests_per_minute=3_000, burst=50)
"""Limit of new tokens that are verified although their address has used up its limit."""
_ALL_ATTEMPTS = RateLimit(requests_per_minute=30_000, burst=500)
_SWEEP_ABOVE = 10_000


class Strangers:
    """Limits unauthenticated requests. Without `limits` nothing is limited, but refused requests are still counted.
    `is_known` recognises a token that was verified recently. An address is text that the door made of the network's;
    None means that there is no network."""

    def __init__(
        self, limits: StrangerLimits | None, recorder: Recorder, clock: Clock, is_known: Callable[[str], bool]
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._is_known = is_known
        self._limits = limits
        limits = limits or StrangerLimits()
        self._by_address = _Buckets(limits.address, limits.everyone)
        self._attempts = _Buckets(_ATTEMPTS, _ALL_ATTEMPTS)

    def check(self, address: str | None, credential: Credential, door: Door) -> None:
        """Raises QuotaExceeded, and counts it, while the limits allow no more work for strangers at this address."""
        # The usual case of `wait_us`, without a call.
        wait_us = self.wait_us(address, credential) if self._by_address.states else 0
        if wait_us:
            self._recorder.count_strangers(door, Status.RATE_LIMITED, QuotaExceeded.code)
            raise QuotaExceeded("requests without a valid token", wait_us / 1e6, reason=RefusalReason.STRANGER_LIMIT)

    def wait_us(self, address: str | None, credential: Credential) -> int:
        """Microseconds until this request may be read and its token verified; 0 means now."""
        if address is None or self._limits is None or not self._by_address.states or isinstance(credential, Principal):
            return 0
        now_us = self._clock.monotonic_ns() // 1000
        wait_us = self._by_address.wait_us(address, now_us)
        if not wait_us or not isinstance(credential, BearerToken):
            return wait_us
        if self._is_known(credential.value):
            return 0
        wait_us = self._attempts.wait_us(address, now_us)
        if not wait_us:
            self._attempts.spend(address, 1, now_us)
        return wait_us

    def refused(self, address: str | None, door: Door, error: StoaError, calls: int = 1, name: str = "") -> None:
        """Count requests that were refused because their caller could not be authenticated. `calls`: messages in a
        batch; `name`: the operation that the first one named."""
        status = Status.UNAUTHORIZED if isinstance(error, NotAuthenticated) else Status.ERROR
        self._recorder.count_strangers(door, status, error.code, calls, name)
        self.spend(address, error, calls)

    def spend(self, address: str | None, error: StoaError, calls: int = 1) -> None:
        """Count requests against the limits alone: the pipeline has recorded them. An outage of the identity provider
        is not charged to the caller."""
        if address is not None and isinstance(error, NotAuthenticated):
            self._by_address.spend(address, calls, self._clock.monotonic_ns() // 1000)


class _Buckets:
    """One limit for each address and one for all together, in the form of `stoa.domain.access.rate_limit`. Requests are
    counted after the fact, so a bucket can be overdrawn by one request, and never further. Addresses whose bucket is
    full again are forgotten; the limit of all bounds their number."""

    def __init__(self, each: RateLimit, everyone: RateLimit) -> None:
        self._each = each
        self._everyone = everyone
        self.states: dict[str, int] = {}
        """Empty while no request was refused lately."""
        self._sweep_at = _SWEEP_ABOVE

    def wait_us(self, address: str, now_us: int) -> int:
        """Microseconds until both buckets have room; 0 means now."""
        return max(self._wait(address, self._each, now_us), self._wait(_EVERYONE, self._everyone, now_us))

    def spend(self, address: str, calls: int, now_us: int) -> None:
        """Count calls. One address takes no more of the common limit than it has of its own."""
        calls = min(calls, remaining(self._each, self.states.get(address, 0), now_us))
        for key, limit in ((address, self._each), (_EVERYONE, self._everyone)):
            spent = max(self.states.get(key, 0), now_us) + calls * limit.interval_us
            self.states[key] = min(spent, now_us + limit.capacity_us)
        if len(self.states) > self._sweep_at:
            self.states = {key: state for key, state in self.states.items() if state > now_us}
            self._sweep_at = max(_SWEEP_ABOVE, 2 * len(self.states))

    def _wait(self, key: str, limit: RateLimit, now_us: int) -> int:
        state = self.states.get(key)
        if state is None:
            return 0
        if state <= now_us:
            del self.states[key]
            return 0
        return max(0, state + limit.interval_us - now_us - limit.capacity_us)
