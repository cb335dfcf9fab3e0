"""Receives notices that a budget is running out."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.metering.budget import Crossing


class BudgetWatcher(Protocol):
    """Laws: called once for each level of each account in its month, over all processes; quick, does not block. Its
    exceptions are logged and refuse no call."""

    @abstractmethod
    def crossed(self, crossing: Crossing) -> None: ...
