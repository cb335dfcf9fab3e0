"""A task whose process died in the middle of its call is billed once, by whoever finds it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest
from tests.application.pipeline import ANN, Pipeline, answers, tool, waits
from tests.application.tasks.test_task_runner import CLIENT, Door

from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.tasks.lease import LEASE_SECONDS
from stoa.application.tasks.task_runner import TaskRunner
from stoa.domain.calls.invocation import Invocation
from stoa.domain.calls.task import GivenAnswers, Task, TaskStatus
from stoa.domain.errors import MeteringUnavailable, TasksUnavailable
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.price_list import PriceList, PriceVersion
from stoa.testing.clock import ManualClock

PRICES = PriceList(versions=(PriceVersion(base=Decimal("0.001"), per_100_ms=Decimal("0.0001")),))
ASKED = Invocation(
    credential=ANN, name="count", arguments={"n": 7}, door="library", consumer="app", request_id="request-1"
)


class Store(InMemoryTaskStore):
    is_away = False

    async def abandoned(self) -> Any:
        if self.is_away:
            raise TasksUnavailable("away")
        return await super().abandoned()


class World:
    """A process that dies, and two that find what it leaves. What the dead one still does is seen by nobody."""

    def __init__(self, behaviour: Callable[..., Awaitable[Any]]) -> None:
        self.store = Store(ManualClock())
        self.clock: ManualClock = self.store._clock  # type: ignore[assignment]
        self.dying = Pipeline(tool(tasks="required"), prices=PRICES)
        self.dying.backend.behaviour = behaviour
        self.alive = Pipeline(tool(tasks="required"), prices=PRICES)
        self.runner = self._runs(self.dying, tick_seconds=3600)
        self.finders = [self._runs(self.alive), self._runs(self.alive)]

    def _runs(self, pipeline: Pipeline, **rest: Any) -> TaskRunner:
        return TaskRunner(pipeline.invoke_operation, self.store, self.clock, Door(), **rest)

    async def begin(self) -> Task:
        task = await self.runner.start(ASKED, CLIENT, GivenAnswers)
        assert isinstance(task, Task)
        return task

    async def find(self, task: Task) -> Task:
        return await self.finders[0].tasks.find(task.id, ANN)

    async def watched(self, times: int = 1) -> None:
        """Another process has looked so many times."""
        looks = 0

        async def sleep(_: float) -> None:
            nonlocal looks
            looks += 1
            if looks == times:
                raise TimeoutError

        with suppress(TimeoutError):
            await self.finders[1].tasks.watch(sleep)

    @property
    def billed(self) -> list[MeteringEvent]:
        return self.alive.events


@asynccontextmanager
async def world(behaviour: Callable[..., Awaitable[Any]] | None = None) -> AsyncGenerator[World]:
    reached = asyncio.Event()
    opened = World(behaviour or waits(reached))
    try:
        yield opened
    finally:
        for runner in (opened.runner, *opened.finders):
            await runner.close()


@pytest.mark.parametrize("finder", ["who asks for it", "who watches"])
async def test_abandoned_task_is_billed_once_with_what_is_known_of_its_call(finder: str) -> None:
    async with world() as at:
        task = await at.begin()
        at.clock.advance(LEASE_SECONDS)
        for _ in range(3):
            await (at.find(task) if finder == "who asks for it" else at.watched())
        found = await at.find(task)
        assert (found.status, found.error and found.error.data) == (TaskStatus.FAILED, "task_interrupted")
        assert found.unbilled is None
        (event,) = at.billed
        assert (event.tenant, event.user_id, event.consumer, event.request_id) == ("acme", "ann", "app", "request-1")
        assert (event.tool, event.status, event.metadata["error"]) == ("count", Status.ERROR, "task_interrupted")
        assert event.cost_units == 1000
        await at.runner.close()
        (own,) = at.dying.events
        assert own.event_id == event.event_id  # should it have lived: one event, however often it is told


async def test_abandoned_task_is_billed_for_the_time_that_its_process_was_heard_of() -> None:
    async with world() as at:
        at.runner.tasks.tick_seconds = 0.001
        task = await at.begin()
        at.dying.clock.advance(12)
        at.clock.advance(12)
        async with asyncio.timeout(20):
            while (await at.find(task)).version == task.version:
                await asyncio.sleep(0.001)
        at.runner.tasks.tick_seconds = 3600
        await asyncio.sleep(0.01)
        at.clock.advance(LEASE_SECONDS)
        await at.find(task)
        (event,) = at.billed
        assert (event.latency_ms, event.cost_units) == (12_000, 1000 + 120 * 100)


async def test_abandoned_task_found_by_many_at_once_is_billed_once() -> None:
    async with world() as at:
        task = await at.begin()
        at.clock.advance(LEASE_SECONDS)
        await asyncio.gather(
            *(finder.tasks.find(task.id, ANN) for finder in at.finders * 5), at.watched(), at.watched()
        )
        assert (await at.find(task)).status is TaskStatus.FAILED
        assert len(at.billed) == 1


async def test_abandoned_task_is_not_over_before_its_event_is_kept() -> None:
    async with world() as at:
        task = await at.begin()
        at.clock.advance(LEASE_SECONDS)

        async def full(*_: Any, **__: Any) -> None:
            raise MeteringUnavailable("full")

        at.alive.instead["record"] = full
        with pytest.raises(MeteringUnavailable):
            await at.find(task)
        await at.watched()
        kept = await at.store.find(task.id)
        assert kept is not None
        assert kept.status is TaskStatus.WORKING
        del at.alive.instead["record"]
        at.clock.advance(LEASE_SECONDS)
        await at.watched()
        assert (await at.find(task)).status is TaskStatus.FAILED
        assert len(at.billed) == 1


async def test_abandoned_tasks_are_left_to_their_processes_first_when_the_store_is_back() -> None:
    async with world() as at:
        await at.begin()
        at.clock.advance(LEASE_SECONDS)
        at.store.is_away = True
        looks = 0

        async def sleep(_: float) -> None:
            nonlocal looks
            looks += 1
            at.store.is_away = False
            if looks == 2:
                assert at.billed == []
            if looks == 3:
                raise TimeoutError

        with suppress(TimeoutError):
            await at.finders[1].tasks.watch(sleep)
        assert len(at.billed) == 1


async def test_a_task_that_ended_or_asks_owes_nothing() -> None:
    async with world(answers) as at:
        at.runner.tasks.tick_seconds = 0.001
        task = await at.begin()
        async with asyncio.timeout(20):
            while (await at.find(task)).status is TaskStatus.WORKING:
                await asyncio.sleep(0.001)
        at.clock.advance(LEASE_SECONDS)
        await at.watched()
        assert (len(at.dying.events), at.billed) == (1, [])
