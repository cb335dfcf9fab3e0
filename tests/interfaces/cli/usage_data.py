"""A DATA_DIR with events and the audit log that goes with them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stoa.domain.metering.event import MeteringEvent, Status

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
USES = [
    # tenant, tool, day, calls
    ("acme", "pets.list", 0, 40),
    ("acme", "pets.list", 1, 20),
    ("acme", "pets.get", 3, 1),
    ("globex", "pets.get", 1, 19),
]


def events() -> list[MeteringEvent]:
    return [
        MeteringEvent.model_validate(
            {
                "event_id": f"{tenant}-{tool}-{day}-{number}",
                "timestamp": START + timedelta(days=day, seconds=number),
                "tenant": tenant,
                "user_id": "alice",
                "tool": tool,
                "latency_ms": 100,
                "status": Status.SUCCESS,
                "cost_units": 1100,
            }
        )
        for tenant, tool, day, calls in USES
        for number in range(calls)
    ]


def write_outbox(data_dir: Path, events: list[MeteringEvent]) -> None:
    (data_dir / "outbox").mkdir(parents=True)
    lines = "".join(event.model_dump_json() + "\n" for event in events)
    (data_dir / "outbox" / "20260301T120000.000000Z-1-a.jsonl").write_text(lines)


def audit_line(event: MeteringEvent) -> str:
    fields = {
        "audit": "invocation",
        "timestamp": event.timestamp.isoformat(),
        "event_id": event.event_id,
        "tenant": event.tenant,
        "status": "success",
    }
    return json.dumps(fields) + "\n"
