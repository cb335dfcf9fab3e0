"""Money is exact."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import EXACT_MICRO_UNITS

from stoa.domain.money import from_decimal, to_decimal, to_json_number


@given(st.integers(-(10**40), 10**40))
def test_every_amount_survives_the_way_through_decimal(amount):
    with localcontext(prec=60):
        assert from_decimal(to_decimal(amount)) == amount


@given(st.integers(0, EXACT_MICRO_UNITS))
def test_every_exact_amount_survives_the_way_through_a_json_number(amount):
    assert from_decimal(Decimal(str(to_json_number(amount)))) == amount


@pytest.mark.parametrize("units", ["0.0000001", "NaN", "Infinity", "1.0000000000000000000000000001"])
def test_money_is_refused_rather_than_rounded(units):
    with pytest.raises(ValueError, match=r"amount|finer"):
        from_decimal(Decimal(units))
