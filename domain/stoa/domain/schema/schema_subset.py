"""Compares two JSON Schemas (2020-12): does one accept all that the other accepts, as far as their keywords show?"""

from collections.abc import Sequence
from typing import Any

from stoa.domain.schema.json_pointer import ABSENT, resolve, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_array, is_object

_NOTES = frozenset({"title", "description", "default", "examples", "deprecated", "$comment", "$defs"})
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UNDERSTOOD = (
    frozenset({"$ref", "type", "enum", "const", "anyOf", "oneOf", "properties", "required", "additionalProperties"})
    | {"items", *_UPPER, *_LOWER}
    | _NOTES
)
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_MOST_STEPS = 100_000


class SchemaSubset:
    """Compares parts of two documents. A False says that it could not be shown, not that it is wrong: keywords that are
    compared by their text only, such as `pattern`, leave doubt wherever they differ."""

    def __init__(self, narrow: JsonObject, wide: JsonObject) -> None:
        self._narrow, self._wide = narrow, wide
        self._assumed: set[tuple[int, int]] = set()
        self._made: list[JsonObject] = []
        """Schemas made on the way, kept because `_assumed` knows schemas by their identity."""
        self._steps = 0

    def holds(self) -> bool:
        """True if every instance of the first schema is one of the second."""
        return self._is_within(self._narrow, self._wide)

    def _is_within(self, narrow: Any, wide: Any) -> bool:
        self._steps += 1
        narrow, wide = _followed(narrow, self._narrow), _followed(wide, self._wide)
        pair = (id(narrow), id(wide))
        if pair in self._assumed:  # a circle, or a pair seen before: either is decided where it began
            return True
        if narrow is False or wide is True or self._steps > _MOST_STEPS:
            return self._steps <= _MOST_STEPS
        if wide is False:
            return False
        narrow, wide = as_object(narrow), as_object(wide)
        if not wide.keys() - _NOTES:
            return True
        self._assumed.add(pair)
        is_within = self._are_alternatives_within(narrow, wide)
        if not is_within:
            self._assumed.discard(pair)
        return is_within

    def _are_alternatives_within(self, narrow: JsonObject, wide: JsonObject) -> bool:
        for keyword in ("anyOf", "oneOf"):
            if keyword in narrow:
                rest = {name: value for name, value in narrow.items() if name != keyword}
                return all(self._is_within(self._with(rest, branch), wide) for branch in narrow[keyword])
        for keyword in ("anyOf", "oneOf"):
            if keyword in wide:
                rest = {name: value for name, value in wide.items() if name != keyword}
                self._made.append(rest)
                return self._is_within(narrow, rest) and any(
                    self._is_within(narrow, branch) for branch in wide[keyword]
                )
        return (
            _are_values_within(narrow, wide)
            and _are_bounds_within(narrow, wide)
            and all(narrow.get(name) == wide[name] for name in wide.keys() - _UNDERSTOOD)
            and self._are_members_within(narrow, wide)
            and ("items" not in wide or self._is_within(narrow.get("items", True), wide["items"]))
        )

    def _with(self, rest: JsonObject, branch: Any) -> Any:
        """A branch of the first schema with the keywords next to its alternatives."""
        if not rest.keys() - _NOTES or not is_object(branch):
            return branch
        made = {**rest, **as_object(_followed(branch, self._narrow))}
        self._made.append(made)
        return made

    def _are_members_within(self, narrow: JsonObject, wide: JsonObject) -> bool:
        if not set(as_array(wide.get("required"))) <= set(as_array(narrow.get("required"))):
            return False
        members, wide_members = as_object(narrow.get("properties")), as_object(wide.get("properties"))
        others, wide_others = narrow.get("additionalProperties", True), wide.get("additionalProperties", True)
        for name, member in members.items():
            if not self._is_within(member, wide_members.get(name, wide_others)):
                return False
        # A member that only the wide schema declares could be any other member before; that is not held against it.
        return wide_others is True or wide_others == {} or self._is_within(others, wide_others)


def is_within(narrow: JsonObject, wide: JsonObject) -> bool:
    """True if every instance of `narrow` is shown to be one of `wide`."""
    return SchemaSubset(narrow, wide).holds()


def without_notes(schema: Any, *, is_names: bool = False) -> Any:
    """The schema without what explains it only. `is_names`: a mapping of names to schemas."""
    if is_array(schema):
        return [without_notes(part) for part in schema]
    if not is_object(schema):
        return schema
    if is_names:
        return {name: without_notes(part) for name, part in schema.items()}
    return {
        name: part if name in {"enum", "const"} else without_notes(part, is_names=name in {"properties", "$defs"})
        for name, part in schema.items()
        if name not in _NOTES or name == "$defs"
    }


def _followed(schema: Any, root: JsonObject) -> Any:
    for _ in range(50):
        reference = as_object(schema).get("$ref")
        if not isinstance(reference, str):
            return schema
        target = resolve(root, tokens_of_fragment(reference.removeprefix("#")))
        if target is ABSENT:
            return {}
        schema = target
    return schema


def _types(schema: JsonObject) -> frozenset[str]:
    written = schema.get("type")
    types = _TYPES if written is None else frozenset([written] if isinstance(written, str) else as_array(written))
    return types | {"integer"} if "number" in types else types


def _are_values_within(narrow: JsonObject, wide: JsonObject) -> bool:
    values = _values(narrow)
    wide_values = _values(wide)
    if wide_values is not None:
        return values is not None and all(value in wide_values for value in values)
    if values is not None and "type" not in narrow:
        return all(_type_of(value) in _types(wide) for value in values)
    return _types(narrow) <= _types(wide)


def _values(schema: JsonObject) -> Sequence[Any] | None:
    return [schema["const"]] if "const" in schema else as_array(schema["enum"]) if "enum" in schema else None


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if is_array(value) else "object" if is_object(value) else "null"


def _are_bounds_within(narrow: JsonObject, wide: JsonObject) -> bool:
    if _values(narrow) is not None and narrow.keys() <= _NOTES | {"enum", "const", "type"}:
        return not wide.keys() & {*_UPPER, *_LOWER} or _values(wide) is not None
    above = all(narrow.get(name, float("inf")) <= wide[name] for name in _UPPER if name in wide)
    return above and all(narrow.get(name, float("-inf")) >= wide[name] for name in _LOWER if name in wide)
