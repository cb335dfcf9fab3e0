"""The last check of every schema that is made: a schema that does not compile would cost the whole tool later, at its
registration."""

import jsonschema_rs

from stoa.domain.schema.json_value import JsonObject


def is_usable(schema: JsonObject) -> bool:
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return False
    return True
