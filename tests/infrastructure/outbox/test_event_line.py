"""Every event has a line of bounded length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.events import event
from tests.strategies import metering_events

from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox.event_line import MAX_LINE_BYTES, encode

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40).flatmap(
    lambda text: st.integers(1, 400).map(lambda times: text * times)
)


@given(metering_events())
def test_an_ordinary_event_is_one_line_that_reads_back_equal(written: MeteringEvent) -> None:
    line = encode(written)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\0" not in line
    assert MeteringEvent.from_json(line) == written


@given(st.data())
def test_whatever_the_texts_the_line_is_bounded_and_reads_back(data: st.DataObject) -> None:
    texts = {name: data.draw(ANY_TEXT) or "-" for name in ("event_id", "project", "user_id", "request_id")}
    metadata = data.draw(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=30))
    unchecked = event().model_copy(update={**texts, "metadata": metadata})
    line = encode(unchecked)
    assert len(line) <= MAX_LINE_BYTES
    assert line.count(b"\n") == 1
    back = MeteringEvent.from_json(line)
    assert (back.cost_units, back.status, back.timestamp) == (
        unchecked.cost_units,
        unchecked.status,
        unchecked.timestamp,
    )


@pytest.mark.parametrize("character", ["\x00", "\ud800", "\U0001f600", '"', "x"])
def test_the_worst_event_still_fits_and_says_that_it_was_cut(character: str) -> None:
    long = character * 100_000
    names = ("event_id", "tenant", "project", "consumer", "user_id", "tool", "request_id")
    worst = MeteringEvent.model_construct(
        **{
            **dict(event()),
            **dict.fromkeys(names, long),
            "latency_ms": 10**18,
            "metadata": {f"{n}{long}": long for n in range(99)},
        }
    )
    line = encode(worst)
    assert len(line) <= MAX_LINE_BYTES
    assert b'"cut":"yes"' in line
