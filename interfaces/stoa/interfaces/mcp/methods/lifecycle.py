"""initialize and ping (handshake era), server/discover (stateless era): the introduction, and the session it begins."""

from dataclasses import replace

from stoa.application.gateway import Gateway
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.mcp.client_requests.channels import log_level
from stoa.interfaces.mcp.exchange import JSON, MethodCall, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_REQUEST, Fault
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.wire.introduction import Introduction


class LifecycleMethods:
    """Answers the requests with which a client begins. Without `sessions` no state is kept for a client, and there is
    no log level to set."""

    def __init__(self, introduction: Introduction, gateway: Gateway, sessions: Sessions | None) -> None:
        self._introduction = introduction
        self._gateway = gateway
        self._sessions = sessions

    async def initialize(self, call: MethodCall) -> Reply:
        """Begins a session, if sessions are enabled. Raises Fault, SessionsFull."""
        params = call.request.params
        revision, result = self._introduction.initialize(params)
        session = None
        if self._sessions is not None:
            await self._gateway.callers.limit(call.caller)  # a session takes room
            can = codec.capabilities(params.get("capabilities"), revision)
            session = await self._sessions.begin(call.caller, revision.name, can)
        return Reply(200, messages.result(call.request.id, result), (JSON,), session=session)

    async def set_level(self, call: MethodCall) -> bytes:
        """logging/setLevel: the lowest level of log messages for the rest of the session."""
        level = log_level(call.request.params.get("level"))
        if call.session is None or self._sessions is None:
            raise Fault(INVALID_REQUEST, "A log level needs a session")
        await self._gateway.callers.limit(call.caller)
        await self._sessions.change(call.session, lambda session: replace(session, log_level=level))
        return messages.result(call.request.id, {})

    async def ping(self, call: MethodCall) -> bytes:
        return messages.result(call.request.id, {})

    async def discover(self, call: MethodCall) -> bytes:
        return messages.result(call.request.id, self._introduction.discover(call.revision))
