"""The laws of UpstreamAccess, for every adapter."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.application.upstream import ALICE_TOKEN, Tokens

from stoa.application.backends.token_cache import REFUSED_SECONDS
from stoa.application.ports import UpstreamAccess
from stoa.testing.upstream_access import InMemoryUpstreamAccess

Bench = tuple[UpstreamAccess, Callable[[float], None]]
"""One call's access, and what lets seconds pass."""


def _memory() -> Bench:
    return InMemoryUpstreamAccess(["one", "two", "three"]), lambda seconds: None


def _own() -> Bench:
    tokens = Tokens()
    return tokens.own(), tokens.clock.advance


def _exchanged() -> Bench:
    tokens = Tokens()
    return tokens.exchanged(), tokens.clock.advance


@pytest.fixture(scope="session", params=[_memory, _own, _exchanged], ids=lambda adapter: adapter.__name__)
def open_bench(request: pytest.FixtureRequest) -> Callable[[], Bench]:
    return request.param


@given(st.lists(st.sampled_from(["token", "refused", "time"]), max_size=12))
async def test_a_token_stays_until_it_is_refused_and_then_another_comes(open_bench, steps):
    access, pass_time = open_bench()
    token, must_differ = await access.token(), False
    for step in steps:
        if step == "time":
            pass_time(REFUSED_SECONDS)
        elif step == "refused":
            must_differ = access.refused(token) or must_differ
        else:
            following = await access.token()
            assert (following != token) == must_differ
            token, must_differ = following, False


async def test_it_is_never_the_callers_own_token_and_nothing_shows_in_a_repr(open_bench):
    access, _ = open_bench()
    token = await access.token()
    assert ALICE_TOKEN not in token
    assert token not in repr(access)
    assert ALICE_TOKEN not in repr(access)
