"""Input and output schemas of Kafka tools, put together from the schemas of their parts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from stoa.domain.operations.binding import StreamBounds
from stoa.domain.schema.json_value import JsonObject, as_array, as_object

PARAMETER_PATTERN = "^[A-Za-z0-9_-]+$"
"""Of the value of a topic's parameter. Without dots, which separate the parts of names: a value must not lead to a
topic that the name does not show."""
MAX_PARTITION = 2**31 - 1
DEFAULT_LIMIT = 10


class PartSchema(NamedTuple):
    """A JSON Schema, and its `$defs`."""

    schema: JsonObject
    definitions: JsonObject = {}  # noqa: RUF012  # never changed


ANY_HEADERS: JsonObject = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "Headers of the record",
}
_OFFSET: JsonObject = {"type": "integer", "minimum": 0}
_RECORD: JsonObject = {
    "partition": {"type": "integer"},
    "offset": {"type": "integer"},
    "timestamp": {"type": "integer", "description": "Milliseconds since 1970-01-01T00:00:00Z"},
}


def write_arguments(
    value: PartSchema,
    key: PartSchema,
    headers: JsonObject | None,
    parameters: dict[str, JsonObject],
    *,
    is_key_required: bool = False,
) -> JsonObject:
    """Of `produce` and `request`. `headers` None: the message has none."""
    properties: JsonObject = {**_parameters(parameters), "value": value.schema}
    required = [*_required(parameters), "value", *(["key"] if is_key_required else [])]
    key_note = "Key of the record: those of one key stay in order"
    properties["key"] = {"description": key_note, **key.schema}
    if headers is not None:
        properties["headers"] = headers
        required += ["headers"] if headers.get("required") else []
    properties["partition"] = {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_PARTITION,
        "description": "Partition to write to; absent: the key decides",
    }
    return _object(properties, required, {**value.definitions, **key.definitions})


def read_arguments(key: PartSchema, parameters: dict[str, JsonObject], bounds: StreamBounds) -> JsonObject:
    most = bounds.max_messages
    properties: JsonObject = {
        **_parameters(parameters),
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": most,
            "default": min(DEFAULT_LIMIT, most),
            "description": "How many records to read. Without since, offsets and waitSeconds: the last ones",
        },
        "since": {"type": "string", "format": "date-time", "description": "Read from this time on (RFC 3339)"},
        "offsets": {
            "type": "object",
            "propertyNames": {"pattern": "^(0|[1-9][0-9]{0,9})$"},
            "additionalProperties": _OFFSET,
            "description": "Read from these offsets on, by partition, as nextOffsets of an earlier answer has them",
        },
        "partition": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_PARTITION,
            "description": "Read this partition alone",
        },
        "key": {"description": "Only records with this key", **key.schema},
        "waitSeconds": {
            "type": "number",
            "minimum": 0,
            "maximum": bounds.max_seconds,
            "description": "Wait so long for a record if there is none. Without since and offsets: for new ones alone",
        },
    }
    return _object(properties, _required(parameters), key.definitions)


def receipt_schema() -> JsonObject:
    """What `produce` answers."""
    return _object({"topic": {"type": "string"}, **_RECORD}, ["topic", "partition"], {})


def records_schema(value: PartSchema, key: PartSchema) -> JsonObject:
    """What `read` answers."""
    properties: JsonObject = {
        "records": {"type": "array", "items": {"type": "object", "properties": _record(value, key)}},
        "end": {
            "type": "string",
            "enum": ["completed", "maxMessages", "maxBytes", "maxDuration"],
            "description": "Why no more was read; completed: there is no more",
        },
        "nextOffsets": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    return _object(properties, ["records", "end", "nextOffsets"], {**value.definitions, **key.definitions})


def reply_schema(value: PartSchema) -> JsonObject:
    """What `request` answers."""
    properties = _record(value, PartSchema({}))
    return _object({"topic": {"type": "string"}, **properties}, ["topic", "partition", "offset"], value.definitions)


def any_of(schemas: Sequence[PartSchema]) -> PartSchema:
    """The schema of a part that is written by any of these."""
    distinct: list[JsonObject] = []
    definitions: JsonObject = {}
    for part in schemas:
        definitions |= part.definitions
        if part.schema not in distinct:
            distinct.append(part.schema)
    if not distinct:
        return PartSchema({})
    return PartSchema(distinct[0] if len(distinct) == 1 else {"anyOf": distinct}, definitions)


def without_headers(schema: JsonObject | None, names: set[str]) -> JsonObject | None:
    """A schema of headers without some of them; None if there is nothing left to set."""
    if schema is None:
        return None
    properties = {key: value for key, value in as_object(schema.get("properties")).items() if key not in names}
    required = [name for name in as_array(schema.get("required")) if name not in names]
    rest = {key: value for key, value in schema.items() if key not in {"properties", "required", "examples"}}
    return {**rest, "properties": properties, **({"required": required} if required else {})}


def only_value(schema: Any) -> str | None:
    """The text that a header always has."""
    if isinstance(as_object(schema).get("const"), str):
        return str(schema["const"])
    values = as_array(as_object(schema).get("enum"))
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def usable_parameter(parameter: JsonObject) -> JsonObject:
    """The schema of a topic's parameter, without values that do not fit in a topic's name."""
    kept = {key: value for key, value in parameter.items() if key in {"enum", "default", "description", "examples"}}
    values = [*as_array(kept.get("enum")), *([kept["default"]] if "default" in kept else [])]
    if any(not isinstance(value, str) or not value.replace("-", "").replace("_", "").isalnum() for value in values):
        kept = {key: value for key, value in kept.items() if key not in {"enum", "default"}}
    return kept


def _record(value: PartSchema, key: PartSchema) -> JsonObject:
    return {
        **_RECORD,
        "key": _nullable(key.schema),
        "value": _nullable(value.schema),
        "headers": {"type": "object"},
        "problem": {"type": "string", "description": "Why key or value is shown as base64"},
        "keyBase64": {"type": "string"},
        "valueBase64": {"type": "string"},
    }


def _nullable(schema: JsonObject) -> JsonObject:
    return {} if not schema else {"anyOf": [schema, {"type": "null"}]}


def _parameters(parameters: dict[str, JsonObject]) -> JsonObject:
    if not parameters:
        return {}
    note = "Parts of the topic's name"
    required = _names_without_default(parameters)
    part: JsonObject = {"type": "object", "properties": parameters, "additionalProperties": False, "description": note}
    return {"parameters": {**part, **({"required": required} if required else {})}}


def _required(parameters: dict[str, JsonObject]) -> list[str]:
    return ["parameters"] if _names_without_default(parameters) else []


def _names_without_default(parameters: dict[str, JsonObject]) -> list[str]:
    return [name for name, schema in parameters.items() if "default" not in schema]


def _object(properties: JsonObject, required: Sequence[str], definitions: JsonObject) -> JsonObject:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = [*required]
    if definitions:
        schema["$defs"] = definitions
    return schema
