"""Refuses Avro schemas without bounds: arrays of values without bytes, and defaults that grow without end.

Schemas of a few hundred bytes, in which each record has two fields of the record before, have either.
"""

from typing import Any

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

MAX_DEFAULT_VALUES = 10_000
"""Within the default of one field."""
_MAX_LEVELS = 50


class EmptyTypes:
    """Which types of a schema have values without bytes. `types`: the named ones, in the shape that AvroType gives
    them."""

    def __init__(self, types: dict[str, JsonObject]) -> None:
        self._types = types
        self._known: dict[str, bool] = {}

    def is_empty(self, part: JsonObject) -> bool:
        name = part.get("ref") or part.get("name")
        if name is None:
            return self._has_no_bytes(part)
        if name not in self._known:
            self._known[name] = True  # while it is looked at: a record within itself adds no bytes
            self._known[name] = self._has_no_bytes(self._types[name])
        return self._known[name]

    def _has_no_bytes(self, part: JsonObject) -> bool:
        match part["kind"]:
            case "null":
                return True
            case "fixed":
                return bool(part["size"] == 0)
            case "record":
                return all(self.is_empty(field["type"]) for field in part["fields"])
            case _:
                return False


def count_default_values(types: dict[str, JsonObject]) -> None:
    """Gives each field of the records that has a default `default_values`, how many values are written for it: records
    within a default may leave out fields that have defaults, too. Raises InvalidInput where they have no end."""
    for record in types.values():
        for field in record.get("fields", ()):
            if field["has_default"]:
                _counted(field, types, 0)


def _counted(field: JsonObject, types: dict[str, JsonObject], depth: int) -> int:
    count: int | None = field.get("default_values")
    if count is None:
        if depth > _MAX_LEVELS:
            raise InvalidInput("a default of the Avro schema has no end")
        field["default_values"] = MAX_DEFAULT_VALUES + 1  # while it is counted
        count = field["default_values"] = _values_of(field["default"], field["type"], types, depth + 1)
    if count > MAX_DEFAULT_VALUES:
        raise InvalidInput(f"a default of the Avro schema has no end, or more than {MAX_DEFAULT_VALUES} values in it")
    return count


def _values_of(value: Any, part: JsonObject, types: dict[str, JsonObject], depth: int) -> int:
    part = types[part["ref"]] if "ref" in part else part
    match part["kind"]:
        case "record" if is_object(value):
            return 1 + sum(
                _values_of(value[field["name"]], field["type"], types, depth)
                if field["name"] in value
                else _counted(field, types, depth)
                for field in part["fields"]
                if field["name"] in value or field["has_default"]
            )
        case "union" if value is not None:
            return max((_values_of(value, branch, types, depth) for branch in part["branches"]), default=1)
        case "array" if is_array(value):
            return 1 + sum(_values_of(entry, part["items"], types, depth) for entry in value)
        case "map" if is_object(value):
            return 1 + sum(_values_of(entry, part["items"], types, depth) for entry in value.values())
        case _:
            return 1
