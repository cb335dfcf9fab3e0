"""Spending counted in this process: for one worker, which has to report earlier spending at its start (`prime`)."""

from collections.abc import Sequence

from stoa.application.ports.budget_ledger import BudgetLedger, BudgetVerdict
from stoa.domain.metering.budget import Account, Crossing, Month, Owner, crossed, fits, level_of
from stoa.domain.metering.money import MicroUnits


class _Figures:
    __slots__ = ("noticed", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.noticed = 0
        """The highest level that was reported."""


class InMemoryBudgetLedger(BudgetLedger):
    """Keeps two integers per account, for the newest month and the one before it."""

    def __init__(self) -> None:
        self._months: dict[Month, dict[Owner, _Figures]] = {}

    async def reserve(self, accounts: Sequence[Account], amount: MicroUnits) -> BudgetVerdict:
        figures_of = [(account, self._figures(account)) for account in accounts]
        for account, figures in figures_of:
            if not fits(figures.spent, amount, account.limit):
                return BudgetVerdict(account, _notice(account, figures, is_refused=True))
        crossings: list[Crossing] = []
        for account, figures in figures_of:
            figures.spent += amount
            crossings += _notice(account, figures)
        return BudgetVerdict(None, tuple(crossings))

    def settle(self, accounts: Sequence[Account], reserved: MicroUnits, actual: MicroUnits) -> None:
        for account in accounts:
            figures = self._months.get(account.period, {}).get(account.owner)
            if figures is not None:
                figures.spent = max(0, figures.spent - (reserved - actual))

    async def flush(self) -> None:
        """Does nothing: every change is in force at once."""

    async def spent(self, accounts: Sequence[Account]) -> Sequence[MicroUnits]:
        stored = (self._months.get(account.period, {}).get(account.owner) for account in accounts)
        return [MicroUnits(0 if figures is None else figures.spent) for figures in stored]

    async def close(self) -> None:
        """Does nothing: there is no connection to release."""

    def prime(self, account: Account, spent: MicroUnits) -> None:
        """Add spending of this month from before the process began. Levels that it reached were reported then."""
        figures = self._figures(account)
        figures.spent = spent
        figures.noticed = level_of(spent, account.limit)

    def _figures(self, account: Account) -> _Figures:
        owners = self._months.get(account.period)
        if owners is None:
            for old in sorted({*self._months, account.period})[:-2]:
                self._months.pop(old, None)
            owners = self._months[account.period] = {}
        figures = owners.get(account.owner)
        if figures is None:
            figures = owners[account.owner] = _Figures()
        return figures


def _notice(account: Account, figures: _Figures, *, is_refused: bool = False) -> tuple[Crossing, ...]:
    reached = level_of(figures.spent, account.limit, is_refused=is_refused)
    if reached <= figures.noticed:
        return ()
    levels, figures.noticed = crossed(figures.noticed, reached), reached
    return tuple(Crossing(account, level, MicroUnits(figures.spent)) for level in levels)
