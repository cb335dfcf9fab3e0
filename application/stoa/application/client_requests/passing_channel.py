"""A ClientChannel around another one."""

from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.client_requests.client_request import ClientCapabilities, LogLevel


class PassingChannel(ClientChannel):
    """Passes on everything but questions, which are its subclass's business."""

    def __init__(self, channel: ClientChannel) -> None:
        self._channel = channel

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._channel.capabilities

    @property
    def asks_by_rounds(self) -> bool:
        return self._channel.asks_by_rounds

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        await self._channel.progress(progress, total, message)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        await self._channel.log(level, data, logger)

    async def hang_up(self) -> None:
        await self._channel.hang_up()

    async def begin_task(self) -> bool:
        return await self._channel.begin_task()

    async def elicitation_done(self, elicitation_id: str) -> None:
        await self._channel.elicitation_done(elicitation_id)
