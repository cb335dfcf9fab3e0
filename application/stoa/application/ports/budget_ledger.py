"""Stores the spending of the month, for all processes of a deployment."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stoa.domain.metering.budget import Account, Crossing
from stoa.domain.metering.money import MicroUnits


@dataclass(frozen=True, slots=True)
class BudgetVerdict:
    """The verdict of a ledger on one reservation."""

    refused_by: Account | None
    """The first account whose limit does not allow it; None: the amount is reserved from all of them."""
    crossings: tuple[Crossing, ...] = ()
    """Levels that this reservation, or its refusal, was the first to reach."""


class BudgetLedger(Protocol):
    """Laws:

    - `reserve` takes `amount` from all accounts, or from none: never is more reserved from an account than its limit
      minus its spending, also when several processes reserve at the same time.
    - `settle` gives back the part that a call did not cost, before this process's next reservation is refused for lack
      of it, and sooner or later for the other processes. It returns at once, waits for nothing and loses nothing while
      the process lives, and gives back exactly once, however often the store was lost in between.
    - After `flush`, the spending is the sum of what was settled and of what is reserved and not settled.
    - Every level of an account is reported once, in one verdict of one process: 80 when that much is spent, reserved or
      not given back yet, 100 when nothing is left or a reservation is refused by it.
    - Accounts do not influence each other; an account of another month is another account.

    A reservation that was never settled, because its process died or the answer to `reserve` was lost, stays spent.
    `reserve`, `flush` and `spent` raise BudgetUnavailable when the store cannot answer; the call is then refused. A
    ledger belongs to one event loop.
    """

    @abstractmethod
    async def reserve(self, accounts: Sequence[Account], amount: MicroUnits) -> BudgetVerdict: ...

    @abstractmethod
    def settle(self, accounts: Sequence[Account], reserved: MicroUnits, actual: MicroUnits) -> None:
        """Charge `actual` and give back the rest. `actual` is at most `reserved`, which was reserved from these
        accounts."""
        ...

    @abstractmethod
    async def flush(self) -> None:
        """Return when the store knows all that was settled before."""
        ...

    @abstractmethod
    async def spent(self, accounts: Sequence[Account]) -> Sequence[MicroUnits]:
        """Spending by account, including reservations."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Flush, if the store can be reached, and release connections."""
        ...
