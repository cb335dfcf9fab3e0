"""Spending counted in this process: for one worker, which has to say at its start what was spent before (`prime`)."""

from collections.abc import Sequence

from stoa.application.ports.budget_ledger import BudgetLedger, BudgetVerdict
from stoa.domain.metering.budget import Account, Crossing, Month, Owner, crossed, fits, level_of
from stoa.domain.metering.money import MicroUnits


class _Figures:
    __slots__ = ("noticed", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.noticed = 0
        """The highest level that was told of."""


class InMemoryBudgetLedger(BudgetLedger):
    """Keeps two integers per account, for the newest month and the one before it."""

    def __init__(self) -> None:
        self._months: dict[Month, dict[Owner, _Figures]] = {}

    async def reserve(self, accounts: Sequence[Account], amount: MicroUnits) -> BudgetVerdict:
        found = [(account, self._figures(account)) for account in accounts]
        for account, figures in found:
            if not fits(figures.spent, amount, account.limit):
                return BudgetVerdict(account, _notice(account, figures, is_refused=True))
        crossings: list[Crossing] = []
        for account, figures in found:
            figures.spent += amount
            crossings += _notice(account, figures)
        return BudgetVerdict(None, tuple(crossings))

    def settle(self, accounts: Sequence[Account], reserved: MicroUnits, actual: MicroUnits) -> None:
        for account in accounts:
            figures = self._months.get(account.period, {}).get(account.owner)
            if figures is not None:
                figures.spent = max(0, figures.spent - (reserved - actual))

    async def flush(self) -> None:
        """Nothing is under way here."""

    async def spent(self, accounts: Sequence[Account]) -> Sequence[MicroUnits]:
        kept = (self._months.get(account.period, {}).get(account.owner) for account in accounts)
        return [MicroUnits(0 if figures is None else figures.spent) for figures in kept]

    async def close(self) -> None:
        """Nothing is open here."""

    def prime(self, account: Account, spent: MicroUnits) -> None:
        """What was spent in this month before the process began. Levels that it reached were told of then."""
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
