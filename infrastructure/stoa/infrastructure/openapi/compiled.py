"""Checks that every generated schema compiles: a schema that does not would fail the whole tool at its registration."""

from typing import Any

import jsonschema_rs

from stoa.domain.schema.json_value import JsonObject, as_object


class UsableSchemas:
    """Checks the schemas of one conversion. A definition that several of them share is compiled once."""

    def __init__(self) -> None:
        self._usable: dict[int, Any] = {}
        """Definitions that were compiled, by their identity; kept here, so that it is not that of others later."""

    def has(self, schema: JsonObject) -> bool:
        """True if the schema can be compiled. It and its parts must not be changed later."""
        definitions = as_object(schema.get("$defs"))
        if not definitions:
            return _compiles(schema)
        # `true` in their place: what refers to them is checked with it.
        shown = {name: True if id(body) in self._usable else body for name, body in definitions.items()}
        if not _compiles({**schema, "$defs": shown}):
            return False
        self._usable.update((id(body), body) for body in definitions.values())
        return True


def _compiles(schema: JsonObject) -> bool:
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True
