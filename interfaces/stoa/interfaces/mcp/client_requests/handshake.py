"""Client requests in the handshake era: JSON-RPC requests on the stream of a session's call."""

import asyncio
from collections.abc import Mapping

import pydantic_core

from stoa.application.concurrency.gather import gather_or_cancel
from stoa.application.ports.client_channel import WaitingClientChannel
from stoa.application.ports.clock import Clock
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import (
    LOG_LEVELS,
    NO_CAPABILITIES,
    ClientAnswer,
    ClientRequest,
    UrlElicitationRequest,
)
from stoa.domain.errors import BackendTimedOut, ClientCapabilityMissing, ClientRequestDeclined
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.mcp.client_requests.notifications import NotificationChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc.messages import notification
from stoa.interfaces.mcp.streams.sessions import Sessions


class HandshakeChannel(NotificationChannel, WaitingClientChannel):
    """The channel of a call in a session: the client posts each answer with the id of its request."""

    def __init__(self, call: MethodCall, session: Session, sessions: Sessions, clock: Clock) -> None:
        # A client that takes no events cannot be sent a request, even if it declared the capability.
        capabilities = session.capabilities if call.exchange.stream is not None else NO_CAPABILITIES
        super().__init__(call, LOG_LEVELS[session.log_level], capabilities, clock)
        self._session = session
        self._sessions = sessions
        self._elicitation_ids: set[str] = set()

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        missing = self.capabilities.missing(requests)
        if missing:
            raise ClientCapabilityMissing(missing)
        return await gather_or_cancel({key: self._ask(key, request) for key, request in requests.items()})

    async def elicitation_done(self, elicitation_id: str) -> None:
        if elicitation_id in self._elicitation_ids:
            self._elicitation_ids.remove(elicitation_id)
            await self._send(notification("notifications/elicitation/complete", {"elicitationId": elicitation_id}))

    async def _ask(self, key: str, request: ClientRequest) -> ClientAnswer:
        limit, revision = self._sessions.ask_timeout_seconds, self._call.revision
        if isinstance(request, UrlElicitationRequest) and revision.has_elicitation_ids:
            self._elicitation_ids.add(request.elicitation_id)
        wire = codec.request(self.capabilities.fitted(request), revision)
        with self._sessions.client_request(self._session) as (request_id, future):
            await self._send(pydantic_core.to_json({"jsonrpc": "2.0", "id": request_id, **wire}))
            try:
                async with asyncio.timeout(limit):
                    response = await future
            except TimeoutError as late:
                await self._withdraw(request_id)
                raise BackendTimedOut(f"The client did not answer within {limit:g} s") from late
            except asyncio.CancelledError:
                await self._withdraw(request_id)
                raise
        answer = codec.answer(request, response.result, revision)
        if answer is None:
            raise ClientRequestDeclined(key)
        return answer

    async def _withdraw(self, request_id: str) -> None:
        # Without it the user would go on filling in a form whose answer is dropped.
        await self._send(notification("notifications/cancelled", {"requestId": request_id}))

    async def _send(self, message: bytes) -> None:
        if self._stream is not None:
            await self._stream.notify(message)
