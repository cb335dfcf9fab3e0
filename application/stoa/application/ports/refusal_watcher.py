"""Who is told of each refused request: metrics and the log."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.policy.refusal import Refusal


class RefusalWatcher(Protocol):
    """Laws: told once for each answer of a door that is a refusal, whatever its reason, also when it never reached a
    use case; quick, does not block. It shows no more of a request than the Refusal says: no token, no argument. What it
    raises is logged and changes no answer."""

    @abstractmethod
    def told(self, refusal: Refusal) -> None: ...
