"""Prices of calls: a price list as data, and the tariff that follows from it for one operation and tenant.

Amounts are cost units as decimals of at most 12 places, so a price may be finer than the micro-units that are charged.
A Tariff holds them over one denominator: a quote is integer arithmetic, exact until it is rounded down once, to a whole
micro-unit. A float never takes part.

Precedence: for each field separately, the first of these that sets it decides.

    1  the tenant's price for the operation        tenants.TENANT.tools.NAME
    2  the tenant's price for one of its tags      tenants.TENANT.tags.TAG      of several tags the highest
    3  the tenant's own price                      tenants.TENANT
    4  the general price for the operation         tools.NAME
    5  the general price for one of its tags       tags.TAG                     of several tags the highest
    6  the general price
    7  the default prices                          DEFAULT_PRICES

An author chooses names and tags. For operations that the tenant's own team wrote, rows 2, 4 and 5 therefore count
only where they are higher than the rows below them.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import lcm
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stoa.domain.access.identity import TenantId, TenantName
from stoa.domain.metering.money import MICRO, MicroUnits, from_decimal
from stoa.domain.operations.operation import Operation
from stoa.domain.value import Strict

PLACES = 12
_DIGITS = 9
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def _exact(value: object) -> object:
    """The decimal exactly as it was written. A float has lost that already; JSON and YAML are read without making
    any."""
    if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
        raise ValueError('write an amount such as 0.001 (in Python Decimal("0.001"), never a float)')  # noqa: TRY004
    if isinstance(value, str) and (_NUMBER.fullmatch(value) is None or len(value) > 40):
        raise ValueError("write an amount such as 0.001")
    return value


def _within(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -PLACES or value.adjusted() >= _DIGITS or value < 0:
        raise ValueError(f"an amount is below 10^{_DIGITS}, not negative, and has at most {PLACES} decimal places")
    return value


def _whole(value: Decimal) -> Decimal:
    from_decimal(value)
    return value


Amount = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_within)]
"""Cost units, exact."""
WholeAmount = Annotated[Amount, AfterValidator(_whole)]
"""A whole number of micro-units."""
Factor = Annotated[Amount, Field(ge=1)]


def _aware(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError("the time zone is missing; write the instant as 2026-01-01T00:00:00Z")
    return value


@dataclass(frozen=True, slots=True)
class Tariff:
    """The price of one operation for one tenant: (fixed + per_ms * ms + per_byte * bytes) / denominator micro-units."""

    fixed: int
    per_ms: int
    per_byte: int
    denominator: int
    per_question: MicroUnits
    """The price of each client request that was sent, regardless of its answer, in addition to the call's own price."""

    @property
    def counts_bytes(self) -> bool:
        """True if the price depends on `bytes_out`; otherwise they need not be counted."""
        return self.per_byte > 0

    def quote(self, *, latency_ms: int, bytes_out: int = 0) -> MicroUnits:
        """The price of one call. Monotone in both arguments, exact, rounded down to a whole micro-unit at the end."""
        return MicroUnits((self.fixed + self.per_ms * latency_ms + self.per_byte * bytes_out) // self.denominator)

    def ceiling(self, *, timeout_seconds: float, max_bytes_out: int) -> MicroUnits:
        """Upper bound on the price of a call that takes no longer and answers no more than this."""
        numerator, denominator = timeout_seconds.as_integer_ratio()
        return self.quote(latency_ms=-(-numerator * 1000 // denominator), bytes_out=max_bytes_out)


class Rates(Strict):
    """The parts of a price; None leaves the part to the next level in the order above."""

    base: Amount | None = None
    """The price of a call."""
    per_100_ms: Amount | None = None
    """The price of 100 ms, charged by the millisecond."""
    per_kib_out: Amount | None = None
    """The price of 1024 bytes of the answer, charged by the byte."""
    premium_factor: Factor | None = None
    """Factor by which a premium (destructive) operation costs more than its base."""
    per_question: WholeAmount | None = None
    """The price of a client request."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One row of the order above."""

    rates: Rates
    may_lower: bool = True
    """False: counts only where it is higher than the rows below."""


class RatesByOperation(Rates):
    """Rates, with other rates for some operations."""

    tags: dict[str, Rates] = Field(default={})
    tools: dict[str, Rates] = Field(default={})
    """Rates by the metered name: `NAME` of a tool, `resource:URI`, `prompt:NAME`."""

    def levels(self, operation: Operation, *, of_tenant: bool) -> Iterator[_Level]:
        """The rates that apply to `operation`, strongest first. `of_tenant`: this part of the list is for one tenant,
        so that a name in it means an operation that its author knows."""
        is_own_word = operation.is_by_tenant and not operation.may_lower_access
        name = operation.qualified_name
        if (by_name := self.tools.get(name)) is not None:
            yield _Level(by_name, may_lower=of_tenant or not is_own_word)
        by_tag = [self.tags[tag] for tag in operation.tags if tag in self.tags]
        if by_tag:
            yield _Level(_highest(by_tag), may_lower=not is_own_word)
        yield _Level(self)


class PriceVersion(RatesByOperation):
    """The prices from one instant on."""

    since: Annotated[datetime, AfterValidator(_aware)] | None = None
    """The beginning of this version; None for the first version, which has no beginning."""
    tenants: dict[TenantName, RatesByOperation] = Field(default={})

    def tariff(self, operation: Operation, tenant: TenantId | None) -> Tariff:
        own = None if tenant is None else self.tenants.get(tenant)
        own_levels = () if own is None else own.levels(operation, of_tenant=True)
        levels = (*own_levels, *self.levels(operation, of_tenant=False))
        return _tariff(levels, is_premium=operation.is_premium)


DEFAULT_PRICES = PriceVersion(
    base=Decimal("0.001"),
    per_100_ms=Decimal("0.0001"),
    per_kib_out=Decimal(0),
    premium_factor=Decimal(2),
    per_question=Decimal(0),
)


class PriceList(Strict):
    """Prices over time. The version in force when a call finishes decides; a call that finished before the first
    `since` is charged by the first version."""

    versions: tuple[PriceVersion, ...] = (DEFAULT_PRICES,)

    @model_validator(mode="after")
    def _is_a_sequence(self) -> Self:
        if not self.versions:
            raise ValueError("versions: write at least one")
        for number, (version, next_version) in enumerate(pairwise(self.versions), 1):
            if next_version.since is None:
                raise ValueError(f"versions.{number}: from is missing; only the first version may leave it out")
            if version.since is not None and version.since >= next_version.since:
                raise ValueError(f"versions.{number}.from: it must be later than that of the version before")
        return self

    @cached_property
    def instants(self) -> tuple[datetime, ...]:
        """The instants at which prices change: `instants[n]` is when version n + 1 comes into force."""
        return tuple(version.since for version in self.versions[1:] if version.since is not None)

    def version_at(self, at: datetime) -> int:
        """Index of the version in force; `at` has a time zone."""
        return bisect_right(self.instants, at)

    def tariff(self, operation: Operation, tenant: TenantId | None, at: datetime) -> Tariff:
        """The tariff of `operation` for a caller of `tenant` (None: of no tenant) when the call finishes at `at`."""
        return self.versions[self.version_at(at)].tariff(operation, tenant)


def _tariff(levels: Sequence[_Level], *, is_premium: bool) -> Tariff:
    """The tariff that follows from `levels`, strongest first; the default prices come after them."""

    def of(field: str) -> Fraction:
        amount = Fraction(getattr(DEFAULT_PRICES, field))
        for level in reversed(levels):
            if (value := getattr(level.rates, field)) is not None:
                amount = Fraction(value) if level.may_lower else max(Fraction(value), amount)
        return amount

    fixed = of("base") * (of("premium_factor") if is_premium else 1) * MICRO
    per_ms, per_byte = of("per_100_ms") * MICRO / 100, of("per_kib_out") * MICRO / 1024
    denominator = lcm(fixed.denominator, per_ms.denominator, per_byte.denominator)
    return Tariff(
        fixed=int(fixed * denominator),
        per_ms=int(per_ms * denominator),
        per_byte=int(per_byte * denominator),
        denominator=denominator,
        per_question=MicroUnits(int(of("per_question") * MICRO)),
    )


def _highest(rates: list[Rates]) -> Rates:
    if len(rates) == 1:
        return rates[0]
    fields: dict[str, Decimal | None] = {}
    for name in Rates.model_fields:
        values: list[Decimal] = [value for level in rates if (value := getattr(level, name)) is not None]
        fields[name] = max(values, default=None)
    return Rates.model_validate(fields)
