"""The way back to the client during a call, as each era has it.

Most calls need none: their client wants no progress, no log messages, and could not be asked anything.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import pydantic_core

from stoa.application.calls.invoke_operation import InvokeOperation
from stoa.application.concurrency.gather import gather_or_cancel
from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import Clock
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.calls.progress import ProgressPace
from stoa.domain.calls.session import Session
from stoa.domain.calls.task import GivenAnswers
from stoa.domain.client_requests.client_request import (
    LOG_LEVELS,
    NO_CAPABILITIES,
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationRequest,
    InputRequired,
    LogLevel,
    UrlElicitationRequest,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import BackendTimedOut, ClientCapabilityMissing, ClientRequestDeclined
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.interfaces.mcp.client_requests import wire as asking
from stoa.interfaces.mcp.client_requests.request_state import RequestStates, RoundState
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault, notification
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.wire.revisions import CAPABILITIES_KEY, SERVER_INFO_KEY

LOG_LEVEL_KEY = "io.modelcontextprotocol/logLevel"

PROGRESS_INTERVAL_NS = 100_000_000
"""Ten reports of progress a second are enough for everybody."""
HEARTBEAT_SECONDS = 15.0
_BEAT = 1e-6

SILENT = len(LOG_LEVELS)
"""A threshold that no log message reaches."""


class Telling(ClientChannel):
    """Progress and log messages, on the stream that the answer of this request will end."""

    def __init__(self, call: MethodCall, threshold: int, capabilities: ClientCapabilities, clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._stream = call.exchange.stream
        token = as_object(call.request.params.get("_meta")).get("progressToken")
        self._token = token if isinstance(token, (str, int)) and not isinstance(token, bool) else None
        self._threshold = threshold
        self._capabilities = capabilities
        self._pace = ProgressPace(PROGRESS_INTERVAL_NS)
        self._tells_itself = False

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._capabilities

    @property
    def wants_progress(self) -> bool:
        return self._stream is not None and self._token is not None

    async def keep_alive(self, every_seconds: float) -> None:
        """Say that the call is alive: clients give up on one after a minute without progress. Once the tool tells its
        own progress nothing is added; what it tells is more than these, for they stay below a thousandth."""
        beats = 0
        while not self._tells_itself:
            beats += 1
            await self._progress(beats * _BEAT, None, "still running")
            await asyncio.sleep(every_seconds)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self._tells_itself = True
        await self._progress(progress, total, message)

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        if self._stream is None or self._token is None:
            return
        if not self._pace.admits(progress, total, self._clock.monotonic_ns()):
            return
        params: JsonObject = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None and self._call.revision.has_progress_messages:
            params["message"] = message
        await self._stream.notify(notification("notifications/progress", params))

    @property
    def asks_by_rounds(self) -> bool:
        return False

    async def elicitation_done(self, elicitation_id: str) -> None:
        """Only a session's client can be told."""

    async def hang_up(self) -> None:
        if self._stream is not None:
            await self._stream.hang_up()

    async def begin_task(self) -> bool:
        return False

    async def _send(self, message: bytes) -> None:
        if self._stream is not None:
            await self._stream.notify(message)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        if self._stream is None or LOG_LEVELS[level] < self._threshold:
            return
        params: JsonObject = {"level": level, "data": data}
        if logger is not None:
            params["logger"] = logger
        await self._stream.notify(notification("notifications/message", params))


class NewsChannel(Telling):
    """A call in the handshake era without a session: nothing can be asked, for no answer would find its way."""

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        raise ClientCapabilityMissing(self.capabilities.missing(requests))


class HandshakeChannel(Telling):
    """A call in a session: questions are requests on its stream, and the client posts the answers."""

    def __init__(self, call: MethodCall, session: Session, sessions: Sessions, clock: Clock) -> None:
        # What goes nowhere cannot be asked: a client that takes no events has no capabilities.
        can = session.capabilities if call.exchange.stream is not None else NO_CAPABILITIES
        super().__init__(call, LOG_LEVELS[session.log_level], can, clock)
        self._session = session
        self._sessions = sessions
        self._pages: set[str] = set()

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        missing = self.capabilities.missing(requests)
        if missing:
            raise ClientCapabilityMissing(missing)
        return await gather_or_cancel({key: self._ask(key, request) for key, request in requests.items()})

    async def elicitation_done(self, elicitation_id: str) -> None:
        if elicitation_id in self._pages:
            self._pages.remove(elicitation_id)
            await self._send(notification("notifications/elicitation/complete", {"elicitationId": elicitation_id}))

    async def _ask(self, key: str, request: ClientRequest) -> ClientAnswer:
        limit, revision = self._sessions.ask_timeout_seconds, self._call.revision
        if isinstance(request, UrlElicitationRequest) and revision.has_elicitation_ids:
            self._pages.add(request.elicitation_id)
        written = asking.request(self.capabilities.fitted(request), revision)
        with self._sessions.client_request(self._session) as (request_id, future):
            await self._send(pydantic_core.to_json({"jsonrpc": "2.0", "id": request_id, **written}))
            try:
                async with asyncio.timeout(limit):
                    response = await future
            except TimeoutError as late:
                await self._withdraw(request_id)
                raise BackendTimedOut(f"The client did not answer within {limit:g} s") from late
            except asyncio.CancelledError:
                await self._withdraw(request_id)
                raise
        answer = asking.answer(request, response.result, revision)
        if answer is None:
            raise ClientRequestDeclined(key)
        return answer

    async def _withdraw(self, request_id: str) -> None:
        """The user should not go on thinking about what nobody waits for."""
        await self._send(notification("notifications/cancelled", {"requestId": request_id}))


class RoundChannel(Telling):
    """The stateless era: answers came with the request, in it or in its sealed state, or they take another round."""

    def __init__(
        self, call: MethodCall, threshold: int, capabilities: ClientCapabilities, clock: Clock, states: RequestStates
    ) -> None:
        super().__init__(call, threshold, capabilities, clock)
        self._states = states
        self._responses = as_object(call.request.params.get("inputResponses"))
        self._state: RoundState | None = None
        self._answers: JsonObject = {}
        self._answered: dict[str, str] = {}

    @property
    def asks_by_rounds(self) -> bool:
        return True

    @property
    def given(self) -> GivenAnswers:
        """What the client wrote so far."""
        return GivenAnswers(self._answers, self._answered)

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """Raises InputRequired with what is not answered yet or wrongly, InvalidState, SharedStateUnavailable, or
        ClientCapabilityMissing."""
        state = await self._earlier()
        answers = {key: self._answer(key, request, state) for key, request in requests.items()}
        open_questions = {key: requests[key] for key, answer in answers.items() if answer is None}
        missing = self.capabilities.missing(open_questions)
        if missing:
            raise ClientCapabilityMissing(missing)
        if open_questions:
            raise InputRequired(open_questions)
        return {key: answer for key, answer in answers.items() if answer is not None}

    def _answer(self, key: str, request: ClientRequest, state: RoundState) -> ClientAnswer | None:
        """An answer counts when this very question was asked, by the state that came back with it. A form of the tool
        may also be filled in with the first request (SEP-2322); a policy's confirmation never."""
        revision, digest = self._call.revision, fingerprint(request)
        is_asked = state.asked.get(key) == digest
        is_early = key not in state.asked and key not in state.answers and asking.may_come_unasked(request)
        if key in self._responses and (is_asked or is_early):
            fresh = asking.answer(request, self._responses[key], revision)
            if fresh is not None:
                self._answers[key], self._answered[key] = self._responses[key], digest
                return fresh
        return asking.answer(request, state.answers[key], revision) if state.answered.get(key) == digest else None

    async def _earlier(self) -> RoundState:
        if self._state is None:
            token = self._call.request.params.get("requestState")
            self._state = RoundState() if token is None else await self._states.open(token, *self._bound_to())
            self._answers, self._answered = dict(self._state.answers), dict(self._state.answered)
        return self._state

    def _bound_to(self) -> tuple[Any, ...]:
        request, params = self._call.request, self._call.request.params
        target = params.get("name", params.get("uri"))
        caller, tenant = self._call.caller, self._call.exchange.tenant
        return caller.identity_key, caller.tenant, tenant, request.method, target, params.get("arguments")

    def next_round(self, questions: Mapping[str, ClientRequest], server_info: JsonObject) -> JsonObject:
        """InputRequiredResult. Raises ClientCapabilityMissing. A state that no question looked into is not gone on
        with."""
        missing = self.capabilities.missing(questions)
        if missing:
            raise ClientCapabilityMissing(missing)
        fitted = {key: self.capabilities.fitted(question) for key, question in questions.items()}
        earlier = self._state or RoundState()
        asked = {key: fingerprint(question) for key, question in questions.items()}
        is_used_once = earlier.is_used_once or any(map(_is_confirmation, questions.values()))
        state = RoundState(earlier.round + 1, self._answers, self._answered, asked, is_used_once)
        return {
            "resultType": "input_required",
            "inputRequests": asking.requests(fitted, self._call.revision),
            "requestState": self._states.seal(state, *self._bound_to()),
            "_meta": {SERVER_INFO_KEY: server_info},
        }


class Channels:
    """Opens the way back for a call, when there is one. `heartbeat_seconds`: how long a call whose client wants
    progress may be silent."""

    def __init__(
        self,
        states: RequestStates,
        sessions: Sessions | None,
        clock: Clock,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._clock = clock
        self._states = states
        self._sessions = sessions
        self._heartbeat_seconds = heartbeat_seconds

    def round(self, call: MethodCall) -> RoundChannel:
        """The way back of a stateless call, whatever its client declared. Raises Fault for an unknown log level."""
        meta = as_object(call.request.params.get("_meta"))
        threshold = LOG_LEVELS[log_level(meta[LOG_LEVEL_KEY])] if LOG_LEVEL_KEY in meta else SILENT
        can = asking.capabilities(meta.get(CAPABILITIES_KEY), call.revision)
        return RoundChannel(call, threshold, can, self._clock, self._states)

    def execute(self, use_case: InvokeOperation, invocation: Invocation, channel: Telling | None) -> Awaitable[Outcome]:
        """Run the pipeline, with a sign of life to who wants one."""
        if channel is None or not channel.wants_progress:
            return use_case.execute(invocation, channel)
        return self._execute_with_signs(use_case, invocation, channel)

    async def _execute_with_signs(self, use_case: InvokeOperation, invocation: Invocation, channel: Telling) -> Outcome:
        every, beating = self._heartbeat_seconds, list[asyncio.Task[None]]()
        timer = asyncio.get_running_loop().call_later(
            every, lambda: beating.append(asyncio.create_task(channel.keep_alive(every)))
        )
        try:
            return await use_case.execute(invocation, channel)
        finally:
            timer.cancel()
            for task in beating:
                task.cancel()

    def open(self, call: MethodCall) -> Telling | None:
        """None when this request can neither be told nor asked anything. Raises Fault for an unknown log level."""
        params = call.request.params
        meta = as_object(params.get("_meta"))
        if call.session is not None and self._sessions is not None:
            return HandshakeChannel(call, call.session, self._sessions, self._clock)
        if not call.revision.is_stateless:
            return (
                NewsChannel(call, SILENT, NO_CAPABILITIES, self._clock)
                if meta.get("progressToken") is not None
                else None
            )
        declared = meta.get(CAPABILITIES_KEY)
        if not (declared or "progressToken" in meta or LOG_LEVEL_KEY in meta or "inputResponses" in params):
            return None
        return self.round(call)


def _is_confirmation(question: ClientRequest) -> bool:
    return isinstance(question, ElicitationRequest) and question.is_confirmation


def log_level(level: Any) -> LogLevel:
    """Raises Fault for what is no level."""
    for known in LOG_LEVELS:
        if known == level:
            return known
    raise Fault(INVALID_PARAMS, f"The log level must be one of {', '.join(LOG_LEVELS)}")
