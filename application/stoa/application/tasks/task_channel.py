"""The channel of a call that may become a task, from which the client then reads messages and client requests."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stoa.application.ports.client_channel import RoundClientChannel
from stoa.domain.calls.task import GivenAnswers
from stoa.domain.client_requests.client_request import ClientAnswer, ClientCapabilities, ClientRequest, LogLevel
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.errors import ClientRequestDeclined

ReadAnswer = Callable[[ClientRequest, Any], ClientAnswer | None]
"""Reads a client's answer; None when it does not fit the request."""


class TaskChannel(RoundClientChannel):
    """The channel of a call that may become a task. Until the task begins it is `early`, as for an ordinary call. From
    then on progress and log messages are `message`, and a client request without a stored answer ends the run. `begin`
    stores the task; False: the call stays in the foreground."""

    def __init__(self, early: RoundClientChannel, begin: Callable[[], Awaitable[bool]], read: ReadAnswer) -> None:
        self._early = early
        self._begin = begin
        self._read = read
        self._given: GivenAnswers | None = None
        self.message: str | None = None
        self.memo: str | None = None
        """Text that the back end keeps for the next run, which may be in another process; set before it asks."""
        self._progress: float | None = None

    @property
    def has_begun(self) -> bool:
        return self._given is not None

    def continue_as_task(self, given: GivenAnswers) -> None:
        """Switch to the task, which is stored, with these answers; `early` is not used any more."""
        self._given = given
        self.memo = given.memo

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._early.capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._given is None:
            await self._early.progress(progress, total, message)
        elif self._progress is None or progress > self._progress:
            self._progress = progress
            of = "" if total is None else f" of {total:g}"
            self.message = message or f"{progress:g}{of}"

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        if self._given is None:
            await self._early.log(level, data, logger)
        elif isinstance(data, str) and level != "debug":
            self.message = data

    async def hang_up(self) -> None:
        if self._given is None:
            await self._early.hang_up()

    async def elicitation_done(self, elicitation_id: str) -> None:
        if self._given is None:
            await self._early.elicitation_done(elicitation_id)

    async def begin_task(self) -> bool:
        return self.has_begun or await self._begin()

    async def collect(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """The stored answers. Raises ClientRequestDeclined for a request that differs from the one that its key was
        answered for: an answered key is never requested again."""
        if self._given is None:
            return await self._early.collect(requests)
        answers: dict[str, ClientAnswer] = {}
        for key in requests.keys() & self._given.answers.keys():
            request = requests[key]
            was_requested = self._given.fingerprints.get(key) == fingerprint(request)
            answer = self._read(request, self._given.answers[key]) if was_requested else None
            if answer is None:
                raise ClientRequestDeclined(key)
            answers[key] = answer
        return answers
