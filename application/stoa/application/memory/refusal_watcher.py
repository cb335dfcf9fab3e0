"""Keeps what was refused: for tests, and for embedding programs that tell people themselves."""

from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.domain.policy.refusal import Refusal


class InMemoryRefusalWatcher(RefusalWatcher):
    def __init__(self) -> None:
        self.seen: list[Refusal] = []

    def told(self, refusal: Refusal) -> None:
        self.seen.append(refusal)
