"""People take longer than back ends: while a call waits for its client, its deadline stands still."""

from collections.abc import Mapping

from stoa.application.client_requests.passing_channel import PassingChannel
from stoa.application.concurrency.deadline import Deadline
from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.client_requests.client_request import ClientAnswer, ClientRequest


class PatientChannel(PassingChannel):
    """Passes everything on to `channel`; `deadline` does not run during `ask`, which has a limit of its own."""

    def __init__(self, channel: ClientChannel, deadline: Deadline) -> None:
        super().__init__(channel)
        self._deadline = deadline
        self._waiting = 0

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        if not self._waiting:
            self._deadline.pause()
        self._waiting += 1
        try:
            return await self._channel.ask(requests)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._deadline.resume()
