"""A client in the same program: what it is told is kept, what it is asked is answered by a function."""

from collections.abc import Callable, Mapping
from typing import Any

from stoa.application.answer_fit import fits
from stoa.application.ports import ClientChannel
from stoa.domain.dialogue import ClientCapabilities, InputAnswer, InputRequest, LogLevel
from stoa.domain.errors import ClientCannot, ClientRefused

Answering = Callable[[str, InputRequest], InputAnswer | None]


class InMemoryClientChannel(ClientChannel):
    """`answering` gets key and request; None stands for a client that refuses."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self._capabilities = capabilities
        self._answering = answering
        self.progressed: list[tuple[float, float | None, str | None]] = []
        self.logged: list[tuple[LogLevel, Any, str | None]] = []
        self.hung_up = 0
        self.asked: list[dict[str, InputRequest]] = []

    @property
    def capabilities(self) -> ClientCapabilities:
        return self._capabilities

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if not self.progressed or progress > self.progressed[-1][0]:
            self.progressed.append((progress, total, message))

    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        self.logged.append((level, data, logger))

    async def hang_up(self) -> None:
        self.hung_up += 1

    async def begin_task(self) -> bool:
        return False

    async def ask(self, requests: Mapping[str, InputRequest]) -> Mapping[str, InputAnswer]:
        missing = self._capabilities.missing(requests)
        if missing:
            raise ClientCannot(missing)
        self.asked.append(dict(requests))
        answers: dict[str, InputAnswer] = {}
        for key, request in requests.items():
            answer = self._answering(key, request)
            if answer is None or not fits(request, answer):
                raise ClientRefused(key)
            answers[key] = answer
        return answers
