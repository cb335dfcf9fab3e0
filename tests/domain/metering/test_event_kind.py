"""Events of one kind equal those that validation makes."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.metering.event import EventKind, MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits

WHEN = datetime(2026, 11, 30, 12, 0, 0, 5, UTC)


def validated(latency_ms: int = 3, cost: int = 1100, request_id: str = "r-1") -> MeteringEvent:
    return MeteringEvent(
        event_id="e-1",
        timestamp=WHEN,
        tenant="acme",
        project="Shop",
        consumer="unknown",
        user_id="ann",
        tool="getPet",
        latency_ms=latency_ms,
        status=Status.SUCCESS,
        cost_units=MicroUnits(cost),
        request_id=request_id,
        metadata={"door": "mcp", "rules": "role"},
    )


@given(st.integers(0, 10**7), st.integers(0, 10**12), st.text(min_size=1, max_size=20))
def test_event_of_a_kind_equals_the_validated_event(latency_ms: int, cost: int, request_id: str) -> None:
    event = EventKind(validated()).event("e-1", WHEN, latency_ms, MicroUnits(cost), request_id)
    expected = validated(latency_ms, cost, request_id)
    assert event == expected
    assert expected == event
    assert event.model_dump_json() == expected.model_dump_json()
    assert dict(event) == dict(expected)
    assert (repr(event), event.model_fields_set) == (repr(expected), expected.model_fields_set)


def test_event_copied_from_one_of_a_kind_is_of_none() -> None:
    kind = EventKind(validated())
    event = kind.event("e-1", WHEN, 3, MicroUnits(1100), "r-1")
    assert event.kind is kind
    assert validated().kind is None
    changed = event.model_copy(update={"tool": "other"})
    assert (changed.kind, changed.tool) == (None, "other")


def test_events_of_a_kind_do_not_share_their_metadata() -> None:
    kind = EventKind(validated())
    first, second = (kind.event("e-1", WHEN, 3, MicroUnits(1), "r-1") for _ in range(2))
    first.metadata["more"] = "text"
    assert "more" not in second.metadata
