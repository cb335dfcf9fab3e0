"""The extension `io.modelcontextprotocol/tasks` (2026-07-28): calls answered with a task, tasks/get, tasks/update,
tasks/cancel, and `notifications/tasks` on listen streams.

A client declares the extension with each request. `application.tasks` runs tasks; this module writes them.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stoa.application.calls.invoke_operation import Unbilled
from stoa.application.gateway import Gateway
from stoa.application.tasks.task_door import TaskDoor
from stoa.application.tasks.task_runner import TaskRunner
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Caller, Invocation, Outcome, token_of
from stoa.domain.calls.task import Task, TaskError, TaskStatus
from stoa.domain.client_requests.client_request import ClientAnswer, ClientRequest
from stoa.domain.errors import ClientCapabilityMissing, StoaError, TaskNotFound
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.mcp.client_requests.channels import Channels
from stoa.interfaces.mcp.client_requests.stateless import StatelessChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault
from stoa.interfaces.mcp.methods.subscriptions import Subscriptions
from stoa.interfaces.mcp.streams.event_queue import EventQueue
from stoa.interfaces.mcp.wire.introduction import TASKS_EXTENSION as EXTENSION
from stoa.interfaces.mcp.wire.outcomes import result_of
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.errors import wire_error
from stoa.interfaces.wire.revisions import CAPABILITIES_KEY, NEWEST, SERVER_INFO_KEY

_log = logging.getLogger(__name__)

MAX_WATCHED_TASKS = 50
"""Upper bound on the tasks of one listen stream."""


class McpTaskDoor(TaskDoor):
    """Writes tasks as the newest revision has them: no older one has this extension."""

    def __init__(self, server_info: JsonObject) -> None:
        self._server_info = server_info

    def result(self, outcome: Outcome) -> JsonObject:
        wire = shaping.tool_result(result_of(outcome, NEWEST), NEWEST, outcome.coerced, outcome.tolerated)
        return shaping.with_meta(wire, NEWEST, self._server_info)

    def error(self, error: StoaError) -> TaskError:
        data: JsonObject = {"code": error.code}
        if isinstance(error, ClientCapabilityMissing):
            data["requiredCapabilities"] = codec.required(error.missing)
        return TaskError(wire_error(error).rpc_code, error.message, data)

    def client_request(self, request: ClientRequest) -> JsonObject:
        return codec.request(request, NEWEST)

    def fits(self, client_request: JsonObject, answer: Any) -> bool:
        request = codec.read_request(client_request)
        return request is not None and codec.answer(request, answer, NEWEST) is not None

    def answer(self, request: ClientRequest, answer: Any) -> ClientAnswer | None:
        return codec.answer(request, answer, NEWEST)


class Tasks:
    def __init__(self, gateway: Gateway, channels: Channels, server_info: JsonObject, runner: TaskRunner) -> None:
        self._gateway = gateway
        self._channels = channels
        self._server_info = server_info
        self._runner = runner
        self._followers: set[asyncio.Task[None]] = set()

    def may_begin(self, call: MethodCall, tool: str) -> bool:
        """True for a call of this name that may become a task. Whether it does depends on the tool and the client."""
        viewer = _caller(call) if call.revision.is_stateless else None
        return viewer is not None and self._gateway.registry.may_become_task(viewer.tenant, tool)

    async def call(self, call: MethodCall, invocation: Invocation, channel: StatelessChannel) -> bytes | Outcome:
        """CreateTaskResult, or the outcome of a call that did not become a task."""
        if not _declares(call):
            return await self._gateway.invoke_operation.execute(invocation, channel, _refuse_if_required)
        started = await self._runner.start(invocation, channel, lambda: channel.given)
        if isinstance(started, Outcome):
            return started
        created = {**_state(started), "resultType": "task", "_meta": {SERVER_INFO_KEY: self._server_info}}
        return messages.result(call.request.id, created)

    async def get(self, call: MethodCall) -> bytes:
        task = await self._runner.tasks.find(await self._task_id(call), _caller(call))
        return self._complete(call, _detailed(task))

    async def update(self, call: MethodCall) -> bytes:
        """Client requests whose answer does not fit stay open: tasks/get shows them."""
        task_id = await self._task_id(call)
        responses = call.request.params.get("inputResponses")
        if not is_object(responses):
            raise Fault(INVALID_PARAMS, "params.inputResponses must be an object: an answer by the key of its question")
        # The caller and the door of the next run; name and arguments come from the task.
        caller = Caller(call.caller, token_of(call.exchange.credential))
        repeated = Invocation(credential=caller, name="", arguments={}, door="mcp")
        await self._runner.answer(task_id, _caller(call), responses, repeated, self._channels.round(call))
        return self._complete(call, {})

    async def cancel(self, call: MethodCall) -> bytes:
        await self._runner.cancel(await self._task_id(call), _caller(call))
        return self._complete(call, {})

    async def _task_id(self, call: MethodCall) -> str:
        task_id = call.request.params.get("taskId")
        if not isinstance(task_id, str):
            raise Fault(INVALID_PARAMS, "params.taskId must be a string")
        _require(call)
        await self._gateway.callers.limit(call.caller)
        return task_id

    def _complete(self, call: MethodCall, wire: JsonObject) -> bytes:
        return messages.result(call.request.id, shaping.with_meta(wire, call.revision, self._server_info))

    async def watched(self, call: MethodCall) -> tuple[str, ...]:
        """The requested tasks that this subscriptions/listen may follow."""
        requested = as_object(call.request.params.get("notifications")).get("taskIds")
        if requested is None:
            return ()
        _require(call)
        ids: list[str] = [task_id for task_id in requested if isinstance(task_id, str)] if is_array(requested) else []
        if not is_array(requested) or len(ids) < len(requested) or len(ids) > MAX_WATCHED_TASKS:
            raise Fault(INVALID_PARAMS, f"notifications.taskIds must be at most {MAX_WATCHED_TASKS} strings")
        return tuple(
            [task_id for task_id in dict.fromkeys(ids) if await self._visible(task_id, _caller(call)) is not None]
        )

    async def _visible(self, task_id: str, caller: Principal | None) -> Task | None:
        try:
            return await self._runner.tasks.find(task_id, caller)
        except TaskNotFound:
            return None

    def follow(
        self, events: EventQueue, call: MethodCall, task_ids: Sequence[str], subscriptions: Subscriptions
    ) -> None:
        """Send a listener the state of these tasks of the caller, now and whenever it changes."""
        follower = asyncio.create_task(self._follow(events, _caller(call), task_ids, subscriptions))
        self._followers.add(follower)  # the loop itself holds tasks weakly
        follower.add_done_callback(self._followers.discard)

    async def _follow(
        self, events: EventQueue, caller: Principal | None, task_ids: Sequence[str], subscriptions: Subscriptions
    ) -> None:
        """Polls the store, which says the same in every process, and checks access each time."""
        states: dict[str, JsonObject | None] = dict.fromkeys(task_ids)
        while states and subscriptions.is_open(events):
            for task_id, before in list(states.items()):
                try:
                    task = await self._visible(task_id, caller)
                except StoaError as failure:
                    _log.warning("a task could not be followed: %s", failure.message)
                    continue
                except Exception as defect:  # noqa: BLE001  # an unhandled one would end this listener without a word
                    self._runner.tasks.report("tasks", defect)
                    continue
                if not subscriptions.is_open(events):
                    return
                state = None if task is None else _detailed(task)
                if state is not None and state != before:
                    subscriptions.tell(events, "notifications/tasks", state)
                if task is None or task.is_over:
                    del states[task_id]
                else:
                    states[task_id] = state
            await asyncio.sleep(self._runner.tasks.tick_seconds)

    async def watch(self) -> None:
        """Ends tasks whose processes died, wherever they ran, until cancelled."""
        await self._runner.tasks.watch()

    async def close(self) -> None:
        """Ends the calls that run in the background here."""
        for follower in self._followers:
            follower.cancel()
        await self._runner.close()


def _caller(call: MethodCall) -> Principal | None:
    """The caller, with its view on the tenant of the request."""
    return call.caller.acting_for(call.exchange.tenant)


def _declares(call: MethodCall) -> bool:
    return codec.declares(as_object(call.request.params.get("_meta")).get(CAPABILITIES_KEY), EXTENSION)


def _require(call: MethodCall) -> None:
    if not _declares(call):
        raise ClientCapabilityMissing([EXTENSION])


async def _refuse_if_required(tool: Operation, _: Principal, __: Unbilled) -> None:
    if isinstance(tool, Tool) and tool.tasks == "required":
        raise ClientCapabilityMissing([EXTENSION])


def _state(task: Task) -> JsonObject:
    """The Task object."""
    wire: JsonObject = {
        "taskId": task.id,
        "status": task.status.value,
        "createdAt": _time(task.created_at),
        "lastUpdatedAt": _time(task.updated_at),
        "ttlMs": round(task.ttl_seconds * 1000),
        "pollIntervalMs": max(1, round(task.poll_seconds * 1000)),
    }
    if task.message is not None:
        wire["statusMessage"] = task.message
    return wire


def _detailed(task: Task) -> JsonObject:
    """The Task object with the fields of its status."""
    wire = _state(task)
    if task.status is TaskStatus.INPUT_REQUIRED:
        wire["inputRequests"] = dict(task.client_requests)
    elif task.result is not None:
        wire["result"] = task.result
    elif task.error is not None:
        wire["error"] = {"code": task.error.code, "message": task.error.message}
        if task.error.data is not None:
            wire["error"]["data"] = task.error.data
    return wire


def _time(moment: datetime) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
