"""Single keywords of OpenAPI schemas as JSON Schema 2020-12 allows them: pure functions, each returning a usable value,
or None if there is none."""

import functools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

from stoa.application.schemas.patterns import compiled
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_array, is_object, texts_in
from stoa.infrastructure.documents import plain_number
from stoa.infrastructure.openapi.patterns import ecma_pattern
from stoa.infrastructure.openapi.values import meant
from stoa.infrastructure.openapi.words import example_values

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_TYPE_ALIASES = {
    **dict.fromkeys(("int", "int32", "int64", "long", "short"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(
        ("file", "binary", "date", "datetime", "date-time", "text", "str", "uuid", "uri", "enum"), "string"
    ),
    **dict.fromkeys(("bool",), "boolean"),
    **dict.fromkeys(("dict", "map", "hash", "hashmap"), "object"),
    **dict.fromkeys(("list", "set"), "array"),
}
_EXAMPLE_LIMIT = 80
_TEXT_LIMIT = 100
"""Characters of a name such as `format` that clients may know."""
_PATTERN_SIZE = 1 << 19
"""Bytes of a compiled pattern. A description may have hundreds, and a tool is better without one than left out."""


def types_of(value: Any) -> tuple[list[str], bool]:
    """The JSON types meant, and whether they were written correctly. An empty list allows any type."""
    written = as_array(value) if is_array(value) else [value]
    types: list[str] = []
    is_clean = True
    for name in written:
        lowered = name.lower() if isinstance(name, str) else ""
        meant = lowered if lowered in TYPES else _TYPE_ALIASES.get(lowered)
        is_clean = is_clean and meant == name
        if meant is None:
            if lowered not in {"", "any"}:
                is_clean = False
            return [], is_clean and lowered == "any"
        if meant not in types:
            types.append(meant)
    return types, is_clean


def number(value: Any) -> int | float | None:
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            return None
        value = int(value) if math.isfinite(value) and value.is_integer() else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return plain_number(value) if isinstance(value, int) or math.isfinite(value) else None


def count(value: Any) -> int | None:
    value = number(value)
    return int(value) if value is not None and value >= 0 and value == int(value) else None


def step(value: Any) -> int | float | None:
    """The value of `multipleOf`, which has to be positive."""
    size = number(value)
    return size if size is not None and size > 0 else None


def short_text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT else None


def flag(value: Any) -> bool | None:
    """A boolean keyword; False is dropped, because it is the default."""
    return True if value is True else None


@functools.lru_cache(maxsize=4096)
def portable_pattern(value: str, *, is_name: bool = False) -> str | None:
    """A regular expression in the common dialect that is valid in this gateway, in Python and in ECMAScript, and small.

    Clients compile patterns with their own engines, and one that fails loses the whole tool. `is_name`: a key of
    `patternProperties`, which must also match in linear time.
    """
    pattern = ecma_pattern(value)
    if pattern is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
        automaton = compiled(pattern, _PATTERN_SIZE)
    except (re.error, InvalidInput, ValueError, OverflowError, RecursionError):
        return None
    return pattern if automaton.is_linear or not is_name else None


def _pattern(value: Any) -> str | None:
    return portable_pattern(value) if isinstance(value, str) else None


def required_by_name(value: Any) -> dict[str, list[str]] | None:
    """The value of `dependentRequired`."""
    return {name: list(dict.fromkeys(texts_in(needed))) for name, needed in as_object(value).items()} or None


def not_usable(keyword: str) -> str:
    """The finding about a number that cannot be used."""
    return f"`{keyword}` is not a number that it may be; ignored"


def is_json(value: Any, depth: int = 0) -> bool:
    """True if the value can be written as JSON. An overflowing number becomes infinity in the parser."""
    if isinstance(value, float):
        return math.isfinite(value)
    if is_object(value):
        return depth < 40 and all(is_json(member, depth + 1) for member in value.values())
    if is_array(value):
        return depth < 40 and all(is_json(member, depth + 1) for member in value)
    return True


def fits(value: Any, types: list[str]) -> bool:
    """True if the value has one of these types; an empty list allows any."""
    if not types:
        return True
    if value is None:
        kinds = {"null"}
    elif isinstance(value, bool):
        kinds = {"boolean"}
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        kinds = {"integer", "number"}
    else:
        kinds = {{float: "number", str: "string", list: "array", dict: "object"}[type(value)]}
    return not kinds.isdisjoint(types)


def distinct(values: list[Any]) -> list[Any]:
    """The distinct values by JSON's equality, in which true is not 1."""
    result: list[Any] = []
    seen: set[str] = set()
    for value in values:
        mark = f"{type(value).__name__}:{value!r}"
        if mark not in seen:
            seen.add(mark)
            result.append(value)
    return result


def short_examples(schema: JsonObject, types: list[str]) -> list[Any]:
    """At most two short plain values among `examples` and `example`; they help a model more than they cost."""
    written = (*example_values(schema.get("examples")), schema.get("example"))
    candidates = [meant(value, types) for value in written]
    short = [value for value in candidates if _is_short(value) and fits(value, types)]
    enum = as_array(schema.get("enum"))
    return distinct(short)[:2] if not enum else []


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _EXAMPLE_LIMIT
    return isinstance(value, bool | int | float) and is_json(value) and abs(value) < 1e18


_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}) | {
    "minContains",
    "maxContains",
}
NUMERIC = _COUNTS | {"minimum", "maximum", "multipleOf"}
PLAIN: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_COUNTS, count),
    **dict.fromkeys(("minimum", "maximum"), number),
    "multipleOf": step,
    "pattern": _pattern,
    **dict.fromkeys(("format", "contentEncoding", "contentMediaType"), short_text),
    **dict.fromkeys(("deprecated", "uniqueItems"), flag),
    "dependentRequired": required_by_name,
}
"""Keywords without subschemas that are read one by one."""
