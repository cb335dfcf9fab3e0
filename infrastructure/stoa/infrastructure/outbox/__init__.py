"""Durable metering on the local disk: JSON lines in preallocated segments, with one writer per process, any number of
readers and one relay. Needs a POSIX system (flock); nothing beyond the standard library and pydantic."""

from stoa.infrastructure.outbox.backlog import OutboxMeteringBacklog
from stoa.infrastructure.outbox.cursor import relayed_segments
from stoa.infrastructure.outbox.log import OutboxUsageLog
from stoa.infrastructure.outbox.sink import OutboxMeteringSink

__all__ = ["OutboxMeteringBacklog", "OutboxMeteringSink", "OutboxUsageLog", "relayed_segments"]
