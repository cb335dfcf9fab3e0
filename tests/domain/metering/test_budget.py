"""Levels of a budget are exact, and each is told of once."""

import time
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stoa.domain.access.identity import TenantId
from stoa.domain.metering.budget import (
    LEVELS,
    MOST_MICRO_UNITS,
    Budget,
    Month,
    Owner,
    crossed,
    fits,
    level_of,
    threshold,
)

amounts = st.integers(0, 200) | st.integers(0, MOST_MICRO_UNITS)


@given(amounts, amounts)
def test_a_level_is_reached_when_that_part_of_the_limit_is_spent(spent: int, limit: int) -> None:
    reached = level_of(spent, limit)
    for level in LEVELS:
        is_reached = Fraction(level, 100) * limit <= spent
        assert (reached >= level) == is_reached == (spent >= threshold(level, limit))
    assert level_of(spent, limit, is_refused=True) == 100


def test_the_level_just_below_is_not_reached() -> None:
    assert [level_of(spent, 1000) for spent in (799, 800, 999, 1000)] == [0, 80, 80, 100]


@given(st.lists(st.tuples(amounts, st.booleans())), amounts)
def test_whatever_is_spent_and_given_back_each_level_is_told_of_once(
    figures: list[tuple[int, bool]], limit: int
) -> None:
    noticed, told = 0, []
    for spent, is_refused in figures:
        reached = level_of(spent, limit, is_refused=is_refused)
        told += crossed(noticed, reached)
        noticed = max(noticed, reached)
    assert told == [
        level for level in LEVELS if any(level_of(spent, limit, is_refused=no) >= level for spent, no in figures)
    ]


@given(amounts, amounts, amounts)
def test_what_fits_stays_within_the_limit(spent: int, amount: int, limit: int) -> None:
    assert fits(spent, amount, limit) == (spent + amount <= limit)


@pytest.mark.parametrize(
    ("level", "limit", "least"), [(80, 100, 80), (100, 100, 100), (80, 101, 81), (80, 0, 0), (100, 7, 7), (80, 7, 6)]
)
def test_a_threshold_is_a_whole_number_rounded_up(level: Any, limit: int, least: int) -> None:
    found = threshold(level, limit)
    assert (found, type(found)) == (least, int)


@pytest.mark.parametrize(
    ("spent", "limit", "level"), [(0, 1, 0), (79, 100, 0), (80, 100, 80), (99, 100, 80), (100, 100, 100), (0, 0, 100)]
)
def test_the_levels_at_their_edges(spent: int, limit: int, level: int) -> None:
    assert level_of(spent, limit) == level
    assert level_of(spent, limit, is_refused=True) == 100


@given(st.sampled_from([0, 80, 100]), st.sampled_from([0, 80, 100]))
def test_told_is_what_lies_between_what_was_noticed_and_what_is_reached(noticed: int, reached: int) -> None:
    assert crossed(noticed, reached) == tuple(level for level in (80, 100) if noticed < level <= reached)


months = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


@given(months, st.integers(-23, 23))
def test_a_month_is_that_of_the_instant_in_utc_wherever_it_is_told(moment: datetime, hours: int) -> None:
    month = Month.of(moment.astimezone(timezone(timedelta(hours=hours))))
    assert (month.year, month.month) == (moment.year, moment.month)
    assert month.begin == moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert month.begin.tzinfo is UTC


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the system does not let a process choose its time zone")
def test_a_month_is_not_that_of_where_the_gateway_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-14")
        time.tzset()
        assert Month.of(datetime(2026, 1, 31, 23, tzinfo=UTC)) == Month(2026, 1)
    time.tzset()


@given(months.filter(lambda moment: (moment.year, moment.month) != (9999, 12)))
def test_the_next_month_is_the_one_that_begins_within_31_days(moment: datetime) -> None:
    month = Month.of(moment)
    assert month.next == Month.of(month.begin + timedelta(days=31))
    assert month.next.begin - month.begin in {timedelta(days=days) for days in (28, 29, 30, 31)}


def test_a_month_is_written_so_that_texts_sort_as_months_do() -> None:
    assert [str(Month(2026, 1)), str(Month(2026, 12)), str(Month(987, 6))] == ["2026-01", "2026-12", "0987-06"]


def test_a_budget_is_a_tenants_or_that_of_one_of_its_applications() -> None:
    assert Budget(tenant="acme", monthly=5).owner == Owner(TenantId("acme"))
    assert Budget(tenant="acme", consumer="app", monthly=5).owner == Owner(TenantId("acme"), "app")
    assert Owner(TenantId("acme")) == Owner(TenantId("acme"), None)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("monthly", [0, 1, 10**15], [-1, 10**15 + 1]),
        ("consumer", [None, "a", "x" * 128], ["", "x" * 129]),
        ("tenant", ["acme"], ["Acme", None]),
    ],
)
def test_the_bounds_of_a_budget(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Budget(**{"tenant": "acme", "monthly": 1, field: value}), field) == value
    for value in bad:
        with pytest.raises(ValidationError, match=field):
            Budget(**{"tenant": "acme", "monthly": 1, field: value})
