"""The lease of a task whose call runs in this process: renewed while the call runs, replaced by the end of the task."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

import pydantic_core

from stoa.application.calls.invoke_operation import Unbilled
from stoa.application.tasks.stored_tasks import StoredTasks
from stoa.application.tasks.task_channel import TaskChannel
from stoa.domain.calls.invocation import Outcome
from stoa.domain.calls.task import Task, TaskStatus
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import (
    ClientRequestDeclined,
    InvalidInput,
    QuotaExceeded,
    StoaError,
    TaskInterrupted,
    TasksUnavailable,
)
from stoa.domain.schema.json_value import JsonObject

_log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
TICK_SECONDS = 1.0
"""Seconds between two looks of a runner for a lease to renew or a new status message to store."""
END_TRIES = 10
"""Attempts to store the end of a task, a tick apart."""


class Lease:
    """The right to change a stored task: until `call` is over no other process does, except to cancel it. `ends` bounds
    the ends that are stored at once: a large result is in memory several times while it is written."""

    def __init__(
        self,
        tasks: StoredTasks,
        task: Task,
        call: asyncio.Task[Outcome],
        channel: TaskChannel,
        unbilled: Unbilled,
        ends: asyncio.Semaphore,
    ) -> None:
        self._tasks = tasks
        self._task = task
        self._call = call
        self._channel = channel
        self._unbilled = unbilled
        self._ends = ends

    @property
    def task(self) -> Task:
        """The task as this process last stored it."""
        return self._task

    def cancel(self) -> None:
        self._call.cancel()

    async def keep(self) -> None:
        """Renew until the call is over, then store the end of the task."""
        try:
            while not (await asyncio.wait({self._call}, timeout=self._tasks.tick_seconds))[0]:
                await self._renew()
            await self._store_end()
        except StoaError as failure:  # the lease lapses, and the task fails as interrupted
            _log.error("the end of a task could not be kept: %s", failure.message)

    async def _renew(self) -> None:
        now, message, seconds = self._tasks.clock.now(), self._channel.message, self._tasks.lease_seconds
        task = self._task
        # Due after a third of its time: the rest is for further attempts while the store is away.
        is_due = task.lease_until is None or task.lease_until - now < timedelta(seconds=seconds * 2 / 3)
        if not (is_due or message != task.message):
            return
        unbilled = unbilled_fields(self._unbilled)
        try:
            is_stored = await self._change(lambda then: then.renewed(now, seconds, message, unbilled=unbilled))
        except StoaError as failure:
            _log.warning("the lease of a task could not be renewed: %s", failure.message)
        except Exception as defect:  # noqa: BLE001  # tried again with the next tick, long before the lease lapses
            self._tasks.report("tasks", defect)
        else:
            if not is_stored:  # nothing would record its result, so the back end need not finish
                self._call.cancel()

    async def _store_end(self) -> None:
        """Store the end of the task, and try again while the store is away: the call cannot be repeated to get its
        result again."""
        for tries_left in reversed(range(END_TRIES)):
            try:
                async with self._ends:
                    await self._try_to_store_end()
                return
            except TasksUnavailable:
                if not tries_left:
                    raise
            except Exception as defect:  # noqa: BLE001  # a defect of the store loses this attempt, not the result
                self._tasks.report("tasks", defect)
            if tries_left:
                await asyncio.sleep(self._tasks.tick_seconds)

    async def _try_to_store_end(self) -> None:
        try:
            await self._change(self._ended)
        except (InvalidInput, QuotaExceeded) as refused:  # a result that JSON cannot carry, or that is too large
            error = self._tasks.door.error(refused)
            await self._change(lambda then: then.failed(error, self._tasks.clock.now()))

    async def _change(self, change: Callable[[Task], Task]) -> bool:
        """Change the stored task. False: it was cancelled, is gone, or runs again elsewhere."""
        changed, store = change(self._task), self._tasks.store
        if await store.replace(changed, self._task.version):
            self._task = changed
            return True
        # A store that could not answer an earlier change may have made it nevertheless: then that version is changed.
        stored = await store.find(self._task.id)
        if stored is None or stored.status is not TaskStatus.WORKING or stored.answers != self._task.answers:
            return False  # with other answers, another run of it has begun
        changed = change(stored)
        if not await store.replace(changed, stored.version):
            return False
        self._task = changed
        return True

    def _ended(self, task: Task) -> Task:
        """The task after its call: completed, failed, or waiting for answers."""
        now, door = self._tasks.clock.now(), self._tasks.door
        if self._call.cancelled():
            return task.failed(door.error(TaskInterrupted()), now)
        try:
            outcome = self._call.result()
            if outcome.client_requests is None:
                return task.completed(door.result(outcome), now)
            requests = outcome.client_requests
            written = {key: door.client_request(request) for key, request in requests.items()}
            fingerprints = {key: fingerprint(request) for key, request in requests.items()}
            waiting = task.requiring_input(written, now, fingerprints, memo=self._channel.memo)
            if waiting is task:  # all of them were answered before: the tool would ask for ever
                raise ClientRequestDeclined(next(iter(written), ""))
            return waiting
        except StoaError as refusal:
            return task.failed(door.error(refusal), now)
        except Exception:  # noqa: BLE001  # last line of defence: a task must have an end
            _log.exception("a task failed unexpectedly")
            return task.failed(door.error(StoaError("Internal error")), now)


def unbilled_fields(unbilled: Unbilled) -> JsonObject:
    """The metering event to record should this process die now, as JSON."""
    fields: JsonObject = pydantic_core.from_json(unbilled().model_dump_json())
    return fields
