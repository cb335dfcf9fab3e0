"""Who is told that a budget is running out."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.metering.budget import Crossing


class BudgetWatcher(Protocol):
    """Laws: told once for each level of each account in its month, over all processes; quick, does not block. What it
    raises is logged and refuses no call."""

    @abstractmethod
    def crossed(self, crossing: Crossing) -> None: ...
