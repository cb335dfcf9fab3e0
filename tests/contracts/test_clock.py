"""The laws of Clock and IdFactory, for every adapter, and what only one of them can show."""

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.memory.clock import SystemClock
from stoa.application.memory.ids import UuidFactory
from stoa.application.ports import Clock, IdFactory
from stoa.domain.errors import InvalidInput
from stoa.testing.clock import ManualClock
from stoa.testing.ids import SequentialIds


@pytest.fixture(scope="session", params=[SystemClock, ManualClock])
def new_clock(request: pytest.FixtureRequest) -> Callable[[], Clock]:
    return request.param


@pytest.fixture(scope="session", params=[UuidFactory, SequentialIds])
def new_ids(request: pytest.FixtureRequest) -> Callable[[], IdFactory]:
    return request.param


def test_now_is_aware_and_in_utc(new_clock):
    assert new_clock().now().tzinfo is UTC


def test_monotonic_time_never_goes_back(new_clock):
    clock = new_clock()
    readings = [clock.monotonic_ns() for _ in range(1000)]
    assert readings == sorted(readings)


@given(st.lists(st.integers(0, 10**9), max_size=20))
def test_both_times_of_a_manual_clock_move_by_what_it_is_advanced(microseconds):
    start = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    clock = ManualClock(start)
    for step in microseconds:
        clock.advance(step / 1_000_000)
    assert clock.now() - start == timedelta(microseconds=sum(microseconds))
    assert clock.monotonic_ns() == sum(microseconds) * 1000
    assert clock.now().tzinfo is UTC


def test_a_manual_clock_stands_still_by_itself():
    clock = ManualClock()
    assert (clock.now(), clock.monotonic_ns()) == (clock.now(), clock.monotonic_ns())


def test_a_manual_clock_refuses_to_go_back():
    with pytest.raises(InvalidInput, match="forward only"):
        ManualClock().advance(-1)


def test_a_manual_clock_refuses_a_start_without_time_zone():
    with pytest.raises(InvalidInput, match="time zone"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test


def test_ids_are_canonical_version_7_uuids_and_never_repeat(new_ids):
    ids = new_ids()
    made = [ids.new_id() for _ in range(20_000)]
    assert len(set(made)) == len(made)
    for text in made[::997]:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)


def test_ids_sort_in_the_order_in_which_they_were_made(new_ids):
    ids = new_ids()
    made = [ids.new_id() for _ in range(20_000)]
    assert made == sorted(made)


@given(st.lists(st.integers(0, 2**47), min_size=1, max_size=30))
def test_uuids_keep_increasing_when_the_machines_clock_jumps(milliseconds):
    times = iter(milliseconds)
    ids = UuidFactory(lambda: next(times) * 1_000_000)
    made = [ids.new_id() for _ in milliseconds]
    assert made == sorted(set(made))
    assert uuid.UUID(made[-1]).int >> 80 == max(milliseconds)


def test_two_factories_in_one_process_never_agree():
    first, second = UuidFactory(lambda: 0), UuidFactory(lambda: 0)
    assert {first.new_id() for _ in range(1000)}.isdisjoint(second.new_id() for _ in range(1000))


def test_uuids_do_not_repeat_across_threads():
    ids, made = UuidFactory(), []
    threads = [Thread(target=lambda: made.extend(ids.new_id() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(set(made)) == 8000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of fork in a process with threads
def test_a_forked_child_makes_other_ids_than_its_parent():
    ids = UuidFactory(lambda: 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, ids.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        assert answers.read() not in {"", ids.new_id()}


def test_sequential_ids_can_be_foretold():
    ids = SequentialIds()
    assert [ids.new_id(), ids.new_id()] == [
        "00000000-0000-7000-8000-000000000001",
        "00000000-0000-7000-8000-000000000002",
    ]
