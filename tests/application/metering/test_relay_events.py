"""RelayMetering: everything arrives, outages are told once and waited out, and no failure is anybody else's."""

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.events import event

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.metering.relay_events import (
    FIRST_PAUSE_SECONDS,
    IDLE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STATUS_SECONDS,
    RelayMetering,
)
from stoa.application.ports import Batch, RecordedEvent, Rejected, RelayStatus
from stoa.domain.errors import MeteringUnavailable, PublisherUnavailable
from stoa.testing.clock import ManualClock
from stoa.testing.event_publisher import InMemoryEventPublisher
from stoa.testing.metering_backlog import InMemoryMeteringBacklog


class Setting:
    """A sink with its relay, and a clock that moves when the relay waits."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sink = InMemoryMeteringSink()
        self.backlog = InMemoryMeteringBacklog(self.sink)
        self.publisher = InMemoryEventPublisher(lambda one: "no" if one.event.tool == "poison" else None)
        self.relay = self.made()

    def made(self, backlog: InMemoryMeteringBacklog | None = None) -> RelayMetering:
        return RelayMetering(backlog=backlog or self.backlog, publisher=self.publisher, clock=self.clock)

    async def record(self, *event_ids: str) -> None:
        for event_id in event_ids:
            await self.sink.record(event(event_id), is_reserved=False)

    async def steps(self, count: int) -> list[float]:
        pauses: list[float] = []
        for _ in range(count):
            pauses.append(await self.relay.step())
            self.clock.advance(pauses[-1])
        return pauses

    def published(self) -> list[str]:
        return [one.event.event_id for one in self.publisher.published]


async def test_what_is_recorded_is_published_in_order_and_then_it_is_idle() -> None:
    setting = Setting()
    await setting.record("a", "b")
    assert await setting.steps(2) == [0.0, IDLE_SECONDS]
    await setting.record("c")
    await setting.steps(1)
    assert setting.published() == ["a", "b", "c"]
    assert list(setting.sink.events()) == []


async def test_while_there_is_work_what_waits_is_measured_once_a_second() -> None:
    setting = Setting()
    measured: list[int] = []
    status = setting.backlog.status

    async def counted() -> RelayStatus:
        measured.append(setting.clock.monotonic_ns())
        return await status()

    setting.backlog.status = counted  # type: ignore[method-assign]
    began = setting.clock.monotonic_ns()
    for number in range(10):
        await setting.record(str(number))
        await setting.relay.step()
        setting.clock.advance(STATUS_SECONDS / 4)
    assert [moment - began for moment in measured] == [0, STATUS_SECONDS * 1e9, 2 * STATUS_SECONDS * 1e9]


async def test_pauses_grow_to_a_limit_while_the_other_side_is_away_and_nothing_is_lost() -> None:
    setting = Setting()
    setting.publisher.outage = "the broker is away"
    await setting.record("a")
    pauses = await setting.steps(8)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    setting.publisher.outage = ""
    await setting.record("b")
    assert (await setting.steps(3))[-1] == IDLE_SECONDS
    assert setting.published() == ["a", "b"]
    assert setting.relay.status.failures == 8


async def test_an_outage_is_one_warning_and_one_line_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    setting = Setting()
    setting.publisher.outage = "the broker is away"
    await setting.record("a")
    await setting.steps(5)
    setting.publisher.outage = ""
    await setting.steps(3)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "metering events are not forwarded and wait: the broker is away"),
        ("INFO", "metering events: forwarded again"),
    ]


async def test_health_is_ready_in_any_case_and_tells_the_lag() -> None:
    setting = Setting()
    setting.publisher.outage = "the broker is away"
    await setting.record("a")
    await setting.relay.step()
    setting.clock.advance(120)
    health = setting.relay.health()
    assert setting.relay.name == "relay"
    assert health.is_ready
    waiting = setting.relay.status.waiting_bytes
    assert waiting > 0
    assert health.detail == f"{waiting} bytes wait, the oldest for 120 s; 0 events forwarded"
    assert health.findings == ("metering events are not forwarded: the broker is away",)
    setting.publisher.outage = ""
    await setting.steps(2)
    assert setting.relay.health().detail == "0 bytes wait; 1 events forwarded"
    assert setting.relay.health().findings == ()


async def test_an_event_that_is_refused_for_ever_is_kept_aside_and_the_others_go_on() -> None:
    setting = Setting()
    await setting.record("a")
    await setting.sink.record(event("bad").model_copy(update={"tool": "poison"}), is_reserved=False)
    await setting.record("b")
    await setting.steps(2)
    assert setting.published() == ["a", "b"]
    assert [one.reason for one in setting.backlog.rejected] == ["no"]
    assert (setting.relay.status.relayed, setting.relay.status.rejected) == (2, 1)
    assert "poison.jsonl" in setting.relay.health().findings[0]


async def test_a_position_that_cannot_be_kept_does_not_send_the_batch_again() -> None:
    class FullDisk(InMemoryMeteringBacklog):
        is_full = True

        async def acknowledge(self, batch: Batch, *, relayed: int) -> None:
            if self.is_full:
                raise MeteringUnavailable("the disk is full")
            await super().acknowledge(batch, relayed=relayed)

    setting = Setting()
    backlog = FullDisk(setting.sink)
    setting.relay = setting.made(backlog)
    await setting.record("a")
    assert 0.0 not in await setting.steps(3)
    assert setting.relay.status.failure == "the disk is full"
    backlog.is_full = False
    await setting.steps(2)
    assert setting.published() == ["a"]
    assert setting.relay.status.failure == ""


async def test_what_is_refused_is_kept_aside_once_however_often_its_end_could_not_be_kept() -> None:
    failures = ["reject", "acknowledge"]

    class Failing(InMemoryMeteringBacklog):
        def fail_once(self, what: str) -> None:
            if what in failures:
                failures.remove(what)
                raise MeteringUnavailable("the disk is full")

        async def reject(self, rejected: Sequence[Rejected]) -> None:
            self.fail_once("reject")
            await super().reject(rejected)

        async def acknowledge(self, batch: Batch, *, relayed: int) -> None:
            self.fail_once("acknowledge")
            await super().acknowledge(batch, relayed=relayed)

    setting = Setting()
    backlog = Failing(setting.sink)
    setting.relay = setting.made(backlog)
    await setting.record("a")
    await setting.sink.record(event("bad").model_copy(update={"tool": "poison"}), is_reserved=False)
    await setting.steps(4)
    assert setting.published() == ["a"]
    assert [one.reason for one in backlog.rejected] == ["no"]


async def test_a_backlog_that_cannot_be_read_is_told_and_tried_again() -> None:
    class Unreadable(InMemoryMeteringBacklog):
        async def read(self, *, max_events: int, max_bytes: int) -> Batch | None:
            raise MeteringUnavailable("no rights")

        async def status(self) -> RelayStatus:
            raise MeteringUnavailable("no rights")

    setting = Setting()
    setting.relay = setting.made(Unreadable(setting.sink))
    assert await setting.steps(2) == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]
    assert setting.relay.health().is_ready
    assert setting.relay.status.failure == "no rights"


async def test_a_defect_does_not_end_the_relay(caplog: pytest.LogCaptureFixture) -> None:
    class Ended(BaseException):
        """Stops a test's relay."""

    class Defective(InMemoryEventPublisher):
        calls = 0

        async def publish(self, events: Sequence[RecordedEvent]) -> Sequence[Rejected]:
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            return await super().publish(events)

    setting = Setting()
    setting.publisher = Defective()
    pauses: list[float] = []

    async def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise Ended

    relay = RelayMetering(backlog=setting.backlog, publisher=setting.publisher, clock=setting.clock, wait=wait)
    await setting.record("a")
    with pytest.raises(Ended):
        await relay.run()
    assert pauses == [LONGEST_PAUSE_SECONDS, 0.0, IDLE_SECONDS]
    assert setting.published() == ["a"]
    assert "defect" in caplog.text


@settings(max_examples=60, deadline=None)
@given(
    outages=st.lists(st.integers(0, 3), max_size=12),
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=12),
)
async def test_whatever_fails_in_between_every_event_arrives(outages: list[int], counts: list[int]) -> None:
    """A publisher that keeps some of a batch and then fails: repetitions, no gap."""

    class Partial(InMemoryEventPublisher):
        async def publish(self, events: Sequence[RecordedEvent]) -> Sequence[Rejected]:
            if outages:
                self.published += events[: outages.pop()]
                raise PublisherUnavailable("cut")
            return await super().publish(events)

    setting = Setting()
    setting.publisher = Partial()
    setting.relay = setting.made()
    expected: list[str] = []
    for number, count in enumerate(counts):
        own = [f"{number}:{one}" for one in range(count)]
        await setting.record(*own)
        expected += own
        await setting.steps(1)
    await setting.steps(len(expected) + 20)
    assert list(dict.fromkeys(setting.published())) == expected
