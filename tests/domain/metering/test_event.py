"""MeteringEvent's JSON, and exact money."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import EXACT_MICRO_UNITS, metering_events

from stoa.domain.metering.event import CHARGED, NO_TENANT, NO_USER, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits, from_decimal, to_decimal, to_json_number

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
        "latency_ms", "status", "calls", "cost_units", "request_id", "metadata",
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


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("event_id", ["e"], [""]),
        ("tenant", ["-", "x" * 64], ["", "x" * 65]),
        ("consumer", ["", "x" * 128], ["x" * 129]),
        ("user_id", ["-", "x" * 300], [""]),
        ("tool", ["t", "x" * 128], ["", "x" * 129]),
        ("latency_ms", [0, 10**9], [-1]),
        ("timestamp", [datetime(2026, 1, 1, tzinfo=UTC)], [datetime(2026, 1, 1)]),  # noqa: DTZ001
        ("status", list(Status), ["ok"]),
    ],
)
def test_the_bounds_of_an_event(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(MeteringEvent.model_validate({**dict(EVENT), field: value}), field) == value
    for value in bad:
        with pytest.raises(ValidationError, match=field):
            MeteringEvent.model_validate({**dict(EVENT), field: value})


def test_the_words_for_how_a_call_ended_are_the_published_ones() -> None:
    assert {status.name: status.value for status in Status} == {
        name: name.lower()
        for name in (
            *("SUCCESS", "ERROR", "TIMEOUT", "RATE_LIMITED", "UNAUTHORIZED", "INVALID"),
            *("CANCELLED", "INPUT_REQUIRED"),
        )
    }
    assert {Status.SUCCESS, Status.ERROR, Status.TIMEOUT, Status.CANCELLED} == CHARGED


def test_nobody_stands_in_an_event_as_a_dash() -> None:
    assert (NO_TENANT, NO_USER) == ("-", "-")


def test_cost_is_cost_units_in_json_and_micro_units_in_memory() -> None:
    assert EVENT.model_dump()["cost_units"] == 1012
    assert json.loads(EVENT.model_dump_json())["cost_units"] == 0.001012
    assert EVENT.model_dump(mode="json")["cost_units"] == 0.001012


@pytest.mark.parametrize("line", ["[1]", "{}", '{"cost_units": true}', '{"cost_units": "1"}', '"x"'])
def test_what_is_no_event_is_told_what_it_lacks(line: str) -> None:
    with pytest.raises(ValueError, match=r"^not a metering event: a JSON object with the number cost_units$"):
        MeteringEvent.from_json(line)


def test_a_cost_may_be_written_as_a_whole_number() -> None:
    line = EVENT.model_dump_json().replace("0.001012", "3")
    assert MeteringEvent.from_json(line).cost_units == 3_000_000


def test_the_published_schema_says_what_each_field_means() -> None:
    described = MeteringEvent.model_json_schema()["properties"]
    assert described["latency_ms"]["description"] == "From the request's arrival to its end, in milliseconds."
    assert described["cost_units"]["description"]
