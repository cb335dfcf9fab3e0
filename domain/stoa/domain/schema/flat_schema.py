"""A schema without `$ref` and `allOf` at its top: everything that applies to one value, in one object of keywords.

The schemas within it (members, items, alternatives) stay as they are written, so that flattening a recursive schema
ends.
"""

from collections.abc import Callable, Mapping
from typing import Any

from stoa.domain.schema.json_pointer import resolve, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_array, is_object, texts_in
from stoa.domain.schema.subschemas import DEFINITIONS

NOTES = frozenset({"title", "description", "default", "examples"})
"""Keywords that constrain nothing."""
_IN_PLACE_LIMIT = 64
"""References and `allOf` within each other that are followed for one value; a schema that is defined as itself has no
end."""
_NEVER: JsonObject = {"not": {}}

Trail = tuple[str, ...]
"""References that were followed on the way to a schema, outermost first."""


class References:
    """Follows the references of one schema: JSON Pointers into the schema itself."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._targets: dict[str, Any] = {}
        self._noted: dict[str, Any] = {}

    def target(self, reference: str) -> Any:
        """The schema that `reference` leads to; None if it leads out of the schema or to no schema."""
        if reference not in self._targets:
            is_pointer = reference == "#" or reference.startswith("#/")
            target = resolve(self._root, tokens_of_fragment(reference[1:])) if is_pointer else None
            self._targets[reference] = target if isinstance(target, (dict, bool)) else None
        self._noted[reference] = target = self._targets[reference]
        return target

    def note_targets(self) -> dict[str, Any]:
        """A dictionary that gets the references followed from now on, with what they lead to, until the next call."""
        self._noted = {}
        return self._noted

    def flat(self, schema: Any, trail: Trail) -> tuple[JsonObject, Trail]:
        """The keywords that apply to a value of `schema`, and `trail` with the references that were followed."""
        followed: list[str] = []
        flat = self._flat(schema, followed, _IN_PLACE_LIMIT)
        return flat, (*trail, *followed) if followed else trail

    def _flat(self, schema: Any, followed: list[str], left: int) -> JsonObject:
        if schema is False:
            return _NEVER
        if not is_object(schema) or left == 0:
            return {}
        if "$ref" not in schema and "allOf" not in schema:
            return schema
        flat: JsonObject = {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = self.target(reference)
            if target is None:
                flat = {"description": f"{name_of(reference)}, not described further here"}
            elif followed.count(reference) == 0:
                followed.append(reference)
                flat = self._flat(target, followed, left - 1)
        for part in as_array(schema.get("allOf")):
            flat = merged(flat, self._flat(part, followed, left - 1))
        own = {key: value for key, value in schema.items() if key not in {"$ref", "allOf"} and key not in DEFINITIONS}
        return merged(flat, own)


def name_of(reference: str) -> str:
    """The last part of a reference, which is the name of what it leads to."""
    return reference.rpartition("/")[2].lstrip("#") or "the whole again"


def is_never(schema: Any) -> bool:
    """True if no value satisfies `schema`, as far as its top says."""
    return schema is False or (is_object(schema) and schema.get("not") in ({}, True))


def merged(first: JsonObject, second: JsonObject) -> JsonObject:
    """One schema for both. Where they cannot be expressed together, it accepts more than they do; notes of `second`
    win. No value satisfies two that have no type in common."""
    if not first or not second:
        return first or second
    if "type" in first and "type" in second and not _types(first["type"], second["type"]):
        return _NEVER
    both = dict(first)
    for keyword, value in second.items():
        present = both.get(keyword)
        if keyword not in both or keyword in NOTES:
            both[keyword] = value
        elif present != value and (join := _JOINED.get(keyword)) is not None:
            both[keyword] = join(present, value)
    return both


def _members(first: Any, second: Any) -> JsonObject:
    members = dict(as_object(first))
    for name, schema in as_object(second).items():
        present = members.get(name)
        members[name] = schema if name not in members or present == schema else {"allOf": [present, schema]}
    return members


def _names(first: Any, second: Any) -> list[str]:
    return list(dict.fromkeys([*texts_in(first), *texts_in(second)]))


def _types(first: Any, second: Any) -> Any:
    """The types that both allow."""
    allowed = types_in(second)
    common = [name for name in types_in(first) if name in allowed or (name == "integer" and "number" in allowed)]
    if "integer" in allowed and "number" in types_in(first) and "integer" not in common:
        common.append("integer")
    return common


def _values(first: Any, second: Any) -> Any:
    return [value for value in as_array(first) if value in as_array(second)] or first


def _schemas(first: Any, second: Any) -> Any:
    if isinstance(first, bool) or isinstance(second, bool):
        return second if isinstance(first, bool) else first
    return {"allOf": [first, second]}


def _stricter(choose: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def join(first: Any, second: Any) -> Any:
        return choose(first, second) if is_number(first) and is_number(second) else first

    return join


_JOINED: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "properties": _members,
    "required": _names,
    "enum": _values,
    "items": _schemas,
    "additionalProperties": _schemas,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), _stricter(max)),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), _stricter(min)),
}


def types_in(written: Any) -> list[str]:
    """The types that `type` names."""
    return (
        [written] if isinstance(written, str) else list(dict.fromkeys(texts_in(written))) if is_array(written) else []
    )


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
