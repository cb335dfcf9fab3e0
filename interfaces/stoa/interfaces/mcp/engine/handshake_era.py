"""Messages of the handshake era (to 2025-11-25): with or without a session, alone or in a batch."""

import asyncio
from typing import Any

from stoa.application.gateway import Gateway
from stoa.domain.access.identity import Principal
from stoa.domain.calls.session import Session
from stoa.domain.errors import SessionsFull, SharedStateUnavailable, StoaError
from stoa.domain.schema.json_value import as_object, is_array
from stoa.interfaces.mcp.engine.dispatcher import Dispatcher
from stoa.interfaces.mcp.engine.method_table import Handler, MethodTable
from stoa.interfaces.mcp.engine.replies import ErrorReplies, fault_reply
from stoa.interfaces.mcp.exchange import JSON, Exchange, MethodCall, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    REQUEST_CANCELLED,
    Fault,
    Notification,
    Request,
    Response,
)
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.wire.revisions import ASSUMED, HANDSHAKE_REVISIONS, Revision

MAX_BATCH = 50
"""Messages in one batch (JSON-RPC 2.0 section 6; revision 2025-03-26 only)."""


class HandshakeEra:
    """Finds the session of a message, then dispatches requests, settles responses and honours cancellations. Without
    `sessions` each request stands for itself and nothing else has an effect."""

    def __init__(
        self,
        gateway: Gateway,
        methods: MethodTable,
        dispatcher: Dispatcher,
        errors: ErrorReplies,
        sessions: Sessions | None,
    ) -> None:
        self._gateway = gateway
        self._methods = methods
        self._dispatcher = dispatcher
        self._errors = errors
        self._sessions = sessions

    async def answer(self, exchange: Exchange, caller: Principal) -> Reply:
        """The reply to one message or one batch."""
        try:
            session = await self._find_session(exchange, caller)
            if session is None:
                revision = HANDSHAKE_REVISIONS.get(exchange.version or "", ASSUMED)
            else:
                revision = HANDSHAKE_REVISIONS[session.revision]
            if revision.has_batches and is_array(exchange.message):
                return await self._answer_batch(exchange, exchange.message, caller, revision, session)
            return await self._answer_message(exchange, exchange.message, caller, revision, session)
        except Fault as fault:
            return fault_reply(fault, fault.http_status)
        except (SessionsFull, SharedStateUnavailable) as error:
            return self._errors.reply(error)

    async def _find_session(self, exchange: Exchange, caller: Principal) -> Session | None:
        """The session that a request names. None where it names none, and for `initialize`, which begins a new session
        even if the client had one before."""
        session_id = exchange.session_id
        if self._sessions is None or session_id is None or as_object(exchange.message).get("method") == "initialize":
            return None
        session = await self._sessions.find(session_id, caller)
        if exchange.stream is not None:
            exchange.stream.record(EventRecording(self._sessions.streams, session))
        return session

    async def _answer_message(
        self, exchange: Exchange, value: Any, caller: Principal, revision: Revision, session: Session | None
    ) -> Reply:
        try:
            message = messages.read(value)
        except Fault as fault:
            return fault_reply(fault, fault.http_status)
        if not isinstance(message, Request):
            await self._take(session, message)
            return Reply(202)
        method = self._methods.get(message.method)
        if method is None or not method.in_handshake_era:
            return fault_reply(Fault(METHOD_NOT_FOUND, f"Unknown method: {message.method}"), 200, message.id)
        call = MethodCall(message, revision, caller, exchange, session)
        if session is None or self._sessions is None:
            return await self._dispatcher.answer(method.handler, call)
        return await self._answer_cancellable(self._sessions, session, method.handler, call)

    async def _take(self, session: Session | None, message: Notification | Response) -> None:
        """Notifications other than `cancelled` have no effect; without a session neither have the others."""
        if self._sessions is None or session is None:
            return
        if isinstance(message, Response):
            await self._sessions.answered(session, message)
        elif message.method == "notifications/cancelled":
            await self._sessions.cancel(session, message.params.get("requestId"))

    async def _answer_cancellable(
        self, sessions: Sessions, session: Session, handler: Handler, call: MethodCall
    ) -> Reply:
        """Answer a request that `notifications/cancelled` may cancel. It gets an answer even then, for the POST that
        carries it needs a response."""
        task = asyncio.current_task()
        if task is None:
            return await self._dispatcher.answer(handler, call)
        with sessions.cancellable(session, call.request.id, task) as running:
            try:
                return await self._dispatcher.answer(handler, call)
            except asyncio.CancelledError:
                # `uncancel` counts: if the server cancelled the task as well, that cancellation goes on.
                if not running.is_cancelled or task.uncancel() > 0:
                    raise
        return fault_reply(Fault(REQUEST_CANCELLED, "Request cancelled"), 200, call.request.id)

    async def _answer_batch(
        self, exchange: Exchange, values: list[Any], caller: Principal, revision: Revision, session: Session | None
    ) -> Reply:
        """Messages are answered one after the other: a batch must not take more at once than one request."""
        if not 0 < len(values) <= MAX_BATCH:
            return fault_reply(Fault(INVALID_REQUEST, f"A batch has 1 to {MAX_BATCH} messages"), 400)
        if any(as_object(value).get("method") == "initialize" for value in values):
            return fault_reply(Fault(INVALID_REQUEST, "initialize must not be in a batch"), 400)
        replies = [await self._answer_member(exchange, value, caller, revision, session) for value in values]
        refusals = tuple(refused for reply in replies for refused in reply.refusals)
        bodies = [reply.body for reply in replies if reply.body]
        if not bodies:
            return Reply(202, refusals=refusals)
        return Reply(200, b"[" + b",".join(bodies) + b"]", (JSON,), refusals=refusals)

    async def _answer_member(
        self, exchange: Exchange, value: Any, caller: Principal, revision: Revision, session: Session | None
    ) -> Reply:
        """A message of a batch. A request that counts against no limit by itself counts here."""
        fields = as_object(value)
        name = fields.get("method")
        if isinstance(name, str) and "id" in fields and not self._limits_itself(name):
            try:
                await self._gateway.callers.limit(caller)
            except StoaError as error:
                return self._errors.reply(error, request_id=messages.id_of(value))
        return await self._answer_message(exchange, value, caller, revision, session)

    def _limits_itself(self, name: str) -> bool:
        method = self._methods.get(name)
        return method is not None and method.in_handshake_era and method.limits_itself
