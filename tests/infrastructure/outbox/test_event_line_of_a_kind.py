"""The line of an event that was made of a kind is the line of an equal event that was not."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.metering.event import EventKind, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.infrastructure.outbox.event_line import encode

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
times = st.builds(
    lambda microseconds, hours: (
        datetime.fromtimestamp(0, timezone(timedelta(hours=hours))) + timedelta(microseconds=microseconds)
    ),
    st.integers(0, 10**16),
    st.integers(-12, 14),
)


@given(
    texts,
    st.dictionaries(texts, texts, max_size=3),
    st.sampled_from(list(Status)),
    times,
    st.integers(0, 10**15),
    st.integers(0, 10**6),
    texts,
)
def test_event_line_of_a_kind_is_that_of_an_equal_event(
    text: str, metadata: dict[str, str], status: Status, when: datetime, cost: int, latency_ms: int, request_id: str
) -> None:
    event = MeteringEvent(
        event_id="e-1",
        timestamp=when,
        tenant="acme",
        project=text,
        consumer=text,
        user_id=text,
        tool=text,
        latency_ms=latency_ms,
        status=status,
        cost_units=MicroUnits(cost),
        request_id=request_id,
        metadata=metadata,
    )
    same = EventKind(event).event("e-1", when, latency_ms, MicroUnits(cost), request_id)
    assert encode(same) == encode(event)
    assert MeteringEvent.from_json(encode(same)) == event


def test_event_line_of_a_kind_that_is_too_long_is_cut_too() -> None:
    event = MeteringEvent(
        event_id="e-1",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        tenant="acme",
        user_id="ann",
        tool="tool",
        latency_ms=1,
        status=Status.SUCCESS,
        metadata={"argument.text": "x" * 10_000},
    )
    same = EventKind(event).event("e-1", event.timestamp, 1, MicroUnits(0), "r")
    assert MeteringEvent.from_json(encode(same)).metadata["cut"] == "yes"
