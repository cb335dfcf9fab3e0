"""Clients in the same program: messages are kept in lists, client requests are answered by a function."""

from collections.abc import Callable, Mapping
from typing import Any

from stoa.application.client_requests.answer_fit import fits
from stoa.application.ports import ClientChannel, RoundClientChannel, WaitingClientChannel
from stoa.domain.calls.progress import ProgressPace
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    LogLevel,
    UrlElicitationRequest,
)
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined

Answering = Callable[[str, ClientRequest], ClientAnswer | None]
"""Answers a client request, given its key; None declines it."""


class _Messages(ClientChannel):
    def __init__(self, capabilities: ClientCapabilities) -> None:
        self._capabilities = capabilities
        self._pace = ProgressPace()
        self.progressed: list[tuple[float, float | None, str | None]] = []
        self.logged: list[tuple[LogLevel, Any, str | None]] = []
        self.hung_up = 0
        self.requested: list[dict[str, ClientRequest]] = []
        self.done: list[str] = []

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._pace.accepts(progress, total, 0):
            self.progressed.append((progress, total, message))

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        self.logged.append((level, data, logger))

    async def hang_up(self) -> None:
        self.hung_up += 1

    async def begin_task(self) -> bool:
        return False

    async def elicitation_done(self, elicitation_id: str) -> None:
        sent = (request for requests in self.requested for request in requests.values())
        if any(isinstance(page, UrlElicitationRequest) and page.elicitation_id == elicitation_id for page in sent):
            self.done.append(elicitation_id)


class InMemoryClientChannel(_Messages, WaitingClientChannel):
    """A client that answers at once."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        super().__init__(capabilities)
        self._answering = answering

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        missing = self._capabilities.missing(requests)
        if missing:
            raise ClientCapabilityMissing(missing)
        requests = {key: self._capabilities.fitted(request) for key, request in requests.items()}
        self.requested.append(dict(requests))
        answers: dict[str, ClientAnswer] = {}
        for key, request in requests.items():
            answer = self._answering(key, request)
            if answer is None or not fits(request, answer):
                raise ClientRequestDeclined(key)
            answers[key] = answer
        return answers


class InMemoryRoundChannel(_Messages, RoundClientChannel):
    """A client of the stateless era, in one of its rounds: `answers` came with it, by key."""

    def __init__(self, capabilities: ClientCapabilities, answers: Mapping[str, ClientAnswer]) -> None:
        super().__init__(capabilities)
        self.answers = dict(answers)

    async def collect(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        return {
            key: self.answers[key]
            for key, request in requests.items()
            if key in self.answers and fits(request, self.answers[key])
        }
