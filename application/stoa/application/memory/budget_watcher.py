"""Keeps what crossed its levels: for tests, and for embedding programs that tell people themselves."""

from stoa.application.ports.budget_watcher import BudgetWatcher
from stoa.domain.metering.budget import Crossing


class InMemoryBudgetWatcher(BudgetWatcher):
    def __init__(self) -> None:
        self.seen: list[Crossing] = []

    def crossed(self, crossing: Crossing) -> None:
        self.seen.append(crossing)
