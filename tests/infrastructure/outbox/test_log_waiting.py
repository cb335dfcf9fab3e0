"""What the relay has still to forward, as readers of the outbox see it."""

from pathlib import Path

from tests.events import event

from stoa.infrastructure.outbox import OutboxMeteringBacklog, OutboxMeteringSink, OutboxUsageLog
from stoa.testing.clock import ManualClock


async def test_what_waits_is_what_was_recorded_and_not_acknowledged(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path, clock=ManualClock())
    log, backlog = OutboxUsageLog(tmp_path), OutboxMeteringBacklog(tmp_path)
    events = [event(str(number)) for number in range(5)]
    for one in events:
        await sink.record(one, is_reserved=False)
    assert list(log.waiting().events()) == events
    batch = await backlog.read(max_events=2, max_bytes=1 << 20)
    assert batch is not None
    await backlog.acknowledge(batch, relayed=2)
    assert list(log.waiting().events()) == events[2:]
    assert list(log.events()) == events
    await backlog.close()
    await sink.close()
