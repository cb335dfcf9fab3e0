"""Durable metering on the local disk: JSON lines in preallocated segments, one writer per process, any number of
readers. Needs a POSIX system (flock); nothing beyond the standard library and pydantic."""

from stoa.infrastructure.outbox.log import OutboxUsageLog
from stoa.infrastructure.outbox.sink import OutboxMeteringSink

__all__ = ["OutboxMeteringSink", "OutboxUsageLog"]
