"""Values that a description gives (`enum`, `const`, `default`, `example`), read as the type that it declares for them.

YAML takes `1.10`, `0x10` and `true` for numbers and truth values, where the declared type says that the text is meant.
"""

import math
from typing import Any

from stoa.domain.schema.json_value import is_array, is_object
from stoa.infrastructure.documents import plain_number

_NUMBERS = frozenset({"integer", "number"})
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
"""Truth values in quotes, and as YAML 1.1 spells them."""


def meant(value: Any, types: list[str]) -> Any:
    """The value of one of `types` that `value` was written for, or else the plain value itself."""
    if not types or is_array(value) or is_object(value) or value is None:
        return plain(value)
    if isinstance(value, bool):
        return str(value).lower() if "string" in types and "boolean" not in types else value
    if isinstance(value, int | float):
        return str(value) if "string" in types and _NUMBERS.isdisjoint(types) else plain_number(value)
    if isinstance(value, str) and "string" not in types:
        return _parsed(value, types)
    return value


def plain(value: Any) -> Any:
    """The value without what it remembers of its text, at any depth."""
    if is_object(value):
        return {name: plain(member) for name, member in value.items()}
    if is_array(value):
        return [plain(entry) for entry in value]
    return plain_number(value) if isinstance(value, int | float) else value


def _parsed(text: str, types: list[str]) -> Any:
    """A number or truth value that was put in quotes."""
    word = text.strip().lower()
    if "boolean" in types and word in _TRUE | _FALSE:
        return word in _TRUE
    if not _NUMBERS.isdisjoint(types) and len(word) < 40:
        try:
            number = float(word)
        except ValueError:
            return text
        if math.isfinite(number) and number.is_integer() and abs(number) < 2**53:
            return int(number)
        return number if "number" in types and math.isfinite(number) else text
    return text
