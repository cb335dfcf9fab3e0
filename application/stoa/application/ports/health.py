"""Reports the health of a part of the gateway."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Health:
    """The state of one part. `is_ready` False takes the gateway out of rotation; `detail` gives the reason, or the
    degradation."""

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
