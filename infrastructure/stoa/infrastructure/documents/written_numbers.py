"""Numbers whose `str` is the text that was written, for readers to whom `1.10` may be a version and not 1.1."""

import math
import re

_MAY_DIFFER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*0|\.\d{16,}|(?:\.\d+)?[eE][-+]?\d+)(?![\w.])")
"""JSON numbers that Python may write in another way."""


class WrittenInt(int):
    """A whole number whose text is not the usual one, such as 0x10."""

    text: str

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A number whose text is not the usual one, such as 1.10."""

    text: str

    def __str__(self) -> str:
        return self.text


def written_number(number: int | float, text: str) -> int | float:
    """The number, with its text where that cannot be found again."""
    if str(number) == text:
        return number
    written = WrittenInt(number) if isinstance(number, int) else WrittenFloat(number)
    written.text = text
    return written


def plain_number(number: int | float) -> int | float:
    """The number alone. Libraries that look at the exact type take no other."""
    if isinstance(number, WrittenInt):
        return int(number)
    return float(number) if isinstance(number, WrittenFloat) else number


def may_be_written_otherwise(text: str) -> bool:
    """True if a JSON text may have numbers whose text cannot be found again from their value."""
    return _MAY_DIFFER.search(text) is not None


def written_float(text: str) -> float | str:
    """The number that a JSON text has in this place; one that is not finite stays text."""
    number = float(text)
    return written_number(number, text) if math.isfinite(number) else text
