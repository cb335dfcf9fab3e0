"""Messages to a client from whom the policy hides parts of the answer."""

from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.client_requests.client_request import ClientCapabilities, LogLevel


class WithheldText(ClientChannel):
    """Drops log messages and leaves numbers of progress only: free text could tell what redaction removes from the
    result. Only calls whose decision obliges to redact have it around their channel."""

    def __init__(self, channel: ClientChannel) -> None:
        self._channel = channel

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._channel.capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        del message  # withheld
        await self._channel.progress(progress, total)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        """Nothing is sent."""

    async def hang_up(self) -> None:
        await self._channel.hang_up()

    async def begin_task(self) -> bool:
        return await self._channel.begin_task()

    async def elicitation_done(self, elicitation_id: str) -> None:
        await self._channel.elicitation_done(elicitation_id)
