"""Opens the channel of a call: by session in the handshake era, by round in the stateless era, or none.

Most calls need none: their client wants no progress and no log messages, and takes no requests.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from stoa.application.calls.invoke_operation import InvokeOperation
from stoa.application.ports.clock import Clock
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.client_requests.client_request import LOG_LEVELS, NO_CAPABILITIES, LogLevel
from stoa.domain.schema.json_value import as_object
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.mcp.client_requests.handshake import HandshakeChannel
from stoa.interfaces.mcp.client_requests.notifications import SILENT, NotificationChannel
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.client_requests.stateless import StatelessChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.wire.revisions import CAPABILITIES_KEY

LOG_LEVEL_KEY = "io.modelcontextprotocol/logLevel"
HEARTBEAT_SECONDS = 15.0


class Channels:
    """Opens channels. `heartbeat_seconds`: how long a call may be silent if its client wants progress."""

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

    def open(self, call: MethodCall) -> NotificationChannel | None:
        """None when this request's client takes neither notifications nor requests. Raises Fault for an unknown log
        level."""
        params = call.request.params
        meta: Any = params.get("_meta")
        if meta.__class__ is not dict:  # compared by class, which costs no call
            meta = {}
        if call.session is not None and self._sessions is not None:
            return HandshakeChannel(call, call.session, self._sessions, self._clock)
        if not call.revision.is_stateless:
            wants_progress = meta.get("progressToken") is not None
            return NotificationChannel(call, SILENT, NO_CAPABILITIES, self._clock) if wants_progress else None
        declared = meta.get(CAPABILITIES_KEY)
        if not (declared or "progressToken" in meta or LOG_LEVEL_KEY in meta or "inputResponses" in params):
            return None
        return self.round(call)

    def round(self, call: MethodCall) -> StatelessChannel:
        """The channel of a stateless call, independent of its client's capabilities. Raises Fault for an unknown log
        level."""
        meta = as_object(call.request.params.get("_meta"))
        threshold = LOG_LEVELS[log_level(meta[LOG_LEVEL_KEY])] if LOG_LEVEL_KEY in meta else SILENT
        capabilities = codec.capabilities(meta.get(CAPABILITIES_KEY), call.revision)
        return StatelessChannel(call, threshold, capabilities, self._clock, self._states)

    def execute(
        self, use_case: InvokeOperation, invocation: Invocation, channel: NotificationChannel | None
    ) -> Awaitable[Outcome]:
        """Run the pipeline, with a heartbeat for a client that wants progress."""
        if channel is None or not channel.wants_progress:
            return use_case.execute(invocation, channel)
        return self._execute_with_heartbeat(use_case, invocation, channel)

    async def _execute_with_heartbeat(
        self, use_case: InvokeOperation, invocation: Invocation, channel: NotificationChannel
    ) -> Outcome:
        every, heartbeats = self._heartbeat_seconds, list[asyncio.Task[None]]()
        # A timer rather than a task from the start: nearly all calls are over before the first beat.
        timer = asyncio.get_running_loop().call_later(
            every, lambda: heartbeats.append(asyncio.create_task(channel.keep_alive(every)))
        )
        try:
            return await use_case.execute(invocation, channel)
        finally:
            timer.cancel()
            for heartbeat in heartbeats:
                heartbeat.cancel()


def log_level(level: Any) -> LogLevel:
    """Raises Fault for an unknown level."""
    for name in LOG_LEVELS:
        if name == level:
            return name
    raise Fault(INVALID_PARAMS, f"The log level must be one of {', '.join(LOG_LEVELS)}")
