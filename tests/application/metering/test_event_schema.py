"""The published schema of metering events is that of the events."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from tests.strategies import metering_events

from stoa.application.metering.event_schema import SCHEMA_ID, metering_event_schema
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.outbox import OutboxMeteringSink
from stoa.infrastructure.outbox.segment import list_segments, read_piece
from stoa.testing.clock import ManualClock

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "metering-event.v1.json"
SCHEMA: dict[str, Any] = json.loads(PUBLISHED.read_text())
VALIDATOR = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)


def test_the_published_file_is_what_the_model_says() -> None:
    command = "json.dumps(metering_event_schema(), indent=2)"
    assert PUBLISHED.read_text() == json.dumps(metering_event_schema(), indent=2) + "\n", f"write it anew: {command}"


def test_every_field_is_described() -> None:
    assert SCHEMA["$id"] == SCHEMA_ID
    assert set(SCHEMA["properties"]) == set(MeteringEvent.model_fields)
    assert all(field["description"] for field in SCHEMA["properties"].values())
    assert SCHEMA["properties"]["cost_units"]["type"] == "number"


@given(metering_events())
def test_every_event_is_valid(event: MeteringEvent) -> None:
    VALIDATOR.validate(json.loads(event.model_dump_json()))


@given(metering_events())
async def test_every_line_of_an_outbox_is_valid(tmp_path_factory: pytest.TempPathFactory, event: MeteringEvent) -> None:
    directory = tmp_path_factory.mktemp("outbox")
    sink = OutboxMeteringSink(directory, clock=ManualClock(), segment_bytes=64 * 1024)
    sink.reserve()
    await sink.record(event.model_copy(update={"metadata": {"long": "x" * 9000}}))
    await sink.record(event, is_reserved=False)
    await sink.close()
    lines = [line for path in list_segments(directory) for line in read_piece(path).lines]
    assert len(lines) == 2
    for line in lines:
        VALIDATOR.validate(json.loads(line))


@pytest.mark.parametrize(
    ("field", "value"),
    [("cost_units", "0.1"), ("status", "fine"), ("latency_ms", -1), ("timestamp", "yesterday"), ("event_id", "")],
)
def test_what_is_no_event_is_refused(field: str, value: object) -> None:
    event = {
        "event_id": "e", "timestamp": "2026-01-01T00:00:00Z", "tenant": "acme", "user_id": "u", "tool": "t",
        "latency_ms": 1, "status": "success",
    }  # fmt: skip
    VALIDATOR.validate(event)
    assert not VALIDATOR.is_valid(event | {field: value})
