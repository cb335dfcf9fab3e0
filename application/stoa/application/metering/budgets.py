"""Monthly budgets of tenants and of their applications: reserve before a call, settle after it.

A call that no budget applies to costs one look-up in a dict. docs/decisions/0018-budgets.md explains why the most that
a call may cost is reserved, and what happens when a process dies in between.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stoa.application.ports.budget_ledger import BudgetLedger
from stoa.application.ports.budget_watcher import BudgetWatcher
from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BudgetExhausted
from stoa.domain.metering.budget import Account, Budget, Crossing, Month, Owner
from stoa.domain.metering.event import MeteringEvent
from stoa.domain.metering.money import MicroUnits, to_decimal

_log = logging.getLogger(__name__)


class Reservation:
    """The most that one call may cost, taken from its accounts until it is settled."""

    __slots__ = ("_is_open", "accounts", "amount")

    def __init__(self, accounts: tuple[Account, ...], amount: MicroUnits) -> None:
        self.accounts = accounts
        self.amount = amount
        self._is_open = True

    def close(self) -> bool:
        """Close the reservation; False if it was closed before."""
        was_open, self._is_open = self._is_open, False
        return was_open


@dataclass(frozen=True, slots=True)
class AccountStatus:
    account: Account
    spent: MicroUnits
    """Spent amount, including reservations of calls in progress."""

    @property
    def percent(self) -> int:
        """Percent of the budget, rounded down; 100 for a budget of 0."""
        limit = self.account.limit
        return self.spent * 100 // limit if limit else 100


class Budgets:
    def __init__(
        self,
        budgets: Iterable[Budget],
        ledger: BudgetLedger,
        clock: Clock,
        watchers: Sequence[BudgetWatcher] = (),
    ) -> None:
        """`budgets`: of several for one owner the last counts."""
        self._limits = {budget.owner: budget.monthly for budget in budgets}
        self._tenants = frozenset(owner.tenant for owner in self._limits)
        self._ledger = ledger
        self._clock = clock
        self._watchers = tuple(watchers)
        self._ends = self._begins = clock.now()
        self._accounts: dict[Owner, Account] = {}

    def apply_to(self, tenant: TenantId | None) -> bool:
        """True if any budget applies to calls of this tenant; otherwise their highest possible price need not be
        computed."""
        return tenant in self._tenants

    async def reserve(self, tenant: TenantId | None, consumer: str, ceiling: MicroUnits) -> Reservation | None:
        """Reserve the most that the call may cost; None if no budget applies, or the call is free.

        Raises BudgetExhausted if it does not fit, and BudgetUnavailable; then the call must not be made.
        """
        if tenant is None or ceiling <= 0:
            return None
        now = self._clock.now()
        self._turn_to(now)
        owners = (Owner(tenant), Owner(tenant, consumer))
        accounts = tuple(self._accounts[owner] for owner in owners if owner in self._accounts)
        if not accounts:
            return None
        verdict = await self._ledger.reserve(accounts, ceiling)
        for crossing in verdict.crossings:
            self._tell(crossing)
        if verdict.refused_by is not None:
            whose = "this tenant" if verdict.refused_by.owner.consumer is None else "this application"
            raise BudgetExhausted(whose, self._ends, (self._ends - now).total_seconds())
        return Reservation(accounts, ceiling)

    def settle(self, reservation: Reservation, actual: MicroUnits) -> MicroUnits:
        """Give the unused part of a reservation back at once. Returns the charge, which is never more than was
        reserved. Settling twice changes nothing."""
        charged = min(actual, reservation.amount)
        if reservation.close():
            self._ledger.settle(reservation.accounts, reservation.amount, charged)
        return charged

    async def status(self, tenant: TenantId | None = None) -> tuple[AccountStatus, ...]:
        """The budgets of a tenant in this month, its own first; with None those of all tenants. Raises
        BudgetUnavailable."""
        self._turn_to(self._clock.now())
        accounts = sorted(
            (account for owner, account in self._accounts.items() if tenant in {None, owner.tenant}),
            key=lambda account: (account.owner.tenant, account.owner.consumer or ""),
        )
        if not accounts:
            return ()
        spent = await self._ledger.spent(accounts)
        return tuple(AccountStatus(account, amount) for account, amount in zip(accounts, spent, strict=True))

    def recorded(self, events: Iterable[MeteringEvent]) -> dict[Account, MicroUnits]:
        """The cost of this month's events, by account: for ledgers that start empty (`InMemoryBudgetLedger.prime`)."""
        self._turn_to(self._clock.now())
        sums: dict[Account, MicroUnits] = {}
        for event in events:
            if event.tenant in self._tenants and self._begins <= event.timestamp < self._ends:
                tenant = TenantId(event.tenant)
                for owner in (Owner(tenant), Owner(tenant, event.consumer)):
                    account = self._accounts.get(owner)
                    if account is not None:
                        sums[account] = MicroUnits(sums.get(account, 0) + event.cost_units)
        return sums

    async def close(self) -> None:
        await self._ledger.close()

    def _turn_to(self, now: datetime) -> None:
        # Accounts are made once a month, not for each call.
        if not self._begins <= now < self._ends:
            month = Month.of(now)
            self._begins, self._ends = month.begin, month.next.begin
            self._accounts = {owner: Account(owner, month, limit) for owner, limit in self._limits.items()}

    def _tell(self, crossing: Crossing) -> None:
        account = crossing.account
        _log.warning(
            "a budget is used up, calls are refused" if crossing.level == 100 else "a budget is running out",
            extra={
                "tenant": account.owner.tenant,
                "consumer": account.owner.consumer,
                "month": str(account.period),
                "percent": crossing.level,
                "spent": str(to_decimal(crossing.spent)),
                "budget": str(to_decimal(account.limit)),
            },
        )
        for watcher in self._watchers:
            try:
                watcher.crossed(crossing)
            except Exception:  # noqa: BLE001  # a broken watcher must not refuse a call
                _log.exception("a budget watcher failed", extra={"watcher": type(watcher).__name__})
