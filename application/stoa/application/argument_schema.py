"""A tool's input schema, compiled once at registration, checking arguments on each call."""

from typing import Any

import jsonschema_rs
import pydantic_core

from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.json_value import JsonObject

_MAX_VIOLATIONS = 5
_COERCIBLE: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


class ArgumentSchema:
    """Checks arguments against a JSON Schema (2020-12 unless it names another draft).

    Some clients send numbers, booleans, arrays and objects as JSON text. Where a property cannot be a string and the
    text is exactly a value of the wanted type, the value is taken; a property that may be a string gets the string.
    """

    __slots__ = ("_properties", "_validator")

    def __init__(self, schema: JsonObject) -> None:
        """Raises InvalidInput when the schema is not valid or refers outside itself."""
        try:
            self._validator = jsonschema_rs.validator_for(schema, mask="value", offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as caught:
            reason = str(caught).partition("\n")[0][:200]
            raise InvalidInput(f"inputSchema is not a usable JSON Schema: {reason}") from caught
        self._properties: JsonObject = schema.get("properties", {})

    def check(self, arguments: JsonObject) -> JsonObject:
        """The arguments to call with, usually the same object. Raises InvalidArguments with path and expectation."""
        try:
            if self._validator.is_valid(arguments):
                return arguments
            coerced = self._coerce(arguments)
            if coerced is not None and self._validator.is_valid(coerced):
                return coerced
            raise InvalidArguments(self._violations(coerced or arguments))
        except (ValueError, RecursionError) as caught:
            raise InvalidArguments([Violation("", "JSON values with at most 255 levels of nesting")]) from caught

    def _coerce(self, arguments: JsonObject) -> JsonObject | None:
        changed: JsonObject = {}
        for name, value in arguments.items():
            if isinstance(value, str) and name in self._properties:
                parsed = _parse_as(value, self._wanted(name))
                if parsed is not None:
                    changed[name] = parsed
        return {**arguments, **changed} if changed else None

    def _wanted(self, name: str) -> Any:
        schema: JsonObject | bool = self._properties[name]
        return None if isinstance(schema, bool) else schema.get("type")

    def _violations(self, arguments: JsonObject) -> list[Violation]:
        violations: list[Violation] = []
        for error in self._validator.iter_errors(arguments):
            path = "".join(f"/{_escape(str(part))}" for part in error.instance_path)
            violations.append(Violation(path, error.message[:200]))
            if len(violations) == _MAX_VIOLATIONS:
                break
        return violations


def _escape(part: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901 section 3)."""
    return part.replace("~", "~0").replace("/", "~1")[:100]


def _parse_as(text: str, wanted: Any) -> Any:
    types: list[Any] = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if "string" in types:
        return None
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
    if isinstance(value, float) and value.is_integer() and "integer" in types:
        return value  # 1.0 is an integer (JSON Schema 2020-12, validation section 6.1.1)
    for name in types:
        kind = _COERCIBLE.get(name)
        if kind is not None and isinstance(value, kind) and (name == "boolean") == isinstance(value, bool):
            return value
    return None
