"""Remembered tariffs are those of the price list."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import few_tenants, instants, operations, price_lists

from stoa.application.metering.pricing import Pricing
from stoa.domain.metering.price_list import PriceList


@given(price_lists, st.lists(operations(), min_size=1, max_size=4), st.integers(1, 3), st.data())
@settings(max_examples=25)
def test_what_is_remembered_is_what_the_price_list_says(prices, found, capacity, data) -> None:
    pricing = Pricing(prices, capacity=capacity)
    moments = st.sampled_from([*prices.instants, *(at - timedelta(microseconds=1) for at in prices.instants)])
    for _ in range(10):
        operation = data.draw(st.sampled_from(found))
        tenant = data.draw(st.none() | few_tenants)
        at = data.draw((moments | instants) if prices.instants else instants)
        assert pricing.tariff(operation, tenant, at) == prices.tariff(operation, tenant, at)
    assert all(len(remembered) <= capacity for remembered in pricing._remembered)


@given(operations(), instants)
def test_a_tariff_is_made_once(operation, at) -> None:
    pricing = Pricing(PriceList())
    assert pricing.tariff(operation, None, at) is pricing.tariff(operation, None, at)
