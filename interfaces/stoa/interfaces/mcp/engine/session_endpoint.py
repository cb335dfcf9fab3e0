"""GET and DELETE of the MCP endpoint (2025-11-25, "Listening for Messages from the Server", "Session Management")."""

from stoa.application.gateway import Gateway
from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import Principal
from stoa.domain.calls.session import Session
from stoa.domain.errors import SessionsFull, SharedStateUnavailable, StoaError
from stoa.interfaces.mcp.engine.replies import ErrorReplies, fault_reply, method_not_allowed
from stoa.interfaces.mcp.exchange import JSON, Exchange, Reply
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_REQUEST, Fault
from stoa.interfaces.mcp.methods.subscriptions import Subscriptions
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.wire import envelope
from stoa.interfaces.wire.revisions import HANDSHAKE_REVISIONS


class SessionEndpoint:
    """GET opens the session's standalone stream, or the rest of a stream that broke off; DELETE ends the session.
    Without `sessions`, and in the stateless era, both are 405."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        errors: ErrorReplies,
        subscriptions: Subscriptions,
        sessions: Sessions | None,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._errors = errors
        self._subscriptions = subscriptions
        self._sessions = sessions

    def refusal(self, http_method: str, version: str | None) -> Reply | None:
        """The reply where no caller could be served; None: authenticate, then `answer`."""
        try:
            envelope.check_known(version, None)
        except Fault as fault:
            return fault_reply(fault, fault.http_status)
        if self._sessions is None or (version is not None and version not in HANDSHAKE_REVISIONS):
            return method_not_allowed(b"POST")
        if http_method not in {"GET", "DELETE"}:
            return method_not_allowed(b"GET, POST, DELETE")
        return None

    async def answer(self, http_method: str, exchange: Exchange, caller: Principal, last_event_id: str | None) -> Reply:
        """The reply to GET or DELETE. `last_event_id`: the event after which the stream goes on (HTML, "Server-sent
        events")."""
        if exchange.session_id is None or self._sessions is None:
            return fault_reply(Fault(INVALID_REQUEST, "Missing session ID"), 400)
        try:
            session = await self._sessions.find(exchange.session_id, caller)
            if http_method == "GET":
                return exchange.rejection or await self._follow(self._sessions, session, caller, last_event_id)
            await self._sessions.end(session)
        except Fault as fault:
            return fault_reply(fault, fault.http_status)
        except (SessionsFull, SharedStateUnavailable) as error:
            return self._errors.reply(error)
        return Reply(200, b"{}", (JSON,))

    async def _follow(
        self, sessions: Sessions, session: Session, caller: Principal, last_event_id: str | None
    ) -> Reply:
        try:
            await self._gateway.callers.limit(caller)
        except StoaError as error:
            return self._errors.reply(error)
        self._subscriptions.attend()
        events = await sessions.follow(session, last_event_id, caller)
        if session.watched:
            await self._subscriptions.follow_session(session.id)
        if caller.expires_at is not None:  # a stream must not outlive the right to it
            left = caller.expires_at - self._clock.now()
            events.end_after(left.total_seconds(), events.expire)
        return Reply(200, events=events)
