"""People take longer than back ends: while a call waits for its client, its deadline stands still."""

import asyncio
from collections.abc import Mapping
from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.dialogue import ClientCapabilities, InputAnswer, InputRequest, LogLevel


class PatientChannel(ClientChannel):
    """Passes everything on to `channel`; `deadline` does not run during `ask`, which has a limit of its own."""

    def __init__(self, channel: ClientChannel, deadline: asyncio.Timeout) -> None:
        self._channel = channel
        self._deadline = deadline
        self._waiting = 0
        self._left = 0.0

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._channel.capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        await self._channel.progress(progress, total, message)

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        await self._channel.log(level, data, logger)

    async def hang_up(self) -> None:
        await self._channel.hang_up()

    async def begin_task(self) -> bool:
        return await self._channel.begin_task()

    async def ask(self, requests: Mapping[str, InputRequest]) -> Mapping[str, InputAnswer]:
        loop = asyncio.get_running_loop()
        when = self._deadline.when()
        if not self._waiting and when is not None:
            self._left = when - loop.time()
            self._deadline.reschedule(None)
        self._waiting += 1
        try:
            return await self._channel.ask(requests)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._deadline.expired():
                self._deadline.reschedule(loop.time() + self._left)
