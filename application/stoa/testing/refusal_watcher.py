"""Remembers refusals."""

from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.domain.policy.refusal import Refusal


class InMemoryRefusalWatcher(RefusalWatcher):
    """Stores each refusal that a door reported in `seen`, the oldest first."""

    def __init__(self) -> None:
        self.seen: list[Refusal] = []

    def told(self, refusal: Refusal) -> None:
        self.seen.append(refusal)
