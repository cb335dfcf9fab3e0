"""The way back to a client that was answered with a task: it asks for the task, and finds there what it is told and
asked."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.calls.task import GivenAnswers
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    InputRequired,
    LogLevel,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined

ReadAnswer = Callable[[ClientRequest, Any], ClientAnswer | None]
"""What a client wrote, when it fits the question."""


class TaskChannel(ClientChannel):
    """Until the task begins, what `early` does: the call is an ordinary one. From then on progress and log messages
    are `message`, and a question without an answer among those `given` ends the run."""

    def __init__(self, early: ClientChannel, begin: Callable[[], Awaitable[bool]], read: ReadAnswer) -> None:
        self._early = early
        self._begin = begin
        self._read = read
        self.has_begun = False
        self.given = GivenAnswers()
        self.message: str | None = None
        self._last: float | None = None

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._early.capabilities

    @property
    def asks_by_rounds(self) -> bool:
        return True

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if not self.has_begun:
            await self._early.progress(progress, total, message)
        elif self._last is None or progress > self._last:
            self._last = progress
            of = "" if total is None else f" of {total:g}"
            self.message = message or f"{progress:g}{of}"

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        if not self.has_begun:
            await self._early.log(level, data, logger)
        elif isinstance(data, str) and level != "debug":
            self.message = data

    async def hang_up(self) -> None:
        if not self.has_begun:
            await self._early.hang_up()

    async def elicitation_done(self, elicitation_id: str) -> None:
        if not self.has_begun:
            await self._early.elicitation_done(elicitation_id)

    async def begin_task(self) -> bool:
        return self.has_begun or await self._begin()

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        if not self.has_begun:
            return await self._early.ask(requests)
        known = self.given.answers
        answers = {key: self._answer(key, request) for key, request in requests.items() if key in known}
        for key, answer in answers.items():
            if answer is None:  # another question under a key that was answered: it must not be asked again
                raise ClientRequestDeclined(key)
        still_open = {key: request for key, request in requests.items() if key not in answers}
        missing = self.capabilities.missing(still_open)
        if missing:
            raise ClientCapabilityMissing(missing)
        if still_open:
            raise InputRequired({key: self.capabilities.fitted(request) for key, request in still_open.items()})
        return {key: answer for key, answer in answers.items() if answer is not None}

    def _answer(self, key: str, request: ClientRequest) -> ClientAnswer | None:
        if self.given.fingerprints.get(key) != fingerprint(request):
            return None
        return self._read(request, self.given.answers[key])
