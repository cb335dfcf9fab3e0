"""A session whose messages all come on one stream: over stdio, and over HTTP+SSE."""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Sequence

from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendError, BackendProtocolError, BackendUnavailable, Unavailable
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.mcp_upstream import messages
from stoa.infrastructure.mcp_upstream.conversation import UNRELATED, QueuedConversation, related
from stoa.infrastructure.mcp_upstream.messages import (
    Message,
    Notification,
    Request,
    Response,
    UpstreamFault,
)
from stoa.infrastructure.mcp_upstream.per_second import PerSecond
from stoa.infrastructure.mcp_upstream.session import NO_ACCESS, Access, Call, Session, wanted_changes

MAX_DROPPED_PER_SECOND = 5000
"""Messages that no call waits for; a server that sends more is left."""
MAX_PARTING = 100
"""Messages that wait to be sent and that nothing waits for; a server's further requests stay unanswered."""


class DuplexSession(Session):
    """One reader serves all conversations. `_problem`: why the session ended."""

    def __init__(self, whose: str, capabilities: ClientCapabilities) -> None:
        super().__init__(whose, capabilities)
        self._open: dict[int | str, QueuedConversation] = {}
        self._ended = asyncio.Event()
        self._problem: BackendError | None = None
        self._dropped = PerSecond(MAX_DROPPED_PER_SECOND)
        self._parting: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def _write(self, message: bytes, access: Access = NO_ACCESS) -> None:
        """Raises BackendUnavailable."""
        ...

    async def request(self, method: str, params: JsonObject, call: Call) -> JsonObject:
        if self.is_closed:
            raise self._problem or self._gone()
        request_id = self._next_id()
        conversation = QueuedConversation(request_id, call.listener, lambda answer: self._write(answer, call.access))
        message = messages.request(request_id, method, self._params(params, request_id, call))
        self._open[request_id] = conversation
        try:
            await self._write(message, call.access)
            return await conversation.result()
        except (UpstreamFault, Unavailable):
            raise
        except BaseException:  # the call is cancelled, or goes on with the client's next round
            if method != "initialize" and not self.is_closed:
                withdrawn = messages.notification("notifications/cancelled", {"requestId": request_id})
                self._part(withdrawn, call.access)
            raise
        finally:
            del self._open[request_id]
            conversation.close()

    async def notify(self, method: str, params: JsonObject, access: Access = NO_ACCESS) -> None:
        await self._write(messages.notification(method, params), access)

    async def watch(self, access: Access, established: Callable[[], None], uris: Sequence[str] = ()) -> None:
        established()
        if self.peer.is_stateless:
            await self.request("subscriptions/listen", {"notifications": wanted_changes(uris)}, Call(access=access))
        else:
            await self._ended.wait()
            raise self._problem or self._gone()

    async def _take(self, line: bytes) -> None:
        try:
            found = await messages.read(line, self.whose)
        except BackendProtocolError:  # some programs print what they log
            self._drop(1)
            self._said(line)
            return
        for message in found:
            self._dispatch(message)

    def _dispatch(self, message: Message) -> None:
        if isinstance(message, Response):
            conversation = self._open.get(message.id) if message.id is not None else None
            if conversation is None:
                self._drop(1)
            else:
                conversation.push(message)
            return
        if isinstance(message, Notification) and self._tell_change(message):
            self._drop(1)
            return
        conversation = related(message, self._open)
        if conversation is not None:
            if not conversation.push(message):
                self._drop(1)
        elif isinstance(message, Request):
            self._answer_unrelated(message)
        else:
            self._drop(1)

    def _answer_unrelated(self, message: Request) -> None:
        self._drop(1)
        if message.method == "ping":
            self._part(messages.response(message.id, {}))
        else:
            self._part(messages.fault_response(message.id, UNRELATED))

    def _drop(self, count: int) -> None:
        if not self._dropped.takes(count):
            raise messages.flood(self.whose)

    def _part(self, message: bytes, access: Access = NO_ACCESS) -> None:
        """Send a message that nothing waits for."""
        if len(self._parting) >= MAX_PARTING:
            return

        async def send() -> None:
            with contextlib.suppress(BackendUnavailable, BackendProtocolError):
                await self._write(message, access)

        task = asyncio.create_task(send(), name="tell an upstream MCP server")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    def _end(self, problem: BackendError) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._problem = problem
        for conversation in self._open.values():
            conversation.fail(problem)
        self._ended.set()

    def _said(self, line: bytes) -> None:
        """Hear of what is no message."""

    def _gone(self) -> BackendUnavailable:
        return BackendUnavailable(f"The back end of {self.whose} failed: its connection ended")
