"""Calls that go on in the background: a task is an ordinary invocation whose caller was answered early.

The pipeline runs the call like any other and meters each run once. The call becomes a task right before its back end is
called, so every refusal is answered as without tasks. A client request ends a run; the last answer begins the next one
with the credential of the request that brought it, which is authenticated and authorised like any other. A credential
is never stored.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from stoa.application.calls.invoke_operation import InvokeOperation, Unbilled
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.client_channel import RoundClientChannel
from stoa.application.ports.clock import Clock
from stoa.application.ports.task_store import TaskStore
from stoa.application.tasks.caps import RUNNING_TASKS, too_many_running
from stoa.application.tasks.lease import LEASE_SECONDS, TICK_SECONDS, Lease, unbilled_fields
from stoa.application.tasks.stored_tasks import StoredTasks
from stoa.application.tasks.task_channel import TaskChannel
from stoa.application.tasks.task_door import TaskDoor
from stoa.domain.access.fair_share import Caps, FairSlots, Holder, NoRoom
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.task import GivenAnswers, Task, Work
from stoa.domain.errors import StoaError, TaskChanged
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject

CLOSE_SECONDS = 5.0
"""Seconds that `close` waits for cancelled calls. The lease of a call that takes longer lapses."""
ENDS_AT_ONCE = 2
"""Ends of tasks that are stored at once."""


class TaskRunner:
    """Runs tasks in one event loop. Any number of processes with the same store serve the same tasks."""

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
        self.tasks = StoredTasks(
            store,
            clock,
            door,
            invoke_operation.bill,
            lease_seconds=lease_seconds,
            tick_seconds=tick_seconds,
            report=report,
        )
        self._invoke_operation = invoke_operation
        self._running = FairSlots(running)
        self._ends = asyncio.Semaphore(ENDS_AT_ONCE)
        self._leases: dict[str, Lease] = {}
        # The event loop references its tasks weakly: without these sets they could be collected while they run.
        self._calls: set[asyncio.Task[Outcome]] = set()
        self._keepers: set[asyncio.Task[None]] = set()

    async def start(
        self, invocation: Invocation, channel: RoundClientChannel, given: Callable[[], GivenAnswers]
    ) -> Task | Outcome:
        """Call a tool. Returns a Task when the call goes on in the background, else its outcome. `given`: the client's
        answers on `channel` before the task began. Cancelling `start` cancels the call until it is a task."""
        run = _NewTask(self, channel, invocation, given)
        try:
            return await run.until_answered(invocation)
        except asyncio.CancelledError:
            await run.cancel_unless_task()
            raise

    async def cancel(self, task_id: str, caller: Principal | None) -> None:
        """Cancel a task; a terminal one stays as it is. Raises TaskNotFound."""
        while True:
            task = await self.tasks.find(task_id, caller)
            cancelled = task.cancelled(self.tasks.clock.now())
            if cancelled is task:
                return
            # Stored first: a runner in another process notices when it renews its lease.
            if await self.tasks.store.replace(cancelled, task.version):
                lease = self._leases.get(task_id)
                if lease is not None:
                    lease.cancel()
                return

    async def answer(
        self,
        task_id: str,
        caller: Principal | None,
        responses: JsonObject,
        invocation: Invocation,
        early: RoundClientChannel,
    ) -> None:
        """Store the answers that fit open client requests; with the last one, run the task again. `invocation` carries
        the credential and the door; the rest comes from the task. Raises TaskNotFound, and the refusal of the new run:
        the task then waits as before."""
        while True:
            task = await self.tasks.find(task_id, caller)
            fitting = {
                key: responses[key]
                for key, client_request in task.client_requests.items()
                if key in responses and self.tasks.door.fits(client_request, responses[key])
            }
            answered = task.answered(fitting, self.tasks.clock.now())
            if answered is task:
                return
            if answered.client_requests:
                if await self.tasks.store.replace(answered, task.version):
                    return
            elif await self._resume(answered, task.version, invocation, early):
                return

    async def _resume(
        self, answered: Task, stored_version: int, invocation: Invocation, early: RoundClientChannel
    ) -> bool:
        """Store the answered task as resumed and run it. False: another process changed the task first, and nothing was
        run."""
        work = answered.work
        if work is None:
            return False
        repeated = replace(
            invocation,
            name=work.tool,
            arguments=work.arguments,
            consumer=work.consumer,
            request_id=work.request_id,
            tenant=answered.tenant,
        )
        resumed = await _ResumedTask(self, early, answered, stored_version).until_answered(repeated)
        if isinstance(resumed, Task):
            return True
        if isinstance(resumed.error, TaskChanged):
            return False
        raise resumed.error or StoaError("Internal error")

    def execute(self, invocation: Invocation, run: "_Run") -> asyncio.Task[Outcome]:
        """Run the pipeline as a task of the event loop, which outlives the request."""
        call = asyncio.create_task(self._invoke_operation.execute(invocation, run.channel, run.before_call))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    @contextmanager
    def place(self, holder: Holder) -> Generator[None]:
        """Take a place among the running tasks, given back on an exception. Raises QuotaExceeded."""
        try:
            self._running.take(holder)
        except NoRoom as full:
            raise too_many_running(full.bound) from full
        try:
            yield
        except BaseException:
            self._running.release(holder)
            raise

    def keep(self, task: Task, call: asyncio.Task[Outcome], channel: TaskChannel, unbilled: Unbilled) -> None:
        """Keep the lease of a task until its end is stored; then its place is given back."""
        lease = self._leases[task.id] = Lease(self.tasks, task, call, channel, unbilled, self._ends)
        keeper = asyncio.create_task(self._keep(lease))
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)
        keeper.add_done_callback(lambda _: self._running.release(task.holder))

    async def _keep(self, lease: Lease) -> None:
        try:
            await lease.keep()
        finally:
            if self._leases.get(lease.task.id) is lease:  # its next run may have begun already
                del self._leases[lease.task.id]

    async def close(self) -> None:
        """Cancel the calls that run here; their tasks fail as interrupted."""
        for call in self._calls:
            call.cancel()
        ending: set[asyncio.Task[Any]] = {*self._calls, *self._keepers}
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_SECONDS)


class _Run(ABC):
    """One run of the pipeline: an ordinary call until its task is stored.

    The pipeline is one coroutine and goes on after that moment, so the request waits for two things at once: the end of
    the call, or its task.
    """

    begins_at_once = False

    def __init__(self, runner: TaskRunner, early: RoundClientChannel) -> None:
        self._runner = runner
        self._stored: asyncio.Future[Task] = asyncio.get_running_loop().create_future()
        self._call: asyncio.Task[Outcome] | None = None
        self._owner: Principal | None = None
        self._unbilled: Unbilled | None = None
        self.channel = TaskChannel(early, self.begin, runner.tasks.door.answer)

    @abstractmethod
    def _working(self, owner: Principal, unbilled: JsonObject) -> Task:
        """The task of this run, not stored yet."""
        ...

    @abstractmethod
    async def _store(self, task: Task) -> None: ...

    async def until_answered(self, invocation: Invocation) -> Task | Outcome:
        """Start the pipeline; the task as soon as it is stored, else the outcome."""
        call = self._call = self._runner.execute(invocation, self)
        either: list[asyncio.Future[Any]] = [call, self._stored]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        # The run and its channel reference each other: the call's result must not stay until the cycle is collected.
        self._call = None
        return self._stored.result() if self._stored.done() else call.result()

    async def cancel_unless_task(self) -> None:
        if self._call is not None and not self._stored.done():
            self._call.cancel()
            await asyncio.wait({self._call})  # its event is recorded before the request is over

    async def before_call(self, operation: Operation, owner: Principal, unbilled: Unbilled) -> None:
        """The BeforeCall of the run: makes the call a task, right before the back end is called."""
        support = operation.tasks if isinstance(operation, Tool) else "never"
        if support == "never" and not self.begins_at_once:
            return
        self._owner, self._unbilled = owner, unbilled
        if self.begins_at_once or support != "explicit":
            await self.begin()

    async def begin(self) -> bool:
        """Store the task, which answers the request. False: this operation runs in the foreground only."""
        owner, unbilled, call = self._owner, self._unbilled, self._call
        if owner is None or unbilled is None or call is None:
            return False
        task = self._working(owner, unbilled_fields(unbilled))
        with self._runner.place(task.holder):  # before it is stored: a refused task must leave no record
            await self._store(task)
            self.channel.continue_as_task(GivenAnswers(task.answers, task.fingerprints, task.memo))
            self._runner.keep(task, call, self.channel, unbilled)
        self._stored.set_result(task)  # last: it answers the request, and the client may ask for the task at once
        return True


class _NewTask(_Run):
    """The first run. For a tool with `tasks: explicit` its function decides when the task begins."""

    def __init__(
        self,
        runner: TaskRunner,
        early: RoundClientChannel,
        invocation: Invocation,
        given: Callable[[], GivenAnswers],
    ) -> None:
        super().__init__(runner, early)
        self._given = given
        self._work = Work(
            tool=invocation.name,
            arguments=invocation.arguments,
            consumer=invocation.consumer,
            request_id=invocation.request_id,
        )

    def _working(self, owner: Principal, unbilled: JsonObject) -> Task:
        tasks = self._runner.tasks
        now, seconds = tasks.clock.now(), tasks.lease_seconds
        return Task.begin(self._work, owner, now, seconds, self._given(), unbilled=unbilled)

    async def _store(self, task: Task) -> None:
        await self._runner.tasks.store.create(task)


class _ResumedTask(_Run):
    """A later run, after the last open client request was answered."""

    begins_at_once = True

    def __init__(self, runner: TaskRunner, early: RoundClientChannel, answered: Task, stored_version: int) -> None:
        super().__init__(runner, early)
        self._answered = answered
        self._stored_version = stored_version

    def _working(self, owner: Principal, unbilled: JsonObject) -> Task:
        del owner  # stays the one who began the task
        tasks = self._runner.tasks
        return self._answered.resumed(tasks.clock.now(), tasks.lease_seconds, unbilled=unbilled)

    async def _store(self, task: Task) -> None:
        # Refuses the call when another process stored the last answer first: a task is run again once.
        if not await self._runner.tasks.store.replace(task, self._stored_version):
            raise TaskChanged
