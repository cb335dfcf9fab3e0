"""The event loop's watchdog: measures its lag, names what keeps it busy, takes the gateway out of rotation and back."""

import asyncio
import logging
import threading

import pytest

from stoa.application.gateway import Gateway
from stoa.domain.access.identity import Principal
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.infrastructure.observability.watchdog import BLOCKED_SECONDS, MOST_UNREADY_SECONDS, TICK_SECONDS, LoopWatchdog
from stoa.testing.clock import ManualClock


class Watched:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lags: list[float] = []
        self.dog = LoopWatchdog(self.clock, self.lags.append)

    def late(self, seconds: float) -> None:
        self.clock.advance(TICK_SECONDS + seconds)
        self.dog.tick()

    @property
    def is_ready(self) -> bool:
        return self.dog.health().is_ready

    def check_from_outside(self) -> None:
        other = threading.Thread(target=self.dog.check)
        other.start()
        other.join()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_watchdog_measures_how_late_each_tick_is(watched):
    watched.dog.begin()
    for seconds in (0, 0.125, 2, 0):
        watched.late(seconds)
    assert watched.lags == pytest.approx([0, 0.125, 2, 0])


def test_watchdog_lag_is_a_metric(watched):
    prometheus = PrometheusObserver()
    prometheus.loop_lag()(0.3)
    text = prometheus.exposition().decode()
    assert 'stoa_event_loop_lag_seconds_bucket{le="0.25"} 0.0' in text
    assert 'stoa_event_loop_lag_seconds_bucket{le="0.5"} 1.0' in text


def test_watchdog_takes_a_gateway_out_of_rotation_for_as_long_as_it_was_blocked(watched):
    assert watched.is_ready  # nothing is watched yet
    watched.dog.begin()
    watched.late(BLOCKED_SECONDS - 0.01)
    assert watched.is_ready
    watched.clock.advance(TICK_SECONDS + 3)
    assert watched.dog.health().detail == "the event loop is blocked, for 3.0 s by now"
    watched.dog.tick()
    assert watched.dog.health().detail == "the event loop was blocked for 3.0 s until 0.0 s ago"
    for _ in range(11):
        watched.late(0)
        assert not watched.is_ready
    watched.late(0)
    assert watched.is_ready


def test_watchdog_takes_a_gateway_out_of_rotation_for_a_bounded_time(watched):
    watched.dog.begin()
    watched.late(1000)
    assert not watched.is_ready
    for _ in range(int(MOST_UNREADY_SECONDS / TICK_SECONDS)):
        watched.late(0)
    assert watched.is_ready


async def test_watchdog_names_the_call_that_keeps_the_loop_busy_once_and_shows_no_argument(watched, caplog):
    gateway = Gateway(clock=watched.clock)

    @gateway.tool(tenant="acme")
    async def slow(word: str) -> str:
        watched.clock.advance(5)
        watched.check_from_outside()
        watched.check_from_outside()
        return word

    watched.dog.begin()
    caller = Principal.of("ann", tenant="acme", roles=["viewer"])
    await gateway.invoke("slow", {"word": "classified"}, caller)
    watched.dog.tick()

    busy, free = caplog.records
    assert busy.levelno == logging.ERROR
    assert (
        busy.getMessage() == "the event loop has been busy for 4.8 s with the call of acme/slow; all other calls wait"
    )
    assert (busy.tool, busy.tenant, bool(busy.request_id)) == ("acme/slow", "acme", True)
    assert any("slow:" in line for line in busy.stack)
    assert any(
        line.startswith("stoa.application.calls.invoke_operation.InvokeOperation.execute:") for line in busy.stack
    )
    assert "classified" not in repr(vars(busy))
    assert free.getMessage() == "the event loop is free again after 4.8 s"


async def test_watchdog_names_the_function_where_no_call_keeps_the_loop_busy(watched, caplog):
    watched.dog.begin()
    watched.clock.advance(2)
    watched.check_from_outside()
    (busy,) = caplog.records
    assert "something that is no call" in busy.getMessage()
    assert any("check_from_outside" in line for line in busy.stack)


def test_watchdog_says_nothing_of_a_loop_that_is_in_time(watched, caplog):
    watched.check_from_outside()
    watched.dog.begin()
    watched.late(BLOCKED_SECONDS / 2)
    watched.check_from_outside()
    assert not caplog.records


async def test_watchdog_thread_ends_with_the_watching(watched):
    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate()}

    running = asyncio.create_task(watched.dog.run())
    await asyncio.sleep(0)
    assert "stoa-watchdog" in threads()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "stoa-watchdog" not in threads()
    watched.clock.advance(100)
    assert watched.is_ready
