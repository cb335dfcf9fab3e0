"""Which reports of progress go out."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.calls.progress import ProgressPace

INTERVAL_NS = 100
reports = st.lists(
    st.tuples(st.floats() | st.integers(0, 30), st.none() | st.floats() | st.just(20.0), st.integers(0, 150)),
    max_size=40,
)


@given(reports)
def test_reports_increase_keep_their_distance_and_stop_at_the_total(
    steps: list[tuple[float, float | None, int]],
) -> None:
    pace, now, sent = ProgressPace(INTERVAL_NS), 0, list[tuple[float, int, bool]]()
    for progress, total, waited in steps:
        now += waited
        if pace.accepts(progress, total, now):
            sent.append((progress, now, total is not None and progress >= total))
    assert all(a[0] < b[0] for a, b in pairwise(sent))
    assert all(b[1] - a[1] >= INTERVAL_NS or b[2] for a, b in pairwise(sent))
    assert not any(is_complete for _, _, is_complete in sent[:-1])


def test_the_first_report_and_the_one_that_reaches_the_total_never_wait() -> None:
    pace = ProgressPace(INTERVAL_NS)
    assert [pace.accepts(value, 3, 0) for value in (1, 2, 3, 4)] == [True, False, True, False]


def test_in_any_second_at_most_ten_reports_and_the_last_go_out() -> None:
    pace = ProgressPace(100_000_000)
    sent = [at for at in range(0, 3_000_000_000, 7_000_000) if pace.accepts(at, None, at)]
    for start in sent:
        assert sum(start <= at < start + 1_000_000_000 for at in sent) <= 10


def test_without_an_interval_every_report_that_increases_goes_out() -> None:
    pace = ProgressPace()
    assert [pace.accepts(value, None, 5) for value in (0.0, 0.5, 0.5, 0.25, 1)] == [True, True, False, False, True]


def test_the_next_report_goes_out_exactly_when_the_interval_is_over() -> None:
    pace = ProgressPace(100)
    assert [pace.accepts(value, None, now) for value, now in ((1, 7), (2, 106), (3, 107), (4, 206), (5, 207))] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_a_first_report_below_zero_goes_out_at_once() -> None:
    pace = ProgressPace(100)
    assert pace.accepts(-5, 10, 0)
    assert not pace.accepts(-4, 10, 99)


@pytest.mark.parametrize(
    ("progress", "total"), [(math.nan, None), (math.inf, None), (-math.inf, 1), (1, math.inf), (1, math.nan)]
)
def test_what_is_no_number_never_goes_out_and_counts_as_nothing(progress: float, total: float | None) -> None:
    pace = ProgressPace(100)
    assert not pace.accepts(progress, total, 0)
    assert pace.accepts(0, 1, 0)


def test_nothing_follows_a_report_that_goes_beyond_its_total() -> None:
    pace = ProgressPace(100)
    assert pace.accepts(7, 5, 0)
    assert not pace.accepts(8, None, 1000)


@pytest.mark.parametrize(("progress", "total"), [(math.inf, None), (math.nan, None), (2, math.inf), (2, math.nan)])
def test_what_is_no_number_is_not_told(progress: float, total: float | None) -> None:
    pace = ProgressPace(INTERVAL_NS)
    assert pace.accepts(1, None, 0)
    assert not pace.accepts(progress, total, 1000)
    assert pace.accepts(2, None, 1000)
