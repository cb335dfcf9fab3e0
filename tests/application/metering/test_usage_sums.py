"""The cache of sums by segment: bounded, never wrong, and read on from where it was."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.application.metering.usage_logs import Segments, event

from stoa.application.metering.usage_sums import Grouping, SegmentSumCache, UsageSums
from stoa.domain.errors import MeteringUnavailable

NAMES = st.sampled_from("abcd")
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), NAMES, st.lists(st.integers(0, 5), max_size=4)),
        st.tuples(st.just("lose"), NAMES),
        st.tuples(st.just("fail")),
        st.tuples(st.just("read")),
    ),
    max_size=20,
)


def no_rest() -> None:
    pass


def figures(sums: UsageSums) -> dict[Any, Any]:
    return {group: (summed.calls, summed.cost, summed.latencies.tolist()) for group, summed in sums.groups.items()}


@given(maximum=st.integers(0, 8), changes=CHANGES)
def test_segment_sum_cache_equals_a_fresh_sum_and_stays_within_its_bound(
    maximum: int, changes: list[tuple[Any, ...]]
) -> None:
    log, lost = Segments(), 0
    cache = SegmentSumCache(log, Grouping(), maximum)
    for change in changes:
        match change:
            case ("add", name, tools):
                # A name is not used again after its segment was lost, which is a law of SegmentedLog.
                log.held.setdefault(f"{name}{lost}", []).extend(event(tool=f"tool {tool}") for tool in tools)
            case ("lose", name):
                log.held.pop(f"{name}{lost}", None)
                lost += 1
            case ("fail",):
                log.failing = True
                with suppress(MeteringUnavailable):
                    list(cache.segments(no_rest))
                log.failing = False
            case _:
                read = {name: figures(sums) for name, sums in cache.segments(no_rest)}
                fresh: dict[str, dict[Any, Any]] = {}
                for name, events in log.held.items():
                    sums = UsageSums(Grouping())
                    sums.add(events, no_rest)
                    fresh[name] = figures(sums)
                assert read == fresh
        assert len(cache) <= maximum


def test_segment_sum_cache_has_the_room_of_lost_segments_for_others() -> None:
    log = Segments()
    log.held = {"a": [event(tool="1"), event(tool="2")], "b": [event(tool="1")]}
    cache = SegmentSumCache(log, Grouping(), 2)
    list(cache.segments(no_rest))
    assert len(cache) == 2
    del log.held["a"]
    list(cache.segments(no_rest))
    list(cache.segments(no_rest))
    assert (len(cache), log.parsed) == (1, 4)


def test_segment_sum_cache_forgets_a_segment_whose_reading_failed() -> None:
    log = Segments()
    log.held = {"a": [event()]}
    cache = SegmentSumCache(log, Grouping(), 10)
    list(cache.segments(no_rest))
    log.held["a"].append(event())
    log.failing = True
    with pytest.raises(MeteringUnavailable):
        list(cache.segments(no_rest))
    assert len(cache) == 0
