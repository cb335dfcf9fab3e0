"""The last check of every schema we make: does the validator take it? What it refuses here it would refuse at
registration, and with it the whole tool."""

import jsonschema_rs

from stoa.domain.schema.json_value import JsonObject


def is_usable(schema: JsonObject) -> bool:
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True
