"""Money is exact."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.strategies import EXACT_MICRO_UNITS

from stoa.domain.metering.money import MICRO, MicroUnits, from_decimal, from_json_number, to_decimal, to_json_number


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


@given(st.integers(0, EXACT_MICRO_UNITS))
@example(EXACT_MICRO_UNITS)
@example(10**15)
@example(0)
def test_an_amount_is_read_back_from_its_json_number(amount):
    found = from_json_number(to_json_number(MicroUnits(amount)))
    assert (found, type(found)) == (amount, int)


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**20), 10**20) | st.floats(0, 2 * 10**9))
@example(1e-7)
@example(0.1 + 0.2)
@example(-0.000001)
@example(10**9)
@example(999999999.9999999)
def test_a_json_number_means_what_its_digits_say(number):
    try:
        expected = from_decimal(Decimal(str(number)))
    except ValueError as refused:
        with pytest.raises(ValueError, match=r"amount|finer") as again:
            from_json_number(number)
        assert str(again.value) == str(refused)
    else:
        assert from_json_number(number) == expected


def test_an_amount_is_a_million_micro_units():
    assert from_decimal(Decimal("1.000001")) == from_json_number(1.000001) == MICRO + 1 == 1_000_001
    assert to_decimal(MicroUnits(1_500_000)) == Decimal("1.5")
    assert to_json_number(MicroUnits(1_500_000)) == 1.5


def test_a_refused_amount_is_told():
    with pytest.raises(ValueError, match=r"^1E-7 is finer than one micro-unit \(0\.000001\)$"):
        from_decimal(Decimal("1e-7"))
    with pytest.raises(ValueError, match=r"^NaN is not an amount$"):
        from_decimal(Decimal("NaN"))
