"""A client in the same program: what it is told is kept, what it is asked is answered by a function."""

from collections.abc import Callable, Mapping
from typing import Any

from stoa.application.client_requests.answer_fit import fits
from stoa.application.ports import ClientChannel
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


class InMemoryClientChannel(ClientChannel):
    """`answering` gets key and request; None stands for a client that refuses."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self._capabilities = capabilities
        self._answering = answering
        self._pace = ProgressPace()
        self.progressed: list[tuple[float, float | None, str | None]] = []
        self.logged: list[tuple[LogLevel, Any, str | None]] = []
        self.hung_up = 0
        self.asked: list[dict[str, ClientRequest]] = []
        self.done: list[str] = []

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._capabilities

    @property
    def asks_by_rounds(self) -> bool:
        return False

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._pace.admits(progress, total, 0):
            self.progressed.append((progress, total, message))

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        self.logged.append((level, data, logger))

    async def hang_up(self) -> None:
        self.hung_up += 1

    async def begin_task(self) -> bool:
        return False

    async def elicitation_done(self, elicitation_id: str) -> None:
        asked = (request for requests in self.asked for request in requests.values())
        if any(isinstance(one, UrlElicitationRequest) and one.elicitation_id == elicitation_id for one in asked):
            self.done.append(elicitation_id)

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        missing = self._capabilities.missing(requests)
        if missing:
            raise ClientCapabilityMissing(missing)
        requests = {key: self._capabilities.fitted(request) for key, request in requests.items()}
        self.asked.append(dict(requests))
        answers: dict[str, ClientAnswer] = {}
        for key, request in requests.items():
            answer = self._answering(key, request)
            if answer is None or not fits(request, answer):
                raise ClientRequestDeclined(key)
            answers[key] = answer
        return answers
