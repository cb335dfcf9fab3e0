"""JSON Schema validation with bounded work, for every schema and value.

The validation itself is done by a library that is fast and cannot be interrupted. Simple schemas are given to it
unchanged, because their cost is linear in the value; others are rewritten so that it counts its steps
(`step_counting`). Patterns and the comparison of all entries with each other are done here.
"""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from stoa.application.schemas.patterns import (
    MAX_SCHEMA_SIZE,
    Pattern,
    PatternAllowance,
    PatternTooCostly,
    patterns_in,
    timed_match,
)
from stoa.application.schemas.step_counting import COUNT, counted
from stoa.application.schemas.unevaluated import check_unevaluated
from stoa.application.schemas.validation_cost import is_linear, weight
from stoa.application.schemas.violations import violations_of
from stoa.domain.errors import InvalidInput, Violation
from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.domain.schema.schema_document import SchemaDocument

MAX_DEPTH = 512
"""Levels of nesting in a value."""
WORK_LIMIT = 2_000_000
"""Units of work in one check; a unit takes some 15 ns."""

_STEP = 60
_COMPARED = 90
_COMPARED_ALIKE = 8
_NS_PER_UNIT = 15


class TooCostly(Exception):
    """The check was given up: it is unknown if the value fits."""


class Work:
    """The units of work that are left for one check."""

    __slots__ = ("left", "limit", "steps")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit
        self.steps = 0
        """The number of times that the counting keyword was called."""

    def spend(self, units: int) -> None:
        """Spend units of work. Raises TooCostly once they are used up, from then on always: the validator takes it for
        a mismatch and comes to an end."""
        self.steps += 1
        self.left -= units
        if self.left < 0:
            raise TooCostly


class BoundedValidator:
    """A compiled schema. Belongs to one thread at a time."""

    __slots__ = ("_root", "_validator", "document", "patterns", "work")

    def __init__(
        self,
        schema: JsonObject,
        allowance: PatternAllowance | None = None,
        *,
        limit: int = WORK_LIMIT,
        patterns: Mapping[str, Pattern] | None = None,
    ) -> None:
        """Raises InvalidInput if the schema is not valid, refers outside itself, or has patterns that are too large.
        `allowance`: limits the memory of its patterns. `limit`: units of work in one check. `patterns`: those of the
        schema, if they are compiled already."""
        self.patterns = patterns_of(schema, allowance) if patterns is None else patterns
        self.work = Work(limit)
        self.document = SchemaDocument(schema)
        self._root: Any = None
        rewritten = schema
        try:
            if not is_linear(self.document):
                jsonschema_rs.meta.validate(schema)  # before it is rewritten: an error is about what was written
                check_unevaluated(schema)
                rewritten = counted(self.document)
                self._root = _counting(self.patterns, self.work)(schema, weight(schema), [])
            self._validator = _compile(rewritten, self.patterns, self.work)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError) as caught:
            raise InvalidInput(_reason(caught)) from caught

    def is_valid(self, value: Any) -> bool:
        """True if the value fits the schema. Raises TooCostly, and ValueError for a value that is not JSON."""
        self.work.left, self.work.steps = self.work.limit, 0
        if self._root is not None:
            self._root.validate(value)
        answer = bool(self._validator.is_valid(value))
        if self.work.left < 0:
            raise TooCostly
        return answer

    def violations(self, value: Any) -> list[Violation]:
        """The places where an invalid value does not fit: at least one, naming places and never values."""
        return violations_of(self.document, self.patterns, value)


def _reason(caught: Exception) -> str:
    """The problem in one line, with its place in the schema as authors write it."""
    message = str(caught).partition("\n")[0][:200]
    if not isinstance(caught, jsonschema_rs.ValidationError) or not caught.instance_path:
        return message
    if caught.schema_path[-2:] == ["type", "anyOf"]:  # the meta-schema's words say nothing to an author
        message = "write string, number, integer, boolean, object, array or null, or a list of these"
    return f"{'.'.join(map(str, caught.instance_path))[:200]}: {message}"


def patterns_of(schema: JsonObject, allowance: PatternAllowance | None = None) -> dict[str, Pattern]:
    """The compiled patterns of a schema by their texts, counted in `allowance`. Raises InvalidInput."""
    allowance = allowance or PatternAllowance(MAX_SCHEMA_SIZE)
    patterns: dict[str, Pattern] = {}
    for text, is_name in patterns_in(schema):
        if text not in patterns:
            patterns[text] = allowance.compile(text)
        if is_name and not patterns[text].is_linear:
            raise InvalidInput(
                f"patternProperties: {text[:80]!r} has look-around or back references, which names are not matched "
                "with; write it without"
            )
    return patterns


def _compile(schema: JsonObject, patterns: Mapping[str, Pattern], work: Work) -> Any:
    keywords: dict[str, Any] = {}
    text = json.dumps(schema, default=str)
    if COUNT in text:
        keywords[COUNT] = _counting(patterns, work)
    if patterns:
        keywords["pattern"] = _matching(patterns, work)
    if "uniqueItems" in text:
        keywords["uniqueItems"] = _distinguishing(work)
    return jsonschema_rs.validator_for(
        schema, keywords=keywords, pattern_options=jsonschema_rs.RegexOptions(), offline=True
    )


def _counting(patterns: Mapping[str, Pattern], work: Work) -> type:
    class Count:
        def __init__(self, _: Any, value: Any, path: Any) -> None:  # noqa: ARG002  # what the library passes
            self._weight: int = value["weight"]
            self._per_letter = sum(patterns[name].units for name in value["names"])

        def validate(self, instance: Any) -> None:
            size = len(instance) if is_object(instance) else len(_entries(instance) or ())
            work.spend(_STEP + self._weight * (size + 1))
            if self._per_letter and is_object(instance):
                work.spend(self._per_letter * sum(map(len, instance)))

    return Count


def _matching(patterns: Mapping[str, Pattern], work: Work) -> type:
    class Match:
        def __init__(self, _: Any, value: Any, path: Any) -> None:  # noqa: ARG002  # what the library passes
            self._pattern = patterns[value]

        def validate(self, instance: Any) -> None:
            if not isinstance(instance, str):
                return
            work.spend(_STEP)
            try:
                is_found, spent = timed_match(self._pattern, instance)
            except PatternTooCostly:
                work.left = -1
                raise TooCostly from None
            work.spend(spent // _NS_PER_UNIT)
            if not is_found:
                raise ValueError("pattern")

    return Match


def _distinguishing(work: Work) -> type:
    """The keyword `uniqueItems` in linear time. The library compares each pair once a number has more than 64 bits."""

    class Distinguish:
        def __init__(self, _: Any, value: Any, path: Any) -> None:  # noqa: ARG002  # what the library passes
            self._is_demanded = value is True

        def validate(self, instance: Any) -> None:
            entries = _entries(instance)
            if not self._is_demanded or entries is None:
                return
            work.spend(_STEP + _COMPARED_ALIKE * len(entries))
            kinds = set(map(type, entries))
            if kinds == {str}:
                different = len(set(entries))
            elif kinds == {int}:  # as texts, whose hashes cannot be foreseen
                different = len(set(map(str, entries)))
            else:
                different = len({_identity(entry, work) for entry in entries})
            if different < len(entries):
                raise ValueError("uniqueItems")

    return Distinguish


def _identity(value: Any, work: Work) -> str:
    """A text that is equal for equal JSON values only (2020-12 core section 4.2.2)."""
    work.spend(_COMPARED)
    if isinstance(value, str):
        return f'"{value}'
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    entries = _entries(value)
    if entries is not None:
        return f"[{','.join(_framed(_identity(entry, work)) for entry in entries)}]"
    if is_object(value):
        members = sorted(value.items())
        return f"{{{','.join(_framed(name) + _framed(_identity(member, work)) for name, member in members)}}}"
    return str(value)


def _entries(value: Any) -> list[Any] | None:
    """The entries of an array, which may be a tuple in a program that embeds the gateway; None for other values."""
    if issubclass(type(value), tuple):
        value = list(value)
    return value if is_array(value) else None


def _framed(text: str) -> str:
    return f"{len(text)}:{text}"


def _plain_json() -> Any:
    """A validator that accepts each JSON value down to MAX_DEPTH and nothing else; an infinite number has no type."""
    types = ["null", "boolean", "integer", "number", "string"]
    defined: JsonObject = {f"level{MAX_DEPTH}": {"type": types}}
    for level in range(MAX_DEPTH):
        below = {"$ref": f"#/$defs/level{level + 1}"}
        defined[f"level{level}"] = {"type": [*types, "array", "object"], "items": below, "additionalProperties": below}
    return jsonschema_rs.validator_for({"$ref": "#/$defs/level0", "$defs": defined}, offline=True)


_PLAIN_JSON = _plain_json()


def is_plain_json(value: Any) -> bool:
    """True if JSON can represent the value in at most MAX_DEPTH levels."""
    try:
        return bool(_PLAIN_JSON.is_valid(value))
    except (ValueError, RecursionError):
        return False
