"""A tool's output schema in the form that can be promised to clients.

Clients reject a result that violates the published schema, and real APIs do not keep to their documents. So the
published schema is relaxed to the possible answers, and an answer that still does not fit keeps its text and the
fitting part of its structured content. No call fails because of its output schema.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pydantic_core

from stoa.application.schemas.bounded_validator import BoundedValidator, TooCostly, is_plain_json
from stoa.application.schemas.coercion import MAX_NOTES, ObjectPlan, note
from stoa.application.schemas.coercion_plan import coercion_plan
from stoa.application.schemas.patterns import Pattern, PatternAllowance, compiled
from stoa.application.schemas.pruning import pruned
from stoa.domain.errors import InvalidInput
from stoa.domain.results.result import MISSING, ToolResult
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

_log = logging.getLogger(__name__)

_LARGE_BYTES = 64 * 1024
"""Bytes from which on a schema is compiled at its registration: some milliseconds, which no answer should wait for."""

_KEPT = frozenset({"title", "description", "$ref", "$schema", "$id", "$anchor"})
_PATTERNED = frozenset({"patternProperties", "additionalProperties"})
"""Patterns of names. `additionalProperties` applies to names that `patternProperties` does not match."""
_SUBSCHEMAS = frozenset({"items", "additionalProperties"})
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties"})


def relaxed(schema: Any, *, is_root: bool = True) -> Any:
    """The same shape without constraints: nothing required, no ranges, formats or enumerations, null allowed everywhere
    below the root. Every value that satisfies `schema` satisfies it too."""
    if not is_object(schema):
        return True
    loose: JsonObject = {}
    for keyword, value in schema.items():
        if keyword in _PATTERNED and not _can_match(schema.get("patternProperties")):
            continue
        if keyword in _KEPT:
            loose[keyword] = value
        elif keyword in _MAPS and is_object(value):
            loose[keyword] = {name: relaxed(sub, is_root=False) for name, sub in value.items()}
        elif keyword in _SUBSCHEMAS:
            if keyword != "items" or "prefixItems" not in schema:  # alone, `items` would claim the first ones as well
                loose[keyword] = relaxed(value, is_root=False)
        elif keyword in {"anyOf", "oneOf"} and not is_root and is_array(value):
            loose["anyOf"] = [*(relaxed(branch, is_root=False) for branch in value), {"type": "null"}]
        elif keyword == "type":
            loose["type"] = value if is_root else _nullable(value)
    return loose


def _can_match(patterns: Any) -> bool:
    """True if all patterns of names are of the linear kind. Others could not be matched with each name of an answer."""
    try:
        return all(compiled(name).is_linear for name in as_object(patterns))
    except InvalidInput:
        return False


def _nullable(types: Any) -> list[Any]:
    named: list[Any] = types if is_array(types) else [types]
    return named if "null" in named else [*named, "null"]


def _is_costly(schema: JsonObject) -> bool:
    """True if compiling it would keep a call waiting, or its patterns have to be counted at its registration."""
    written = pydantic_core.to_json(schema)
    return len(written) > _LARGE_BYTES or b'"patternProperties"' in written


class OutputSchema:
    """Fits results to the published schema of one tool."""

    __slots__ = ("_name", "_plan", "_published", "_schema", "_validator")

    def __init__(
        self, name: str, schema: JsonObject, allowance: PatternAllowance | None = None, *, is_checked: bool = False
    ) -> None:
        """Raises InvalidInput if the schema is unusable or does not describe an object. `allowance`: limits the memory
        of its patterns. `is_checked`: the schema was compiled before, so that here it is compiled with the first call
        (`make_ready`), unless it is very large or has patterns."""
        self._name = name
        self._schema = schema
        self._plan: ObjectPlan | None = None
        self._published: JsonObject = {}
        self._validator: BoundedValidator | None = None
        if not is_checked or _is_costly(schema):
            self.make_ready(allowance)

    def make_ready(self, allowance: PatternAllowance | None = None) -> BoundedValidator:
        """Compile the schema; `allowance` as above."""
        if self._validator is not None:
            return self._validator
        published = relaxed(self._schema)
        if published.get("type") != "object":
            raise InvalidInput("outputSchema: its root must have type object")
        try:
            validator = BoundedValidator(published, allowance)
        except InvalidInput as refused:
            raise InvalidInput(f"outputSchema is not a usable JSON Schema: {refused.message}") from refused
        if not validator.is_valid({}):
            raise InvalidInput("outputSchema: its root must have type object, also where it refers to ($ref)")
        self._published = published
        self._validator = validator
        return validator

    def fit(self, result: ToolResult, *, is_parsed: bool = False) -> ToolResult:
        """`result` with structured content that satisfies the published schema; an error stays as it is. `is_parsed`:
        the content was read from JSON, so it can be nothing else."""
        if result.is_error:
            return result
        structured = result.structured
        if structured is not MISSING and self._fits(structured, is_parsed=is_parsed):
            return result
        _log.warning("the answer does not fit the tool's output schema", extra={"tool": self._name})
        fitting: JsonObject = {}
        omitted: tuple[str, ...] = () if structured is MISSING else ("",)
        if is_object(structured) and is_plain_json(structured):
            fitting, omitted = self._fitting_part(structured)
        return replace(result, structured=fitting, omitted=omitted)

    def _fitting_part(self, structured: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
        """The fitting part of an object that does not fit, and the places that are left out."""
        if self._plan is None:  # made for the first answer that needs it
            self._plan = coercion_plan(self._published, is_lenient=True) or ObjectPlan()
        fitting, omitted = pruned(self._plan, structured)
        if self._fits(fitting):
            return fitting, omitted
        members, missed = self._fitting_members(fitting)
        return (members, (*omitted, *missed)[:MAX_NOTES]) if self._fits(members) else ({}, ("",))

    def _fitting_members(self, structured: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
        """The members that fit by themselves, judged as far as the work of one check allows."""
        named = as_object(self._published.get("properties"))
        fitting: JsonObject = {}
        missed: dict[str, None] = {}
        work = self._checker.work
        left = work.limit
        for name, value in structured.items():
            if left > 0 and self._fits({name: value}):
                fitting[name] = value
            else:
                note(missed, (None, name if name in named else "*"))
            left -= work.limit - work.left
        return fitting, tuple(missed)

    @property
    def patterns(self) -> Iterable[Pattern]:
        return () if self._validator is None else self._validator.patterns.values()

    @property
    def _checker(self) -> BoundedValidator:
        return self._validator or self.make_ready()

    def _fits(self, structured: Any, *, is_parsed: bool = False) -> bool:
        try:
            return (is_parsed or is_plain_json(structured)) and self._checker.is_valid(structured)
        except TooCostly:
            return False
