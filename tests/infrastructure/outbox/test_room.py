"""The arithmetic of disk room, against a model that knows every line and every segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.infrastructure.outbox.room import Allowance, Census, RoomLedger, divide_room

LINE = 10
STEPS = st.lists(
    st.one_of(st.just(("promise", 0)), st.tuples(st.sampled_from(["redeem", "write"]), st.integers(1, LINE))),
    max_size=60,
)
SIZES = st.integers(LINE, 5 * LINE)


class Segments:
    """Segments of `size` bytes as a pool fills them, the first one and then the spare ones, and their ledger."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rooms: list[int] = []
        self.promised = 0
        self.ledger = RoomLedger(size, LINE)

    def recount(self) -> None:
        self.ledger.recount(self.rooms[0] if self.rooms else 0, max(len(self.rooms) - 1, 0))

    def add(self) -> None:
        self.rooms.append(self.size)
        self.recount()

    def step(self, kind: str, length: int) -> None:
        """What a pool does for one promise or one line. Segments are added only where the ledger asks for one."""
        if kind == "promise":
            while not self.ledger.promise():
                self.add()
            self.promised += 1
            return
        while not self.ledger.begin_line(is_promised=kind == "redeem"):
            self.add()
        self.promised -= bool(kind == "redeem" and self.promised)
        self.write(length)

    def write(self, length: int) -> None:
        """A line goes to the first segment, or to the next one where the end of the first is too short."""
        if self.rooms[0] < length:
            del self.rooms[0]
            self.recount()
        assert self.rooms[0] >= length
        self.rooms[0] -= length
        self.ledger.end_line(length)

    def assert_promises_fit(self) -> None:
        """The longest lines there are, and no further segment."""
        for _ in range(self.promised):
            assert self.ledger.begin_line(is_promised=True)
            self.write(LINE)


@given(size=SIZES, steps=STEPS)
def test_room_ledger_keeps_room_for_every_promised_line(size: int, steps: list[tuple[str, int]]) -> None:
    segments = Segments(size)
    for kind, length in steps:
        segments.step(kind, length)
    segments.assert_promises_fit()


@given(size=SIZES, steps=STEPS, lost=st.integers(0, 3))
def test_room_ledger_asks_for_room_for_the_promises_again_when_segments_were_lost(
    size: int, steps: list[tuple[str, int]], lost: int
) -> None:
    segments = Segments(size)
    for kind, length in steps:
        segments.step(kind, length)
    del segments.rooms[:lost]
    segments.recount()
    while not segments.ledger.has_room:
        segments.add()
    segments.assert_promises_fit()


@given(size=SIZES, steps=STEPS)
def test_room_ledger_gives_out_every_whole_line_and_no_more(size: int, steps: list[tuple[str, int]]) -> None:
    segments = Segments(size)
    segments.add()
    for kind, length in steps:
        segments.step(kind, length)
    first, *spare = segments.rooms
    lines = first // LINE + len(spare) * (size // LINE) - segments.promised
    for _ in range(lines):
        assert segments.ledger.promise()
    assert not segments.ledger.promise()


@given(size=SIZES, steps=STEPS)
def test_room_ledger_is_changed_by_no_recount(size: int, steps: list[tuple[str, int]]) -> None:
    counted, recounted = Segments(size), Segments(size)
    for kind, length in steps:
        for segments in (counted, recounted):
            segments.step(kind, length)
        recounted.recount()
        assert (counted.rooms, counted.ledger.has_room) == (recounted.rooms, recounted.ledger.has_room)


def test_room_ledger_gives_a_line_without_a_promise_none_of_the_promised_room() -> None:
    ledger = RoomLedger(LINE, LINE)
    ledger.recount(LINE, 0)
    assert ledger.promise()
    assert not ledger.begin_line(is_promised=False)
    assert not ledger.promise()
    assert ledger.begin_line(is_promised=True)


def test_room_ledger_redeems_a_promise_once() -> None:
    ledger = RoomLedger(2 * LINE, LINE)
    ledger.recount(2 * LINE, 0)
    assert ledger.promise()
    for length in (LINE, LINE):
        assert ledger.begin_line(is_promised=True)
        ledger.end_line(length)
    assert not ledger.begin_line(is_promised=True)


@given(segment=st.integers(LINE, 1000), total=st.integers(1000, 10_000), refusals=st.integers(16 * LINE, 10_000))
def test_room_of_refused_calls_is_divided_within_its_bound_in_small_segments(
    segment: int, total: int, refusals: int
) -> None:
    calls, refused, summaries = divide_room(segment, total, refusals, LINE)
    assert calls == Allowance(segment, total)
    assert refused.max_bytes + summaries.max_bytes == refusals
    for part in (refused, summaries):
        assert LINE <= part.segment_bytes <= segment
        assert part.segment_bytes == LINE or part.segment_bytes * 8 <= part.max_bytes


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((LINE - 1, 100, 160), "segment_bytes is 9; one event may need 10"),
        ((50, 49, 160), "max_total_bytes is 49; one segment needs 50"),
        ((50, 50, 159), "max_refusal_bytes is 159; give at least 160"),
    ],
)
def test_room_that_fits_no_line_is_refused_by_the_name_of_its_bound(bounds: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        divide_room(*bounds, LINE)


@given(used=st.integers(0, 1000), removable=st.integers(0, 1000), segment=st.integers(1, 100))
def test_census_of_a_directory_says_what_is_kept_and_by_how_much_a_segment_is_too_many(
    used: int, removable: int, segment: int
) -> None:
    census, allowance = Census(1, used + removable, removable), Allowance(segment, 500)
    assert census.kept_bytes == used
    assert (census.excess_bytes(allowance) <= 0) == (census.with_segment(segment).used_bytes <= 500)
    assert census.with_segment(segment).segments == 2
