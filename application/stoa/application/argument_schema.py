"""A tool's input schema, compiled once at registration, checking arguments on each call."""

import math
from collections.abc import Iterable
from typing import Any

import pydantic_core

from stoa.application.bounded_validator import MAX_DEPTH, BoundedValidator, TooCostly, is_plain_json
from stoa.application.patterns import Pattern, PatternAllowance
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.json_value import JsonObject, as_object

TOO_COSTLY = "fewer or simpler values: to check these takes more work than one call may cause"

_COERCIBLE: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_NUMBERS = frozenset({"integer", "number"})
_TYPES_BY_FIRST = {
    "{": frozenset({"object"}),
    "[": frozenset({"array"}),
    "t": frozenset({"boolean"}),
    "f": frozenset({"boolean"}),
}
"""What a JSON text with this first character can be; with any other it is a number, or nothing that is coerced."""


class ArgumentSchema:
    """Normalises arguments, and checks them against a JSON Schema (2020-12 unless it names another draft).

    Some clients send numbers, booleans, arrays and objects as JSON text. Where a property cannot be a string and the
    text is exactly a value of the wanted type, the value is taken; a property that may be a string gets the string.
    """

    __slots__ = ("_coerced", "_validator")

    def __init__(self, schema: JsonObject, allowance: PatternAllowance | None = None) -> None:
        """Raises InvalidInput when the schema is not valid, refers outside itself, or has patterns that are too large.
        `allowance`: what its patterns may take."""
        try:
            self._validator = BoundedValidator(schema, allowance)
        except InvalidInput as refused:
            raise InvalidInput(f"inputSchema is not a usable JSON Schema: {refused.message}") from refused
        self._coerced = _coerced_properties(schema)

    def normalise(self, arguments: JsonObject) -> JsonObject:
        """The arguments as the policy, the check and the back end get them: the same object when nothing is coerced.

        Never raises and validates nothing, so that it may run before the caller is known to be allowed.
        Normalising twice is normalising once. Work: linear in the texts that are parsed.
        """
        changed: JsonObject = {}
        for name, value in arguments.items():
            if isinstance(value, str) and name in self._coerced:
                parsed = _parse_as(value, self._coerced[name])
                if parsed is not None:
                    changed[name] = parsed
        return {**arguments, **changed} if changed else arguments

    def check(self, arguments: JsonObject) -> None:
        """Check normalised arguments. Raises InvalidArguments with path and expectation.

        The work is bounded: arguments that would take more are refused like those that do not fit.
        """
        if not is_plain_json(arguments):
            raise InvalidArguments([Violation("", f"JSON values with at most {MAX_DEPTH} levels of nesting")])
        try:
            if self._validator.is_valid(arguments):
                return
        except TooCostly:
            raise InvalidArguments([Violation("", TOO_COSTLY)]) from None
        raise InvalidArguments(self._validator.violations(arguments))

    @property
    def patterns(self) -> Iterable[Pattern]:
        return self._validator.patterns.values()


def _coerced_properties(schema: JsonObject) -> dict[str, frozenset[str]]:
    """The types of each property that JSON text may stand for."""
    if "$ref" in schema and _ignores_siblings(schema.get("$schema")):
        return {}
    found: dict[str, frozenset[str]] = {}
    for name, property_schema in as_object(schema.get("properties")).items():
        wanted = as_object(property_schema).get("type")
        types = frozenset([wanted] if isinstance(wanted, str) else wanted or ())
        if "string" not in types and not types.isdisjoint(_COERCIBLE):
            found[name] = types
    return found


def _ignores_siblings(draft: Any) -> bool:
    """Up to draft 7, members beside `$ref` mean nothing."""
    return isinstance(draft, str) and "/draft-0" in draft


def _parse_as(text: str, types: frozenset[str]) -> Any:
    """The value of one of `types` that `text` is, or None."""
    first = text.lstrip(" \t\r\n")[:1]
    if not first or types.isdisjoint(_TYPES_BY_FIRST.get(first, _NUMBERS)):
        return None  # most texts need no parser to be seen through
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
    if isinstance(value, float):
        if not math.isfinite(value):  # 1e400 is JSON, and no number that could be sent on
            return None
        if value.is_integer() and "integer" in types:
            return value  # 1.0 is an integer (JSON Schema 2020-12, validation section 6.1.1)
    for name in types:
        kind = _COERCIBLE.get(name)
        if kind is not None and isinstance(value, kind) and (name == "boolean") == isinstance(value, bool):
            return value
    return None
