"""MeteringEvent's JSON, and exact money."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.strategies import EXACT_MICRO_UNITS, metering_events

from stoa.domain.metering import MeteringEvent, Status
from stoa.domain.money import MicroUnits, from_decimal, to_decimal, to_json_number

AMOUNTS = st.integers(0, EXACT_MICRO_UNITS).map(MicroUnits)
EVENT = MeteringEvent(
    event_id="e-1",
    timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    tenant="acme",
    user_id="alice",
    tool="pets.list",
    latency_ms=12,
    status=Status.SUCCESS,
    cost_units=MicroUnits(1012),
)


@given(metering_events())
def test_an_event_read_back_from_json_equals_the_one_written(event: MeteringEvent) -> None:
    assert MeteringEvent.from_json(event.model_dump_json()) == event


@given(metering_events())
def test_cost_in_json_is_the_exact_amount_in_cost_units(event: MeteringEvent) -> None:
    shown = json.loads(event.model_dump_json(), parse_float=Decimal, parse_int=Decimal)["cost_units"]
    assert shown * 1_000_000 == event.cost_units


def test_the_json_of_an_event_has_the_published_fields() -> None:
    assert list(json.loads(EVENT.model_dump_json())) == [
        "event_id", "timestamp", "tenant", "project", "consumer", "user_id", "tool",
        "latency_ms", "status", "cost_units", "request_id", "metadata",
    ]  # fmt: skip


@given(st.binary(max_size=200) | st.text().map(str.encode))
@example(b"[1]")
@example(b"null")
@example(b"{}")
@example(b"1" * 5000)
def test_anything_that_is_no_event_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # the message depends on what is wrong
        MeteringEvent.from_json(line)


@pytest.mark.parametrize(
    "cost", ["1e999", "NaN", "Infinity", "-1e-7", "0.0000001", '"0.001"', "null", "true", "[]", "{}"]
)
def test_a_cost_that_is_no_whole_number_of_micro_units_is_a_value_error(cost: str) -> None:
    line = EVENT.model_dump_json().replace("0.001012", cost)
    with pytest.raises(ValueError):
        MeteringEvent.from_json(line)


@given(metering_events(), st.data())
def test_a_torn_event_is_a_value_error(event: MeteringEvent, data: st.DataObject) -> None:
    line = event.model_dump_json().encode()
    with pytest.raises(ValueError):
        MeteringEvent.from_json(line[: data.draw(st.integers(0, len(line) - 1))])


@given(AMOUNTS)
def test_money_survives_decimal_and_json_exactly(amount: MicroUnits) -> None:
    assert from_decimal(to_decimal(amount)) == amount
    assert from_decimal(Decimal(json.dumps(to_json_number(amount)))) == amount


@given(st.decimals(allow_nan=True, allow_infinity=True, places=None))
@example(Decimal("0.00000100000000000000000000000000000000001"))
@example(Decimal("1e-7"))
def test_money_is_never_rounded_in_silence(units: Decimal) -> None:
    try:
        amount = from_decimal(units)
    except ValueError:
        return
    sign, digits, exponent = units.as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert amount * 10 ** max(-exponent - 6, 0) == mantissa * 10 ** max(exponent + 6, 0)
