"""Calls that go on in the background: a task is an ordinary invocation whose caller was answered early.

The pipeline runs it like any other, and meters each run once. It becomes a task when the pipeline has admitted it: all
refusals are answered as they are without tasks. A question ends a run; the answers begin the next one, as whoever
brought the last of them, who is authenticated and authorised like any caller. A credential is never kept.

The process that runs a task renews a lease on it. A task whose lease has lapsed lost its process: it has failed, and is
not run again, because calls need not be repeatable. The event that its process would have recorded is kept with the
lease, and recorded by whoever finds it: who asks for the task, or `watch`, which every process does.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pydantic_core

from stoa.application.calls.invoke_operation import InvokeOperation, Unbilled
from stoa.application.concurrency.supervisor import ReportDefect, Sleep, log_defect
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import Clock
from stoa.application.ports.task_store import TaskStore
from stoa.application.tasks.caps import RUNNING_TASKS, too_many_running
from stoa.application.tasks.task_channel import TaskChannel
from stoa.domain.access.fair_share import Caps, FairSlots, Holder, NoRoom
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.task import GivenAnswers, Task, TaskError, TaskStatus, Work
from stoa.domain.client_requests.client_request import ClientAnswer, ClientRequest
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import (
    ClientRequestDeclined,
    InvalidInput,
    QuotaExceeded,
    StoaError,
    TaskChanged,
    TaskInterrupted,
    TaskNotFound,
    TasksUnavailable,
)
from stoa.domain.metering.event import MeteringEvent
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject

_log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
CLOSE_SECONDS = 5.0
"""How long to wait for calls that were told to end; who does not is found out by its lease."""
TICK_SECONDS = 1.0
"""How often a runner looks whether there is something to say: a lease to renew, a new status message."""

ENDS_AT_ONCE = 2
"""Ends of tasks that are written at once: while it is, a large result is there several times."""
END_TRIES = 10
"""How often the end of a task is tried to be kept, a tick apart."""


class TaskDoor(Protocol):
    """How the door that has tasks writes what is kept of them."""

    @abstractmethod
    def result(self, outcome: Outcome) -> JsonObject:
        """What the call would have returned. Raises StoaError where it would have been an error."""
        ...

    @abstractmethod
    def error(self, error: StoaError) -> TaskError: ...

    @abstractmethod
    def question(self, request: ClientRequest) -> JsonObject: ...

    @abstractmethod
    def fits(self, question: JsonObject, answer: Any) -> bool:
        """Is this an answer to what `question` wrote?"""
        ...

    @abstractmethod
    def answer(self, request: ClientRequest, answer: Any) -> ClientAnswer | None: ...


class RunTasks:
    """Belongs to one event loop. Any number of processes with the same store serve the same tasks."""

    def __init__(
        self,
        invoke_operation: InvokeOperation,
        store: TaskStore,
        clock: Clock,
        door: TaskDoor,
        *,
        lease_seconds: float = LEASE_SECONDS,
        tick_seconds: float = TICK_SECONDS,
        running: Caps = RUNNING_TASKS,
        report: ReportDefect = log_defect,
    ) -> None:
        self.report = report
        self._running = FairSlots(running)
        self._keeping = asyncio.Semaphore(ENDS_AT_ONCE)
        self._invoke_tool = invoke_operation
        self._store = store
        self._clock = clock
        self._door = door
        self._lease_seconds = lease_seconds
        self.tick_seconds = tick_seconds
        self._runs: dict[str, _Run] = {}
        self._works: set[asyncio.Task[Outcome]] = set()
        self._supervisors: set[asyncio.Task[None]] = set()

    async def start(
        self, invocation: Invocation, channel: ClientChannel, given: Callable[[], GivenAnswers]
    ) -> Task | Outcome:
        """Call a tool. A Task when it goes on in the background, else the outcome. `given`: what the client answered on
        `channel` before the task began. Cancelling this cancels the call as long as it is no task."""
        run = _Run(self._door, channel)
        work = Work(
            tool=invocation.name,
            arguments=invocation.arguments,
            consumer=invocation.consumer,
            request_id=invocation.request_id,
        )

        async def begin(owner: Principal) -> None:
            now, unbilled = self._clock.now(), run.owes()
            task = Task.begin(work, owner, now, self._lease_seconds, given(), unbilled=unbilled)
            with self._place(task.holder):
                await self._store.create(task)
                self._begun(run, task)

        try:
            return await self._go(run, invocation, begin)
        except asyncio.CancelledError:
            if run.task is None and run.work is not None:
                run.work.cancel()
                await asyncio.wait({run.work})  # its event is recorded before the request is over
            raise

    async def find(self, task_id: str, caller: Principal | None) -> Task:
        """The task as it stands. `caller` with its view on the tenant that is asked about. Raises TaskNotFound."""
        task = await self._store.find(task_id)
        while task is not None and task.is_of(caller):
            if not task.is_abandoned(self._clock.now()):
                return task
            task = await self._fail_abandoned(task) or await self._store.find(task_id)
        raise TaskNotFound

    async def watch(self, sleep: Sleep = asyncio.sleep) -> None:
        """End abandoned tasks for which nobody asks, until cancelled."""
        was_away = False
        while True:
            try:
                found = await self._store.abandoned()
                # While the store was away no lease could be renewed: those who live do so first.
                for task in () if was_away else found:
                    await self._fail_abandoned(task)
                was_away = False
            except StoaError as failure:
                was_away = True
                _log.warning("abandoned tasks could not be looked after: %s", failure.message)
            await sleep(self._lease_seconds / 3)

    async def _fail_abandoned(self, task: Task) -> Task | None:
        """None: it has changed meanwhile. The event goes first, under a lease of this process: should that die too, or
        be refused, the next who finds the task records it, under the same id."""
        claimed = task.renewed(self._clock.now(), self._lease_seconds, task.message)
        if not await self._store.replace(claimed, task.version):
            return None
        if task.unbilled is not None:
            await self._invoke_tool.bill(MeteringEvent.from_fields(task.unbilled))
        failed = claimed.failed(self._door.error(TaskInterrupted()), self._clock.now())
        return failed if await self._store.replace(failed, claimed.version) else None

    async def cancel(self, task_id: str, caller: Principal | None) -> None:
        """What is over stays as it is. Raises TaskNotFound."""
        while True:
            task = await self.find(task_id, caller)
            cancelled = task.cancelled(self._clock.now())
            if cancelled is task:
                return
            if await self._store.replace(cancelled, task.version):
                run = self._runs.get(task_id)
                if run is not None and run.work is not None:
                    run.work.cancel()
                return

    async def answer(
        self,
        task_id: str,
        caller: Principal | None,
        responses: JsonObject,
        invocation: Invocation,
        early: ClientChannel,
    ) -> None:
        """Keep the answers that fit open questions; with the last one, run the task again. `invocation` says as whom,
        and gets the rest from the task; `early` what the client can be asked. Raises TaskNotFound, and what refuses
        the new run: the task then waits as before."""
        while True:
            task = await self.find(task_id, caller)
            fitting = {
                key: responses[key]
                for key, question in task.questions.items()
                if key in responses and self._door.fits(question, responses[key])
            }
            answered = task.answered(fitting, self._clock.now())
            if answered is task:
                return
            if answered.questions:
                if await self._store.replace(answered, task.version):
                    return
            elif await self._resume(answered, task.version, invocation, early):
                return

    async def _resume(self, answered: Task, over: int, invocation: Invocation, early: ClientChannel) -> bool:
        """False: the task has changed meanwhile, and nothing was run."""
        work = answered.work
        if work is None:
            return False
        run = _Run(self._door, early)
        asked = replace(
            invocation,
            name=work.tool,
            arguments=work.arguments,
            consumer=work.consumer,
            request_id=work.request_id,
            tenant=answered.tenant,
        )

        async def begin(_: Principal) -> None:
            resumed = answered.resumed(self._clock.now(), self._lease_seconds, unbilled=run.owes())
            with self._place(resumed.holder):
                if not await self._store.replace(resumed, over):
                    raise TaskChanged
                self._begun(run, resumed)

        started = await self._go(run, asked, begin, is_resumed=True)
        if isinstance(started, Task):
            return True
        if isinstance(started.error, TaskChanged):
            return False
        raise started.error or StoaError("Internal error")

    async def _go(
        self,
        run: "_Run",
        invocation: Invocation,
        begin: Callable[[Principal], Any],
        *,
        is_resumed: bool = False,
    ) -> Task | Outcome:
        """Run the pipeline until it is over, or has become a task."""

        async def admitted(tool: Operation, owner: Principal, unbilled: Unbilled) -> None:
            run.unbilled = unbilled
            supports = tool.tasks if isinstance(tool, Tool) else "never"
            if is_resumed or supports in {"optional", "required"}:
                await begin(owner)
            elif supports == "explicit":
                run.begin = lambda: begin(owner)

        execution = self._invoke_tool.execute(invocation, run.channel, admitted)
        work = run.work = asyncio.create_task(execution)
        self._works.add(work)  # the loop itself holds tasks weakly
        work.add_done_callback(self._works.discard)
        either: list[asyncio.Future[Any]] = [work, run.started]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if run.started.done():
            return run.started.result()
        run.work = None
        return work.result()

    @contextmanager
    def _place(self, holder: Holder) -> Generator[None]:
        """A place among the running tasks, kept until the run is over; given back when none begins. Raises
        QuotaExceeded."""
        try:
            self._running.take(holder)
        except NoRoom as full:
            raise too_many_running(full.bound) from full
        try:
            yield
        except BaseException:
            self._running.release(holder)
            raise

    def _begun(self, run: "_Run", task: Task) -> None:
        run.task = task
        run.channel.given = GivenAnswers(task.answers, task.fingerprints)
        run.channel.has_begun = True
        run.started.set_result(task)
        self._runs[task.id] = run
        supervisor = asyncio.create_task(self._supervise(run))
        self._supervisors.add(supervisor)
        supervisor.add_done_callback(self._supervisors.discard)
        supervisor.add_done_callback(lambda _: self._running.release(task.holder))

    async def _supervise(self, run: "_Run") -> None:
        """Keeps what is to be known of a run, until its end."""
        work, task = run.work, run.task
        if work is None or task is None:
            return
        try:
            while not (await asyncio.wait({work}, timeout=self.tick_seconds))[0]:
                task = await self._renew(run, task)
            await self._conclude(run, task)
        except StoaError as failure:  # the lease lapses, and says what can be said
            _log.error("the end of a task could not be kept: %s", failure.message)
        finally:
            if self._runs.get(task.id) is run:
                del self._runs[task.id]
            run.work = None

    async def _renew(self, run: "_Run", task: Task) -> Task:
        now, message = self._clock.now(), run.channel.message
        is_due = task.lease_until is None or task.lease_until - now < timedelta(seconds=self._lease_seconds * 2 / 3)
        if run.work is None or not (is_due or message != task.message):
            return task
        owed = run.owes()
        try:
            kept = await self._keep(task, lambda then: then.renewed(now, self._lease_seconds, message, unbilled=owed))
        except StoaError as failure:
            _log.warning("the lease of a task could not be renewed: %s", failure.message)
            return task
        except Exception as defect:  # noqa: BLE001  # tried again with the next tick, long before the lease lapses
            self.report("tasks", defect)
            return task
        if kept is None:
            run.work.cancel()
        return kept or task

    async def _conclude(self, run: "_Run", task: Task) -> None:
        """Tried again while the store is away: the call will not be."""
        for tries_left in reversed(range(END_TRIES)):
            try:
                async with self._keeping:
                    await self._keep_end(run, task)
                return
            except TasksUnavailable:
                if not tries_left:
                    raise
            except Exception as defect:  # noqa: BLE001  # the call is over, and is not made again
                self.report("tasks", defect)
            if tries_left:
                await asyncio.sleep(self.tick_seconds)

    async def _keep_end(self, run: "_Run", task: Task) -> None:
        try:
            await self._keep(task, lambda then: self._end(run, then))
        except (InvalidInput, QuotaExceeded) as refused:  # what cannot be kept, or is too much
            error = self._door.error(refused)
            await self._keep(task, lambda then: then.failed(error, self._clock.now()))

    async def _keep(self, task: Task, change: Callable[[Task], Task]) -> Task | None:
        """Change a task that is run here. None: it was cancelled, or is gone; nobody else changes it otherwise. A store
        that could not answer may have kept an earlier change all the same: then that one is changed."""
        changed = change(task)
        if await self._store.replace(changed, task.version):
            return changed
        kept = await self._store.find(task.id)
        if kept is None or kept.status is not TaskStatus.WORKING or kept.answers != task.answers:
            return None  # with other answers it was begun again
        changed = change(kept)
        return changed if await self._store.replace(changed, kept.version) else None

    def _end(self, run: "_Run", task: Task) -> Task:
        now = self._clock.now()
        if run.work is None or run.work.cancelled():
            return task.failed(self._door.error(TaskInterrupted()), now)
        try:
            outcome = run.work.result()
            if outcome.questions is None:
                return task.completed(self._door.result(outcome), now)
            written = {key: self._door.question(request) for key, request in outcome.questions.items()}
            asked = task.asked(written, now, {key: fingerprint(one) for key, one in outcome.questions.items()})
            if asked is task:
                raise ClientRequestDeclined(next(iter(written), ""))
            return asked
        except StoaError as refusal:
            return task.failed(self._door.error(refusal), now)
        except Exception:  # noqa: BLE001  # last line of defence: a task must have an end
            _log.exception("a task failed unexpectedly")
            return task.failed(self._door.error(StoaError("Internal error")), now)

    async def close(self) -> None:
        """End what is running here: its tasks have failed, and say why."""
        for work in self._works:
            work.cancel()
        ending: set[asyncio.Task[Any]] = {*self._works, *self._supervisors}
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_SECONDS)


class _Run:
    """One run of the pipeline, and the task it belongs to once there is one."""

    def __init__(self, door: TaskDoor, early: ClientChannel) -> None:
        self.work: asyncio.Task[Outcome] | None = None
        """None when it is over: the run and its channel know each other, and would keep a large result until they are
        found to be garbage."""
        self.started: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
        self.task: Task | None = None
        self.begin: Callable[[], Any] | None = None
        self.unbilled: Unbilled | None = None
        self.channel = TaskChannel(early, self._begin, door.answer)

    def owes(self) -> JsonObject | None:
        """The event to be recorded should this process die now."""
        return None if self.unbilled is None else pydantic_core.from_json(self.unbilled().model_dump_json())

    async def _begin(self) -> bool:
        if self.begin is None:
            return False
        await self.begin()
        return True
