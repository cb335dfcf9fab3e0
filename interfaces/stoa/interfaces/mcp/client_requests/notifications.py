"""Progress and log notifications of one call, which every channel of the MCP door carries."""

import asyncio
from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.application.ports.clock import Clock
from stoa.domain.calls.progress import ProgressPace
from stoa.domain.client_requests.client_request import LOG_LEVELS, ClientCapabilities, LogLevel
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc.messages import notification

PROGRESS_INTERVAL_NS = 100_000_000
"""At most ten progress notifications a second."""
_BEAT = 1e-6

SILENT = len(LOG_LEVELS)
"""A threshold that no log message reaches."""


class NotificationChannel(ClientChannel):
    """Sends notifications on the stream that the response to this request ends. Alone, it is the channel of a call in
    the handshake era without a session: such a client takes no requests, because its answers could not be routed."""

    def __init__(self, call: MethodCall, threshold: int, capabilities: ClientCapabilities, clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._stream = call.exchange.stream
        token = as_object(call.request.params.get("_meta")).get("progressToken")
        self._token = token if isinstance(token, (str, int)) and not isinstance(token, bool) else None
        self._threshold = threshold
        self._capabilities = capabilities
        self._pace = ProgressPace(PROGRESS_INTERVAL_NS)
        self._has_own_progress = False

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._capabilities

    @property
    def wants_progress(self) -> bool:
        return self._stream is not None and self._token is not None

    async def keep_alive(self, every_seconds: float) -> None:
        """Send progress until the tool sends its own: clients give up on a call after a minute without any."""
        # Progress must increase: these values stay below a thousandth, so that the tool's own are not dropped.
        beats = 0
        while not self._has_own_progress:
            beats += 1
            await self._progress(beats * _BEAT, None, "still running")
            await asyncio.sleep(every_seconds)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self._has_own_progress = True
        await self._progress(progress, total, message)

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        if self._stream is None or self._token is None:
            return
        if not self._pace.accepts(progress, total, self._clock.monotonic_ns()):
            return
        params: JsonObject = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None and self._call.revision.has_progress_messages:
            params["message"] = message
        await self._stream.notify(notification("notifications/progress", params))

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        if self._stream is None or LOG_LEVELS[level] < self._threshold:
            return
        params: JsonObject = {"level": level, "data": data}
        if logger is not None:
            params["logger"] = logger
        await self._stream.notify(notification("notifications/message", params))

    async def hang_up(self) -> None:
        if self._stream is not None:
            await self._stream.hang_up()

    async def begin_task(self) -> bool:
        return False

    async def elicitation_done(self, elicitation_id: str) -> None:
        """Does nothing: only the client of a session has a notification for it."""
