"""Checks that every generated schema compiles: a schema that does not would fail the whole tool at its registration."""

import jsonschema_rs

from stoa.domain.schema.json_value import JsonObject


def is_usable(schema: JsonObject) -> bool:
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True
