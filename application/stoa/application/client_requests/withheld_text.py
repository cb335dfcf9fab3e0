"""Messages to a client from which the policy hides parts of the answer."""

from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.client_requests.client_request import ClientCapabilities, LogLevel


class WithheldText(ClientChannel):
    """Drops log messages and reduces progress to numbers: free text could reveal what redaction removes from the
    result. Wraps the channel of calls whose decision obliges to redact, and of no others."""

    def __init__(self, channel: ClientChannel) -> None:
        self._channel = channel

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._channel.capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        del message  # withheld
        await self._channel.progress(progress, total)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        """Does nothing: the text could hold withheld values."""

    async def hang_up(self) -> None:
        await self._channel.hang_up()

    async def begin_task(self) -> bool:
        return await self._channel.begin_task()

    async def elicitation_done(self, elicitation_id: str) -> None:
        await self._channel.elicitation_done(elicitation_id)
