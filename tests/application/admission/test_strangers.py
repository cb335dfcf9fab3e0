"""Strangers: what is done for callers whom nobody vouches for has a limit, by address and in all."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.admission.strangers import Strangers
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.metering.recorder import Recorder
from stoa.domain.access.caller_limits import StrangerLimits
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import BearerToken, Credential
from stoa.domain.errors import IdentityUnavailable, NotAuthenticated, QuotaExceeded
from stoa.domain.metering.event import Status
from stoa.testing.clock import ManualClock
from stoa.testing.invocation_observer import InMemoryInvocationObserver

LIMITS = StrangerLimits(
    address=RateLimit(requests_per_minute=60, burst=10), everyone=RateLimit(requests_per_minute=600, burst=25)
)
NOBODY = NotAuthenticated("A bearer token is required", is_missing=True)


class Door:
    """`ask` is one request; True: work was done for it."""

    def __init__(self, limits: StrangerLimits | None = LIMITS) -> None:
        self.clock = ManualClock()
        self.observer = InMemoryInvocationObserver()
        self.recorder = Recorder(InMemoryMeteringSink(), [self.observer], self.clock)
        self.strangers = Strangers(limits, self.recorder, self.clock, lambda token: token == "known")

    def ask(self, address: str | None = "a", credential: Credential = None, calls: int = 1) -> bool:
        try:
            self.strangers.check(address, credential, "mcp")
        except QuotaExceeded as refusal:
            assert refusal.retry_after_seconds > 0
            return False
        if credential in {BearerToken("known"), BearerToken("valid")}:
            return True
        self.strangers.refused(address, "mcp", NOBODY, calls)
        return True


async def test_strangers_at_one_address_are_refused_beyond_its_limit_and_others_are_not() -> None:
    door = Door()
    assert [door.ask() for _ in range(12)] == [True] * 10 + [False] * 2
    assert door.ask("b")
    door.clock.advance(1)
    assert [door.ask() for _ in range(2)] == [True, False]
    await door.recorder.close()


async def test_strangers_are_limited_together_however_many_addresses_they_have() -> None:
    door = Door()
    done = Counter(door.ask(f"address {number}") for number in range(100))
    assert done == {True: 25, False: 75}
    await door.recorder.close()


async def test_strangers_at_one_address_take_no_more_of_everyones_limit_than_their_own() -> None:
    door = Door()
    for _ in range(50):
        door.ask(credential=BearerToken("bad"), calls=50)
    assert [door.ask(f"address {number}") for number in range(16)] == [True] * 15 + [False]
    await door.recorder.close()


async def test_a_batch_of_a_stranger_counts_its_members() -> None:
    door = Door()
    assert door.ask(calls=50)
    assert not door.ask()
    assert door.observer.counted == {
        ("mcp", Status.UNAUTHORIZED, "not_authenticated"): 50, ("mcp", Status.RATE_LIMITED, "rate_limited"): 1,
    }  # fmt: skip
    await door.recorder.close()


async def test_every_refused_request_of_strangers_is_counted_exactly() -> None:
    door = Door()
    for number in range(500):
        door.ask(f"address {number % 7}", BearerToken("bad") if number % 3 else None)
    assert door.observer.counted.total() == 500
    await door.recorder.close()
    assert sum(event.calls for event in door.observer.summaries) == 500


async def test_valid_tokens_are_not_counted_and_a_known_one_always_passes() -> None:
    door = Door()
    assert all(door.ask(credential=BearerToken("valid")) for _ in range(1000))
    while door.ask():
        pass
    assert all(door.ask(credential=BearerToken("known")) for _ in range(1000))
    await door.recorder.close()


async def test_a_new_token_behind_a_flooded_address_is_verified_within_moments() -> None:
    door = Door()
    attempts = 0
    while door.ask(credential=BearerToken("bad")):
        attempts += 1
    assert attempts == 60  # the address's limit, then what is verified all the same
    assert not door.ask(credential=BearerToken("valid"))
    door.clock.advance(0.02)
    assert door.ask(credential=BearerToken("valid"))
    await door.recorder.close()


async def test_an_identity_provider_that_is_away_uses_up_nothing() -> None:
    door = Door()
    for _ in range(100):
        door.strangers.refused("a", "mcp", IdentityUnavailable("away"))
    assert door.ask()
    assert door.observer.counted["mcp", Status.ERROR, "identity_unavailable"] == 100
    await door.recorder.close()


@pytest.mark.parametrize("address", ["a", None])
async def test_without_limits_or_without_a_network_strangers_are_counted_and_not_limited(address: str | None) -> None:
    door = Door(None if address else LIMITS)
    assert all(door.ask(address) for _ in range(100))
    assert door.observer.counted.total() == 100
    await door.recorder.close()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.integers(0, 2_000)), max_size=60))
async def test_in_any_time_an_address_has_its_burst_and_its_rate_of_work_done(
    asked: list[tuple[str, int, int]],
) -> None:
    door = Door()
    seconds = 0.0
    done: Counter[str] = Counter()
    for address, _, pause_ms in asked:
        door.clock.advance(pause_ms / 1000)
        seconds += pause_ms / 1000
        done[address] += door.ask(address)
    assert all(count <= 10 + seconds + 1 for count in done.values())
    assert done.total() <= 25 + 10 * seconds + 1
    await door.recorder.close()
