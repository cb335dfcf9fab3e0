"""The MCP engine: one exchange in, one reply out.

    authenticate → which era? → envelope (stateless) or session and revision (handshake) → method → reply

Strangers get 401 before anything of their message is judged, so that they learn nothing about the catalogue.
"""

import logging
from collections.abc import Mapping
from typing import Any

from stoa.application.gateway import Gateway
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import QuotaExceeded, StoaError
from stoa.domain.policy.refusal import Refusal
from stoa.domain.schema.json_value import as_object, is_array
from stoa.interfaces.mcp.engine.handshake_era import MAX_BATCH, HandshakeEra
from stoa.interfaces.mcp.engine.method_table import MethodTable
from stoa.interfaces.mcp.engine.replies import INTERNAL_REFUSAL, ErrorReplies
from stoa.interfaces.mcp.engine.session_endpoint import SessionEndpoint
from stoa.interfaces.mcp.engine.stateless_era import StatelessEra
from stoa.interfaces.mcp.exchange import Exchange, Refused, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.methods.subscriptions import Subscriptions
from stoa.interfaces.mcp.methods.tasks import Tasks
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.wire import envelope
from stoa.interfaces.wire.bodies import Admission
from stoa.interfaces.wire.errors import client_of
from stoa.interfaces.wire.revisions import STATELESS_REVISIONS

_log = logging.getLogger(__name__)


class McpEngine:
    """Authenticates the caller of an exchange, has its era answer, and reports refusals to those who watch them. Keeps
    nothing between exchanges; what goes on between them belongs to `subscriptions`, `tasks` and `sessions`, which the
    engine opens and closes. `composition.build_engine` makes one."""

    def __init__(
        self,
        gateway: Gateway,
        errors: ErrorReplies,
        methods: MethodTable,
        stateless_era: StatelessEra,
        handshake_era: HandshakeEra,
        session_endpoint: SessionEndpoint,
        subscriptions: Subscriptions,
        tasks: Tasks,
        sessions: Sessions | None,
    ) -> None:
        self._gateway = gateway
        self.recognise = gateway.callers.recognise
        """Returns the caller whose token was verified recently; None: `admit` has to look."""
        self._errors = errors
        self._methods = methods
        self._stateless_era = stateless_era
        self._handshake_era = handshake_era
        self._session_endpoint = session_endpoint
        self.subscriptions = subscriptions
        self._tasks = tasks
        self._sessions = sessions

    @property
    def methods(self) -> Mapping[str, tuple[bool, bool]]:
        """All methods by name: is it there in the handshake era, and in the stateless era?"""
        return {name: (method.in_handshake_era, method.in_stateless_era) for name, method in self._methods.items()}

    async def open(self) -> None:
        """Exchange announcements with other replicas until `close`; a single process does not need it."""
        await self.subscriptions.open()

    async def watch_tasks(self) -> None:
        """End tasks whose processes died. Background work: runs until it is cancelled."""
        await self._tasks.watch()

    def end_streams(self) -> None:
        """End every stream that belongs to no request, after what is queued on it. Clients may resume them, with
        another process too."""
        self.subscriptions.end_all()
        if self._sessions is not None:
            self._sessions.streams.end_all()

    async def close(self) -> None:
        """End the calls that go on in the background. No exchange is answered afterwards."""
        await self._tasks.close()
        await self.subscriptions.close()

    def refuse_stranger(self, address: str | None, credential: Credential) -> Reply | None:
        """The reply to a request for which no work is done, not even reading it; None: read on."""
        try:
            self._gateway.strangers.check(address, credential, "mcp")
        except QuotaExceeded as error:
            reply = self._errors.reply(error)
            self._report(reply.refusals, address)
            return reply
        return None

    async def admit(self, credential: Credential) -> Admission:
        """The caller, or why there is none. Needs the headers alone: a transport asks before it reads a body."""
        try:
            return await self._gateway.callers.authenticate(credential)
        except StoaError as error:
            return error
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must not leak to the client
            _log.exception("authentication failed unexpectedly")
            return StoaError("Internal error")

    def refused(self, error: StoaError) -> Reply:
        """The reply for a request that the transport refuses, to be given back as `Exchange.rejection`."""
        return self._errors.reply(error)

    async def answer(self, exchange: Exchange) -> Reply:
        """The reply to a message or a batch of them."""
        # The transport authenticated already where it has headers to do it by; a stdio message brings its credential.
        caller = exchange.caller or await self.admit(exchange.credential)
        if isinstance(caller, StoaError):
            return self._refuse(exchange, caller)
        try:
            if exchange.rejection is not None:
                reply = exchange.rejection
            elif exchange.version in STATELESS_REVISIONS or envelope.is_stateless(exchange.version, exchange.message):
                reply = await self._stateless_era.answer(exchange, caller)
            else:
                reply = await self._handshake_era.answer(exchange, caller)
        except Exception:
            self._report((INTERNAL_REFUSAL,), exchange.address, caller.client)
            raise
        if reply.refusals:
            self._report(reply.refusals, exchange.address, caller.client)
        return reply

    async def answer_session_request(
        self, http_method: str, exchange: Exchange, last_event_id: str | None = None
    ) -> Reply:
        """The reply to an HTTP request without a message: GET (the session's stream) or DELETE (its end)."""
        refusal = self._session_endpoint.refusal(http_method, exchange.version)
        if refusal is not None:
            self._report(refusal.refusals, exchange.address)
            return refusal
        caller = await self.admit(exchange.credential)
        if isinstance(caller, StoaError):
            return self._refuse(exchange, caller)
        reply = await self._session_endpoint.answer(http_method, exchange, caller, last_event_id)
        self._report(reply.refusals, exchange.address, caller.client)
        return reply

    def _refuse(self, exchange: Exchange, error: StoaError) -> Reply:
        """Every message of a stranger's batch is metered, or many refused calls could hide in one request."""
        calls, name = _named_in(exchange.message)
        self._gateway.strangers.refused(exchange.address, "mcp", error, calls, name)
        reply = self._errors.reply(error, request_id=messages.id_of(exchange.message))
        self._report(reply.refusals, exchange.address, client_of(error), calls)
        return reply

    def _report(
        self, refusals: tuple[Refused, ...], address: str | None, client: str | None = None, calls: int = 1
    ) -> None:
        for refused in refusals:
            self._gateway.refusals.tell(Refusal(refused.reason, "mcp", refused.status, client, address, calls))


def _named_in(message: Any) -> tuple[int, str]:
    """(Number of messages, at most as many as are read; name of the operation that the first one calls)."""
    is_batch = is_array(message)
    params = as_object(as_object(message[0] if is_batch and message else message).get("params"))
    name = params.get("name", params.get("uri"))
    return max(1, min(len(message), MAX_BATCH)) if is_batch else 1, name if isinstance(name, str) else ""
