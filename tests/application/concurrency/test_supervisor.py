"""Background work is started again whenever it ends."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

import pytest

from stoa.application.concurrency.supervisor import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Supervisor
from stoa.testing.clock import ManualClock


class Stage:
    """A supervisor whose pauses take no time, and work that ends as the test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.pauses: list[float] = []
        self.restarted: list[str] = []
        self.begun = 0
        self.enough = asyncio.Event()
        self.supervisor = Supervisor(self.clock, restarted=self.restarted.append, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def work(self, lives: int, end: Callable[[], None]) -> Callable[[], Coroutine[None, None, None]]:
        """Ends `lives` times, then runs on."""

        async def run() -> None:
            self.begun += 1
            if self.begun <= lives:
                end()
                return
            self.enough.set()
            await asyncio.Event().wait()

        return run


def _fail() -> None:
    raise LookupError("nothing foresaw this")


def _return() -> None:
    pass


@pytest.mark.parametrize("end", [_fail, _return])
async def test_background_work_that_ends_is_started_again(end: Callable[[], None]) -> None:
    stage = Stage()
    stage.supervisor.start({"keys": stage.work(3, end)})
    await asyncio.wait_for(stage.enough.wait(), 5)
    assert (stage.begun, stage.restarted, stage.pauses) == (4, ["keys"] * 3, [1, 2, 4])
    await stage.supervisor.stop()


async def test_background_restart_is_a_finding_until_the_work_is_steady(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.supervisor.start({"keys": stage.work(1, _fail), "other": stage.work(0, _fail)})
    with caplog.at_level(logging.ERROR):
        await asyncio.wait_for(stage.enough.wait(), 5)
    (finding,) = stage.supervisor.health().findings
    assert finding.startswith("keys: ended unexpectedly (LookupError) and was started again, 1 times")
    assert "nothing foresaw this" in caplog.text
    assert stage.supervisor.health().is_ready
    stage.clock.advance(STEADY_SECONDS)
    assert stage.supervisor.health().findings == ()
    await stage.supervisor.stop()


async def test_background_pauses_are_bounded_and_begin_again_after_a_steady_time() -> None:
    stage = Stage()
    seconds_alive = iter([0.0] * 9 + [STEADY_SECONDS, 0.0])
    stage.supervisor.start({"keys": stage.work(11, lambda: stage.clock.advance(next(seconds_alive)))})
    await asyncio.wait_for(stage.enough.wait(), 5)
    assert stage.pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE_SECONDS] * 3, 1, 2]
    await stage.supervisor.stop()


async def test_background_work_is_cancelled_when_the_process_stops() -> None:
    stage = Stage()
    ended: list[str] = []

    async def run() -> None:
        try:
            stage.enough.set()
            await asyncio.Event().wait()
        finally:
            ended.append("keys")

    stage.supervisor.start({"keys": run})
    await asyncio.wait_for(stage.enough.wait(), 5)
    await stage.supervisor.stop()
    assert (ended, stage.restarted) == (["keys"], [])
