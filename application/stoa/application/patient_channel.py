"""People take longer than back ends: while a call waits for its client, its deadline stands still."""

import asyncio
from collections.abc import Mapping

from stoa.application.passing_channel import PassingChannel
from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.dialogue import InputAnswer, InputRequest


class PatientChannel(PassingChannel):
    """Passes everything on to `channel`; `deadline` does not run during `ask`, which has a limit of its own."""

    def __init__(self, channel: ClientChannel, deadline: asyncio.Timeout) -> None:
        super().__init__(channel)
        self._deadline = deadline
        self._waiting = 0
        self._left = 0.0

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
