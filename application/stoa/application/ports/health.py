"""Is a part of the gateway fit to serve calls?"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Health:
    """`is_ready` False takes the gateway out of rotation; `detail` says why, or what is degraded."""

    is_ready: bool
    detail: str = ""
    findings: tuple[str, ...] = ()
    """Problems that do not stop the service, `pets.yaml spec.timeout: ...`."""


class HealthProbe(Protocol):
    """Law: `health` answers from memory within microseconds and never raises."""

    name: str
    """The part's name in `/ready`: `catalogue`, `policy`, `metering`."""

    @abstractmethod
    def health(self) -> Health: ...
