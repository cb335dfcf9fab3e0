"""Prices and money are exact."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import EXACT_MICRO_UNITS, price_lists

from stoa.domain.metering import PriceList
from stoa.domain.money import from_decimal, to_decimal, to_json_number

latencies = st.integers(0, 10**9)


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


@given(price_lists, latencies, latencies, st.booleans())
def test_the_price_never_falls_with_latency(prices, one, other, is_premium):
    shorter, longer = sorted([one, other])
    cheap = prices.quote(is_premium=is_premium, latency_ms=shorter)
    assert cheap <= prices.quote(is_premium=is_premium, latency_ms=longer)


@given(price_lists, latencies)
def test_the_price_is_base_and_latency_to_the_micro_unit(prices, latency_ms):
    plain = prices.quote(is_premium=False, latency_ms=latency_ms)
    premium = prices.quote(is_premium=True, latency_ms=latency_ms)
    exact = prices.base + Decimal(prices.per_100_ms) * latency_ms / 100
    assert 0 <= exact - plain < 1
    assert isinstance(plain, int)
    assert premium - plain == prices.base * (prices.premium_factor - 1)


def test_the_documented_prices():
    prices = PriceList()
    assert to_decimal(prices.quote(is_premium=False, latency_ms=0)) == Decimal("0.001")
    assert to_decimal(prices.quote(is_premium=True, latency_ms=0)) == Decimal("0.002")
    assert to_decimal(prices.quote(is_premium=False, latency_ms=250)) == Decimal("0.00125")
    assert to_decimal(prices.quote(is_premium=False, latency_ms=1)) == Decimal("0.001001")
