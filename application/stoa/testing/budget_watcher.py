"""Remembers budgets that crossed a level."""

from stoa.application.ports.budget_watcher import BudgetWatcher
from stoa.domain.metering.budget import Crossing


class InMemoryBudgetWatcher(BudgetWatcher):
    """Stores each crossing in `seen`, the oldest first."""

    def __init__(self) -> None:
        self.seen: list[Crossing] = []

    def crossed(self, crossing: Crossing) -> None:
        self.seen.append(crossing)
