"""Where the spending of the month is kept, for all processes of a deployment."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stoa.domain.metering.budget import Account, Crossing
from stoa.domain.metering.money import MicroUnits


@dataclass(frozen=True, slots=True)
class BudgetVerdict:
    """What a ledger says to one reservation."""

    refused_by: Account | None
    """The first account whose limit does not allow it; None: reserved from all of them."""
    crossings: tuple[Crossing, ...] = ()
    """What this reservation, or its refusal, was the first to reach."""


class BudgetLedger(Protocol):
    """Laws:

    - `reserve` takes `amount` from all accounts, or from none: never is more reserved from an account than its limit
      minus what is spent, whichever processes reserve at the same time.
    - `settle` gives back what a call did not cost, before this process's next reservation is refused for lack of it,
      and sooner or later for the other processes. It returns at once, waits for nothing and loses nothing while the
      process lives, and gives back once however often the store was lost meanwhile.
    - After `flush`, what is spent is the sum of what was settled and of what is reserved and not settled.
    - Every level of an account is told once, in one verdict of one process: 80 when that much is spent, reserved or
      not given back yet, 100 when nothing is left or a reservation is refused by it.
    - Accounts do not influence each other; an account of another month is another account.

    What was reserved and never settled, because its process died or the answer to `reserve` was lost, stays spent.
    `reserve`, `flush` and `spent` raise BudgetUnavailable when the store cannot answer; the call is then refused.
    A ledger belongs to one event loop.
    """

    @abstractmethod
    async def reserve(self, accounts: Sequence[Account], amount: MicroUnits) -> BudgetVerdict: ...

    @abstractmethod
    def settle(self, accounts: Sequence[Account], reserved: MicroUnits, actual: MicroUnits) -> None:
        """`actual` is at most `reserved`, which was reserved from these accounts."""
        ...

    @abstractmethod
    async def flush(self) -> None:
        """Return when all that was settled before is known to the store."""
        ...

    @abstractmethod
    async def spent(self, accounts: Sequence[Account]) -> Sequence[MicroUnits]:
        """By account, with what is reserved."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Flush, as far as the store can be reached, and release what is open."""
        ...
