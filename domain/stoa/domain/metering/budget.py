"""Monthly budgets as a pure state machine, the same for every store.

A call reserves the most it may cost before it is made: `spent` grows by that at once, if it stays within the limit.
When the call is over, the unused part is given back. A process that dies in between leaves the reservation spent, so a
budget is never overspent.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from stoa.domain.access.identity import TenantId, TenantName
from stoa.domain.metering.money import MicroUnits
from stoa.domain.value import Strict

MOST_MICRO_UNITS = 10**15
"""Upper bound on one budget: a billion units, far below the 2^53 up to which every store counts exactly."""

Level = Literal[80, 100]
"""Percent of a budget. 100 is also reached when a call is refused because the rest does not suffice for it."""
LEVELS: tuple[Level, ...] = (80, 100)


class Owner(NamedTuple):
    """The owner of a budget: a tenant, or one calling application of a tenant."""

    tenant: TenantId
    consumer: str | None = None


class Budget(Strict):
    """The amount that may be spent in a calendar month (UTC)."""

    tenant: TenantName
    consumer: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The application as it names itself; None: the whole tenant."""
    monthly: Annotated[MicroUnits, Field(ge=0, le=MOST_MICRO_UNITS)]

    @property
    def owner(self) -> Owner:
        return Owner(self.tenant, self.consumer)


class Month(NamedTuple):
    """A calendar month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """The month of an instant with a time zone."""
        here = moment.astimezone(UTC)
        return cls(here.year, here.month)

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def begin(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Account:
    """A budget in one month: the unit for which stores hold a figure."""

    owner: Owner
    period: Month
    limit: MicroUnits


@dataclass(frozen=True, slots=True)
class Crossing:
    """An account reached a level of its limit, for the first time in its month."""

    account: Account
    level: Level
    spent: MicroUnits
    """The spent amount, including reservations of calls in progress."""


def fits(spent: int, amount: int, limit: int) -> bool:
    """True if `amount` can be reserved within `limit`."""
    return spent + amount <= limit


def threshold(level: Level, limit: int) -> int:
    """The least `spent` that reaches `level` percent of `limit`."""
    return -(-limit * level // 100)


def level_of(spent: int, limit: int, *, is_refused: bool = False) -> int:
    """The highest level that is reached; 0 for none."""
    if is_refused or spent >= limit:
        return 100
    return 80 if spent * 100 >= limit * 80 else 0


def crossed(noticed: int, reached: int) -> tuple[Level, ...]:
    """The levels to report, given that `noticed` is the highest that was reported before."""
    return tuple(level for level in LEVELS if noticed < level <= reached) if reached > noticed else ()
