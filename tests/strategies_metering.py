"""Hypothesis strategies for metering events."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from stoa.domain.metering import MeteringEvent, Status

EXACT_MICRO_UNITS = 10**15 - 1
"""The greatest amount that its JSON number carries exactly (stoa.domain.money)."""


def metering_events(*, padding: int = 0) -> st.SearchStrategy[MeteringEvent]:
    """Any event whose JSON stays within 8 KiB; `padding` (at most 2000) adds up to so many bytes of metadata."""
    names = st.text(min_size=1, max_size=40)
    details = st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=3)
    paddings = st.integers(0, padding).map(lambda length: {"padding": "x" * length} if length else {})
    return st.builds(
        MeteringEvent,
        event_id=st.uuids().map(str) | names,
        timestamp=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        tenant=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True) | st.just("-"),
        project=st.none() | names,
        consumer=st.text(max_size=128),
        user_id=names,
        tool=st.from_regex(r"[A-Za-z0-9_.-]{1,128}", fullmatch=True),
        latency_ms=st.integers(0, 10**9),
        status=st.sampled_from(Status),
        cost_units=st.integers(0, EXACT_MICRO_UNITS),
        request_id=st.none() | names,
        metadata=st.tuples(details, paddings).map(lambda parts: {**parts[0], **parts[1]}),
    )
