"""The cost of validating with a schema: its order of growth, and the weight of one application."""

from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.domain.schema.schema_document import SchemaDocument
from stoa.domain.schema.subschemas import REFERENCES, subschemas

_MAX_APPLIED = 8
"""Upper bound on the schemas applied to one place of a value for which the cost counts as linear."""
_COMPARISONS_PER_SCHEMA = 4
"""Members of an `enum` that are objects or arrays are compared one by one; this number of them costs as much as one
schema."""


def is_linear(document: SchemaDocument) -> bool:
    """True if checking a value is linear in its size, with a small factor. Steps need not be counted then.

    It is linear if no schema leads back to itself, few are applied to the same place, and no names are matched.
    """
    try:
        return _AppliedSchemas(document).most(document.root) <= _MAX_APPLIED
    except (_TooMany, RecursionError, ValueError):
        return False


def is_weighed(schema: JsonObject) -> bool:
    """True if the schema's applications have to be counted: it has subschemas, references, or much to compare."""
    has_subschemas = next(subschemas(schema), None) is not None
    return has_subschemas or any(keyword in schema for keyword in REFERENCES) or _compound_options(schema) > 0


def weight(schema: JsonObject) -> JsonObject:
    """The cost of one application: units for each entry of the value, without the subschemas that are counted
    separately, and the patterns that each name is matched with."""
    names = as_object(schema.get("patternProperties"))
    return {"weight": 1 + sum(1 for _ in subschemas(schema)) + _compound_options(schema), "names": list(names)}


def _compound_options(schema: JsonObject) -> int:
    """Members of `enum` that are objects or arrays."""
    options = schema.get("enum")
    return sum(1 for option in options if isinstance(option, (dict, list))) if is_array(options) else 0


class _TooMany(Exception):
    """Ends the search: checking is not linear."""


class _AppliedSchemas:
    """Computes the most schemas that may be applied to one place of a value."""

    def __init__(self, document: SchemaDocument) -> None:
        self._document = document
        self._counts: dict[int, int] = {}
        self._open: set[int] = set()
        """Schemas that are being counted: meeting one again means recursion."""

    def most(self, schema: Any) -> int:
        """The most for `schema` and all places below it. Raises _TooMany."""
        if not is_object(schema):
            return 1
        count = self._counts.get(id(schema))
        if count is not None:
            return count
        if id(schema) in self._open:
            raise _TooMany
        self._open.add(id(schema))
        here = self._in_place(schema, [])
        own = sum(1 + _compound_options(applied) // _COMPARISONS_PER_SCHEMA for applied in here)
        count = max(own, sum(self._below(applied) for applied in here))
        self._open.discard(id(schema))
        if count > _MAX_APPLIED:
            raise _TooMany
        self._counts[id(schema)] = count
        return count

    def _in_place(self, schema: JsonObject, into: list[JsonObject]) -> list[JsonObject]:
        """`schema` and all schemas applied to the same value with it, each as often as it is applied."""
        if "patternProperties" in schema or "$dynamicRef" in schema or "$recursiveRef" in schema:
            raise _TooMany
        into.append(schema)
        if len(into) > _MAX_APPLIED:
            raise _TooMany
        if "$ref" in schema:
            target = self._document.referred(schema)
            if target is None:
                raise _TooMany  # it may lead anywhere
            if is_object(target):
                self._in_place(target, into)
        for subschema in subschemas(schema):
            if subschema.place == "here" and is_object(subschema.schema):
                self._in_place(subschema.schema, into)
        return into

    def _below(self, schema: JsonObject) -> int:
        # Of named members and positions one applies to a given place; `items`, `contains` and the like all may.
        alternative, common = 0, 0
        for subschema in subschemas(schema):
            if subschema.place != "below":
                continue
            if subschema.keyword in {"properties", "prefixItems"} or isinstance(subschema.key, int):
                alternative = max(alternative, self.most(subschema.schema))
            else:
                common += self.most(subschema.schema)
        return alternative + common
