"""The one table of errors."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain import errors
from stoa.domain.errors import QuotaExceeded, StoaError
from stoa.interfaces.wire.errors import INTERNAL, WIRE_ERRORS, retry_after_seconds, wire_error


def _leaves(kind: type[StoaError]) -> list[type[StoaError]]:
    return [kind, *itertools.chain.from_iterable(map(_leaves, kind.__subclasses__()))]


KINDS = [kind for kind in _leaves(StoaError) if kind is not StoaError and kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_of_the_domain_falls_through_to_internal(kind: type[StoaError]) -> None:
    assert wire_error(kind.__new__(kind)) is not INTERNAL


def test_an_error_that_nobody_knows_is_internal() -> None:
    assert wire_error(StoaError("x")) is INTERNAL


def test_codes_of_our_own_stay_out_of_the_reserved_range() -> None:
    standard = {-32602, -32603, -32021}
    for row in WIRE_ERRORS.values():
        assert row.rpc_code in standard or row.rpc_code > 0
        assert 400 <= row.http_status < 600
        assert 64 <= row.exit_code <= 78


def test_codes_of_our_own_mean_one_error_each() -> None:
    own = [row.rpc_code for row in WIRE_ERRORS.values() if row.rpc_code > 0]
    assert len(own) == len(set(own))


@given(st.floats(0, 1e6))
def test_retry_after_is_whole_seconds_and_never_too_early(seconds: float) -> None:
    value = retry_after_seconds(QuotaExceeded("caller", seconds))
    assert value >= max(1, seconds)
    assert value < seconds + 1 or value == 1
