"""An event for tests that only need one."""

from stoa.domain.metering.event import MeteringEvent


def event(event_id: str = "e-1", *, padding: int = 0) -> MeteringEvent:
    """`padding`: bytes that it is larger."""
    return MeteringEvent.model_validate(
        {
            "event_id": event_id,
            "timestamp": "2026-01-01T00:00:00Z",
            "tenant": "acme",
            "user_id": "alice",
            "tool": "pets.list",
            "latency_ms": 12,
            "status": "success",
            "cost_units": 1012,
            "metadata": {"padding": "x" * padding} if padding else {},
        }
    )
