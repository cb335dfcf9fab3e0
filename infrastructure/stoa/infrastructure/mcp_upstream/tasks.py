"""Calls that the upstream answers with a task (extension `io.modelcontextprotocol/tasks` of the stateless era).

The call of the gateway becomes a task, too, and the gateway asks for the upstream's until that has ended. A client
request of the upstream's task ends the run of the gateway's, which begins anew with the answers, perhaps in another
process: the gateway's task remembers the upstream's, which goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable

from stoa.application.ports import CallContext
from stoa.application.tasks.task_channel import TaskChannel
from stoa.domain.client_requests.client_request import InputRequired
from stoa.domain.errors import BackendProtocolError, BackendUnavailable
from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.domain.schema.plain_text import plain
from stoa.infrastructure.mcp_upstream.messages import INTERNAL_ERROR, UpstreamFault
from stoa.infrastructure.mcp_upstream.session import Call, Session

FIRST_SECONDS, LAST_SECONDS = 0.05, 5.0
"""Between two looks at a task, whatever interval the server wishes."""
MAX_TASK_ID = 1024
CANCEL_SECONDS = 5.0

Answers = Callable[[JsonObject], Awaitable[JsonObject]]
"""The client's answers to the requests of the upstream, by its keys."""


class UpstreamTasks:
    """Follows the tasks of upstreams."""

    def __init__(self) -> None:
        self._cancelling: set[asyncio.Task[None]] = set()

    def waiting(self, context: CallContext) -> str | None:
        """The upstream's task of an earlier run of this call."""
        channel = context.channel
        return channel.memo if isinstance(channel, TaskChannel) else None

    async def result(
        self, task_id: object, session: Session, call: Call, context: CallContext, answers: Answers
    ) -> JsonObject:
        """What the call would have answered without a task. Raises UpstreamFault if the task failed, and InputRequired
        when the client has to answer first."""
        if not isinstance(task_id, str) or not 0 < len(task_id) <= MAX_TASK_ID:
            raise BackendProtocolError(f"The back end of {session.whose} failed: its task has no id")
        channel = context.channel
        try:
            if channel is not None:
                await channel.begin_task()
            if isinstance(channel, TaskChannel):
                channel.memo = task_id  # before the client is asked, which ends this run
            found = await self._ended(task_id, session, call, context, answers)
        except (InputRequired, UpstreamFault, BackendProtocolError, BackendUnavailable):
            raise
        except BaseException:
            self._cancel(task_id, session, call)
            raise
        return found

    async def _ended(
        self, task_id: str, session: Session, call: Call, context: CallContext, answers: Answers
    ) -> JsonObject:
        shown, answered = None, set[str]()
        while True:
            task = await session.request("tasks/get", {"taskId": task_id}, call)
            message = task.get("statusMessage")
            if isinstance(message, str) and message != shown and context.channel is not None:
                shown = message
                await context.channel.log("info", plain(message)[:1000])
            match task.get("status"):
                case "completed":
                    return as_object(task.get("result"))
                case "failed":
                    error = as_object(task.get("error"))
                    code = error.get("code")
                    raise UpstreamFault(
                        code if isinstance(code, int) else INTERNAL_ERROR, str(error.get("message")), error.get("data")
                    )
                case "cancelled":
                    raise BackendUnavailable(f"The back end of {session.whose} cancelled the task of this call")
                case "input_required":
                    requests = task.get("inputRequests")
                    asked = requests if is_object(requests) else {}
                    new = {key: each for key, each in asked.items() if key not in answered}
                    if new:
                        given = await answers(new)
                        answered |= given.keys()
                        await session.request("tasks/update", {"taskId": task_id, "inputResponses": given}, call)
                        continue
                case "working":
                    pass
                case _:
                    raise BackendProtocolError(f"The back end of {session.whose} failed: its task has no known status")
            await asyncio.sleep(_interval(task))

    def _cancel(self, task_id: str, session: Session, call: Call) -> None:
        async def cancel() -> None:
            try:
                async with asyncio.timeout(CANCEL_SECONDS):
                    await session.request("tasks/cancel", {"taskId": task_id}, call)
            except Exception:  # noqa: BLE001  # it expires by itself in the end
                return

        task = asyncio.create_task(cancel(), name="cancel a task of an upstream MCP server")
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)


def _interval(task: JsonObject) -> float:
    wished = task.get("pollIntervalMs")
    seconds = wished / 1000 if isinstance(wished, (int, float)) and not isinstance(wished, bool) else 1.0
    return min(max(seconds, FIRST_SECONDS), LAST_SECONDS)
