"""Levels of a budget are exact, and each is told of once."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.budget import LEVELS, MOST_MICRO_UNITS, crossed, fits, level_of, threshold

amounts = st.integers(0, 200) | st.integers(0, MOST_MICRO_UNITS)


@given(amounts, amounts)
def test_a_level_is_reached_when_that_part_of_the_limit_is_spent(spent: int, limit: int) -> None:
    reached = level_of(spent, limit)
    for level in LEVELS:
        is_reached = Fraction(level, 100) * limit <= spent
        assert (reached >= level) == is_reached == (spent >= threshold(level, limit))
    assert level_of(spent, limit, is_refused=True) == 100


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
