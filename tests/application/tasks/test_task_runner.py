"""Tasks and whoever runs them: what a store loses, changes or will not keep does not make a task tell a lie."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.application.pipeline import ANN, Pipeline, tool, waits

from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.tasks.caps import TaskCaps
from stoa.application.tasks.lease import END_TRIES
from stoa.application.tasks.task_door import TaskDoor
from stoa.application.tasks.task_runner import TaskRunner
from stoa.domain.access.fair_share import Caps
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.task import GivenAnswers, Task, TaskError, TaskStatus
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    InputRequired,
    RootsAnswer,
    RootsRequest,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import QuotaExceeded, StoaError, TasksUnavailable
from stoa.domain.metering.event import Status
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.testing.client_channel import InMemoryRoundChannel
from stoa.testing.clock import ManualClock

CLIENT = InMemoryRoundChannel(ClientCapabilities(roots=True), {})


class Door(TaskDoor):
    """Writes next to nothing."""

    def result(self, outcome: Outcome) -> JsonObject:
        if outcome.error is not None:
            raise outcome.error
        return {"status": outcome.status}

    def error(self, error: StoaError) -> TaskError:
        return TaskError(-32603, error.message, error.code)

    def client_request(self, request: ClientRequest) -> JsonObject:
        return {}

    def fits(self, client_request: JsonObject, answer: Any) -> bool:
        return True

    def answer(self, request: ClientRequest, answer: Any) -> ClientAnswer | None:
        return RootsAnswer(())


class Store(InMemoryTaskStore):
    """Tells what was kept; `meddle` may do something more, or fail, after each change."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.meddle: Callable[[Task], Awaitable[None]] | None = None

    async def replace(self, task: Task, over: int) -> bool:
        is_kept = await super().replace(task, over)
        if self.meddle is not None:
            await self.meddle(task)
        return is_kept


class World:
    def __init__(self, behaviour: Any, **fields: Any) -> None:
        self.pipeline = Pipeline(tool(**{"tasks": "required", **fields}))
        self.pipeline.backend.behaviour = behaviour
        self.clock = self.pipeline.clock
        self.store = Store(self.clock)
        self.runner = TaskRunner(self.pipeline.invoke_operation, self.store, self.clock, Door(), tick_seconds=0.001)

    async def start(self, **answered: Any) -> Task | Outcome:
        asked = Invocation(credential=ANN, name="count", arguments={}, door="library")
        given = GivenAnswers(answered, dict.fromkeys(answered, fingerprint(RootsRequest())))
        return await self.runner.start(asked, CLIENT, lambda: given)

    async def begin(self, **answered: Any) -> Task:
        task = await self.start(**answered)
        assert isinstance(task, Task)
        return task

    async def answer(self, task: Task, **responses: Any) -> None:
        invocation = Invocation(credential=ANN, name="", arguments={}, door="library")
        await self.runner.answer(task.id, ANN, responses, invocation, CLIENT)

    async def settled(self, task: Task) -> Task | None:
        """As it is kept once nobody runs it here any more."""
        async with asyncio.timeout(20):
            while self.runner._leases or self.runner._keepers:
                await asyncio.sleep(0.001)
        return await self.store.find(task.id)

    @property
    def statuses(self) -> list[Status]:
        """Of the runs, without their questions."""
        return [event.status for event in self.pipeline.events if event.tool in {"count", "(unknown)"}]


@asynccontextmanager
async def world(behaviour: Any, **fields: Any):
    opened = World(behaviour, **fields)
    try:
        yield opened
    finally:
        await opened.runner.close()


async def asks(arguments: Any, context: Any) -> ToolResult:
    await context.client_requests.send({"where": RootsRequest()})
    return ToolResult((TextContent("done"),))


def once(effect: Callable[[Task], Awaitable[None]], when: Callable[[Task], bool]) -> Callable[[Task], Awaitable[None]]:
    done = False

    async def meddle(task: Task) -> None:
        nonlocal done
        if not done and when(task):
            done = True
            await effect(task)

    return meddle


async def lose_the_answer(_: Task) -> None:
    raise TasksUnavailable("The answer is lost")


def is_waiting(task: Task) -> bool:
    return task.status is TaskStatus.INPUT_REQUIRED


async def test_a_call_that_is_cancelled_before_its_task_is_kept_is_metered_and_stays_cancelled() -> None:
    reached = asyncio.Event()
    async with world(asks) as at:
        at.store.create = waits(reached)
        starting = asyncio.create_task(at.start())
        await reached.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert (at.statuses, at.pipeline.backend.received) == ([Status.CANCELLED], [])


async def test_task_waits_for_answers_although_the_store_lost_its_reply() -> None:
    async with world(asks) as at:
        at.store.meddle = once(lose_the_answer, is_waiting)
        kept = await at.settled(await at.begin())
        assert kept is not None
        assert (kept.status, list(kept.client_requests)) == (TaskStatus.INPUT_REQUIRED, ["where"])
        await at.answer(kept, where={})
        ended = await at.settled(kept)
        assert ended is not None
        assert (ended.status, at.statuses) == (TaskStatus.COMPLETED, [Status.INPUT_REQUIRED, Status.SUCCESS])


async def test_a_task_that_another_process_runs_again_is_not_ended_by_its_last_run() -> None:
    async with world(asks) as at:

        async def resumed_elsewhere(task: Task) -> None:
            answered = task.answered({"where": {}}, at.clock.now())
            resumed = answered.resumed(at.clock.now(), 30)
            assert await InMemoryTaskStore.replace(at.store, resumed, task.version)
            raise TasksUnavailable("The answer is lost")

        at.store.meddle = once(resumed_elsewhere, is_waiting)
        kept = await at.settled(await at.begin())
        assert kept is not None
        assert (kept.status, kept.answers) == (TaskStatus.WORKING, {"where": {}})


async def test_a_call_whose_task_is_gone_is_ended_at_its_next_sign_of_life() -> None:
    async with world(waits(asyncio.Event())) as at:
        task = await at.begin()
        await at.store.close()
        at.clock.advance(20)
        assert await at.settled(task) is None
        assert at.statuses == [Status.CANCELLED]


async def test_a_call_whose_task_was_cancelled_elsewhere_is_ended_at_its_next_sign_of_life() -> None:
    async with world(waits(asyncio.Event())) as at:
        task = await at.begin()
        assert await at.store.replace(task.cancelled(at.clock.now()), task.version)
        at.clock.advance(20)
        kept = await at.settled(task)
        assert kept is not None
        assert (kept.status, at.statuses) == (TaskStatus.CANCELLED, [Status.CANCELLED])


async def test_the_end_of_a_task_that_cannot_be_kept_is_tried_again_and_then_said_in_the_log(caplog) -> None:
    tries = 0

    async def away(_: Task) -> None:
        nonlocal tries
        tries += 1
        raise TasksUnavailable("no disk")

    async def nothing(arguments: Any, context: Any) -> ToolResult:
        return ToolResult(())

    async with world(nothing) as at:
        at.store.meddle = away
        await at.settled(await at.begin())
    assert "the end of a task could not be kept: no disk" in caplog.text
    assert tries >= END_TRIES


async def test_task_fails_when_its_tool_requests_an_answered_key_again() -> None:
    async def stubborn(arguments: Any, context: Any) -> ToolResult:
        raise InputRequired({"where": RootsRequest()})

    async with world(stubborn) as at:
        kept = await at.settled(await at.begin(where={}))
        assert kept is not None
        assert (kept.status, kept.error.data if kept.error else "") == (TaskStatus.FAILED, "client_refused")


async def test_a_task_runs_again_with_what_it_was_called_with() -> None:
    async with world(asks) as at:
        asked = Invocation(
            credential=ANN, name="count", arguments={"n": 7}, door="library", consumer="app", request_id="r-1"
        )
        task = await at.runner.start(asked, CLIENT, GivenAnswers)
        assert isinstance(task, Task)
        kept = await at.settled(task)
        assert kept is not None
        at.clock.advance(5)
        await at.answer(kept, where={})
        ended = await at.settled(kept)
        assert ended is not None
        assert (ended.status, ended.updated_at) == (TaskStatus.COMPLETED, at.clock.now())
        assert [arguments for arguments, _ in at.pipeline.backend.received] == [{"n": 7}, {"n": 7}]
        assert {(event.consumer, event.request_id) for event in at.pipeline.events} == {("app", "r-1")}
        assert not at.runner._calls, "what is over is forgotten"


async def test_a_task_can_be_cancelled_where_it_does_not_run() -> None:
    async with world(waits(asyncio.Event())) as at:
        task = await at.begin()
        elsewhere = TaskRunner(at.pipeline.invoke_operation, at.store, at.clock, Door())
        await elsewhere.cancel(task.id, ANN)
        at.clock.advance(20)
        kept = await at.settled(task)
        assert kept is not None
        assert (kept.status, at.statuses) == (TaskStatus.CANCELLED, [Status.CANCELLED])


@pytest.mark.parametrize("fields", [{"tasks": "never"}, {"tasks": "explicit"}])
async def test_a_function_goes_to_the_background_only_where_its_tool_may(fields: dict[str, Any]) -> None:
    went = None

    async def goes(arguments: Any, context: Any) -> ToolResult:
        nonlocal went
        went = await context.channel.begin_task()
        return ToolResult(())

    async with world(goes, **fields) as at:
        started = await at.start()
        assert isinstance(started, Outcome) == (fields["tasks"] == "never")
        if isinstance(started, Task):
            await at.settled(started)
        assert (went, at.statuses) == (fields["tasks"] == "explicit", [Status.SUCCESS])


async def test_what_runs_a_task_again_is_refused_as_any_call_and_the_task_waits_as_before() -> None:
    async with world(asks) as at:
        kept = await at.settled(await at.begin())
        assert kept is not None
        at.pipeline.registry.replace([])
        with pytest.raises(StoaError, match="Unknown tool"):
            await at.answer(kept, where={})
        assert await at.store.find(kept.id) == kept
        assert at.statuses == [Status.INPUT_REQUIRED, Status.INVALID]


async def test_a_task_is_its_owners_in_its_tenant_alone() -> None:
    async with world(asks) as at:
        kept = await at.settled(await at.begin())
        assert kept is not None
        assert await at.runner.tasks.find(kept.id, ANN) == kept
        for other in (None, ANN.model_copy(update={"subject": "bob"}), replace_tenant("beta")):
            for act in (at.runner.tasks.find, at.runner.cancel):
                with pytest.raises(StoaError, match="Unknown or expired task"):
                    await act(kept.id, other)
        assert await at.store.find(kept.id) == kept


def replace_tenant(tenant: str) -> Any:
    return ANN.model_copy(update={"tenant": tenant})


async def test_running_tasks_of_a_caller_are_limited_and_each_place_is_given_back() -> None:
    async with world(waits(asyncio.Event())) as at:
        at.runner = TaskRunner(
            at.pipeline.invoke_operation, at.store, at.clock, Door(), tick_seconds=0.001, running=Caps(1, 2, 8)
        )
        for _ in range(3):
            task = await at.begin()
            refused = await at.start()
            assert isinstance(refused, Outcome)
            assert isinstance(refused.error, QuotaExceeded)
            assert refused.error.limit_name == "running tasks of the caller"
            await at.runner.cancel(task.id, ANN)
            await asyncio.wait(at.runner._keepers)
        await at.runner.close()


async def test_a_result_that_is_too_large_to_be_kept_fails_its_task_and_says_so() -> None:
    async def answers_much(arguments: Any, context: Any) -> ToolResult:
        return ToolResult((TextContent("x" * 5000),))

    class Wordy(Door):
        def result(self, outcome: Outcome) -> JsonObject:
            return {"text": "x" * 5000}

    async with world(answers_much) as at:
        caps = TaskCaps(size=Caps(4000, 4000, 4000))
        store = InMemoryTaskStore(at.clock, caps=caps)
        at.runner = TaskRunner(at.pipeline.invoke_operation, store, at.clock, Wordy(), tick_seconds=0.001)
        task = await at.begin()
        await asyncio.wait(at.runner._keepers)
        kept = await store.find(task.id)
        assert kept is not None
        assert kept.status is TaskStatus.FAILED
        assert "stored bytes of the tasks of the caller" in (kept.message or "")
