"""Receives each refused request, for metrics and the log."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.policy.refusal import Refusal


class RefusalWatcher(Protocol):
    """Laws: called once for each answer of a door that is a refusal, for any reason, including requests that never
    reached a use case; quick, does not block. It shows no more of a request than the Refusal contains: no token, no
    argument. Its exceptions are logged and change no answer."""

    @abstractmethod
    def told(self, refusal: Refusal) -> None: ...
