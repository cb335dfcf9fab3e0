"""One request to an upstream, and all that belongs to it until its response: notifications and client requests.

What the upstream sends before its response reaches the client of this very call, through a Listener. The transports
feed a Conversation; it knows nothing of them.
"""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from stoa.application.ports import CallContext
from stoa.application.tasks.task_channel import TaskChannel
from stoa.domain.client_requests.client_request import (
    LOG_LEVELS,
    NO_CAPABILITIES,
    ClientCapabilities,
    InputRequired,
)
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    ClientCapabilityMissing,
    ClientRequestDeclined,
    ClientRequestRefused,
    QuotaExceeded,
)
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.plain_text import plain
from stoa.infrastructure.mcp_upstream.client_requests import read_request, written_answer
from stoa.infrastructure.mcp_upstream.messages import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    Message,
    Notification,
    Request,
    RequestId,
    Response,
    UpstreamFault,
    fault_response,
    response,
)

MAX_NOTIFICATIONS = 10_000
"""Of one call; further ones are dropped."""
MAX_WAITING = 1000
"""Messages of one call that have come and were not passed on yet; further notifications are dropped."""
MESSAGES_A_TURN = 32
"""Messages of one call that are passed on before other calls have their turn."""
MAX_REQUESTS = 32
"""Client requests of one call that wait for their answers at once."""
_REFUSED = -1
"""The code that clients answer a declined request with (MCP "Sampling", Error Handling)."""


class Listener(Protocol):
    """The client's side of one call. Laws: `progress` and `log` do not fail; what is malformed is dropped."""

    capabilities: ClientCapabilities
    wants_messages: bool
    takes_tasks: bool
    """The call can go on as a task."""

    @abstractmethod
    async def progress(self, params: JsonObject) -> None: ...

    @abstractmethod
    async def log(self, params: JsonObject) -> None: ...

    @abstractmethod
    async def elicitation_done(self, elicitation_id: str) -> None: ...

    @abstractmethod
    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        """The client's result. Raises UpstreamFault for an error, and InputRequired, which ends the call."""
        ...


class NoClient(Listener):
    """For requests that no client waits for, and for calls through doors without a way back."""

    capabilities = NO_CAPABILITIES
    wants_messages = False
    takes_tasks = False

    async def progress(self, params: JsonObject) -> None:
        """Dropped."""

    async def log(self, params: JsonObject) -> None:
        """Dropped."""

    async def elicitation_done(self, elicitation_id: str) -> None:
        """Dropped."""

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        del params
        raise UpstreamFault(METHOD_NOT_FOUND, f"{method[:40]}: the client takes no requests")


NO_CLIENT = NoClient()


class CallListener(Listener):
    """The client of a call, behind its channel: client requests are permitted, limited and metered on the way."""

    wants_messages = True

    def __init__(self, context: CallContext) -> None:
        channel = context.channel
        if channel is None:
            raise ValueError("the call has no channel")
        self._channel = channel
        self.takes_tasks = isinstance(channel, TaskChannel)
        self._client_requests = context.client_requests
        self.capabilities = NO_CAPABILITIES if context.client_requests is None else channel.capabilities
        self._numbers: dict[str, int] = {}

    async def progress(self, params: JsonObject) -> None:
        progress, message = _number(params.get("progress")), params.get("message")
        if progress is not None:
            text = plain(message)[:1000] if isinstance(message, str) else None
            await self._channel.progress(progress, _number(params.get("total")), text)

    async def log(self, params: JsonObject) -> None:
        level, logger = params.get("level"), params.get("logger")
        if level in LOG_LEVELS and "data" in params:
            await self._channel.log(level, params["data"], plain(logger)[:100] if isinstance(logger, str) else None)

    async def elicitation_done(self, elicitation_id: str) -> None:
        await self._channel.elicitation_done(elicitation_id)

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        if self._client_requests is None:
            raise UpstreamFault(METHOD_NOT_FOUND, f"{method[:40]}: the client takes no requests")
        request = read_request(method, params)
        # Equal in each round of the stateless era, where the call is repeated from its start.
        number = self._numbers[method] = self._numbers.get(method, 0) + 1
        key = f"{method.replace('/', '-')}-{number}"
        try:
            answer = (await self._client_requests.send({key: request}))[key]
        except ClientCapabilityMissing as lacking:
            raise UpstreamFault(METHOD_NOT_FOUND, lacking.message) from None
        except ClientRequestDeclined as declined:
            raise UpstreamFault(_REFUSED, declined.message) from None
        except (ClientRequestRefused, QuotaExceeded, BackendTimedOut) as refused:
            raise UpstreamFault(INTERNAL_ERROR, refused.message) from None
        return written_answer(request, answer)


class Conversation:
    """Until `response` is set. `reply` sends the answer to a request of the upstream; `interrupt` ends the wait of the
    transport, which then raises `failure`."""

    def __init__(
        self,
        request_id: RequestId,
        listener: Listener,
        reply: Callable[[bytes], Awaitable[None]],
        interrupt: Callable[[], None],
    ) -> None:
        self.id = request_id
        self.listener = listener
        self.response: Response | None = None
        self.failure: BaseException | None = None
        self._reply = reply
        self._interrupt = interrupt
        self._notifications = 0
        self._answering: dict[RequestId, asyncio.Task[None]] = {}

    async def handle(self, message: Message) -> None:
        match message:
            case Response():
                if message.id == self.id:
                    self.response = message
            case Notification():
                await self._notified(message)
            case Request():
                self._requested(message)

    def outcome(self) -> JsonObject | None:
        """The result; None before the response. Raises `failure`, or UpstreamFault."""
        if self.response is not None:
            if self.response.fault is not None:
                raise self.response.fault
            return self.response.result
        if self.failure is not None:
            raise self.failure
        return None

    def fail(self, failure: BaseException) -> None:
        """End the conversation, unless it has ended."""
        if self.failure is None and self.response is None:
            self.failure = failure
            self._interrupt()

    def close(self) -> None:
        """Give up on client requests that nothing waits for any more."""
        for task in self._answering.values():
            task.cancel()

    async def _notified(self, message: Notification) -> None:
        self._notifications += 1
        if self._notifications > MAX_NOTIFICATIONS:
            return
        match message.method:
            case "notifications/progress":
                if message.params.get("progressToken") == self.id:
                    await self.listener.progress(message.params)
            case "notifications/message":
                await self.listener.log(message.params)
            case "notifications/elicitation/complete":
                await self.listener.elicitation_done(str(message.params.get("elicitationId", ""))[:256])
            case "notifications/cancelled":
                task = self._answering.get(message.params.get("requestId", ""))
                if task is not None:
                    task.cancel()
            case _:  # what no call is about, or a later revision has
                return

    def _requested(self, message: Request) -> None:
        if len(self._answering) >= MAX_REQUESTS:
            self.fail(BackendProtocolError(f"The back end asks more than {MAX_REQUESTS} client requests at once"))
            return
        task = asyncio.create_task(self._answer(message), name="answer a request of an upstream MCP server")
        self._answering[message.id] = task
        task.add_done_callback(lambda _: self._answering.pop(message.id, None))

    async def _answer(self, message: Request) -> None:
        try:
            if message.method == "ping":
                answer = response(message.id, {})
            else:
                answer = response(message.id, await self.listener.ask(message.method, message.params))
        except UpstreamFault as fault:
            answer = fault_response(message.id, fault)
        except InputRequired as required:  # the call goes on in the client's next round, from its start
            self.fail(required)
            return
        except Exception as defect:  # noqa: BLE001  # the call reports it, as if it had happened there
            self.fail(defect)
            return
        try:
            await self._reply(answer)
        except Exception as lost:  # noqa: BLE001  # an upstream that cannot be answered will not answer either
            self.fail(lost)


C = TypeVar("C", bound="Conversation")


def related(message: Message, conversations: Mapping[RequestId, C]) -> C | None:
    """The call that a message belongs to which came on no stream of its own. Only progress names its call; anything
    else belongs to the one call that has a client, and to none if there are several: what one client is asked must not
    be answered by another."""
    if isinstance(message, Notification) and message.method == "notifications/progress":
        token = message.params.get("progressToken")
        return conversations.get(token) if isinstance(token, (int, str)) else None
    with_client = [each for each in conversations.values() if each.listener is not NO_CLIENT]
    return with_client[0] if len(with_client) == 1 else None


UNRELATED = UpstreamFault(INTERNAL_ERROR, "it does not show which of several calls this request belongs to")


class QueuedConversation(Conversation):
    """Fed by a reader that serves several conversations and must wait for none of them."""

    def __init__(self, request_id: RequestId, listener: Listener, reply: Callable[[bytes], Awaitable[None]]) -> None:
        self._arrived = asyncio.Event()
        super().__init__(request_id, listener, reply, self._arrived.set)
        self._waiting: deque[Message] = deque()

    def push(self, message: Message) -> bool:
        """False: dropped, because too many wait."""
        if isinstance(message, Notification) and len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(message)
        self._arrived.set()
        return True

    async def result(self) -> JsonObject:
        """Pass on what comes, until the response."""
        handled = 0
        while True:
            while self._waiting and self.response is None:  # also what came before a failure
                await self.handle(self._waiting.popleft())
                handled += 1
                if handled % MESSAGES_A_TURN == 0:
                    await asyncio.sleep(0)
            found = self.outcome()
            if found is not None:
                return found
            self._arrived.clear()
            await self._arrived.wait()


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
