"""Avro types, in the shape that AvroType gives them, as JSON Schema."""

from collections.abc import Callable

from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.kafka.part_codec import base64_pattern

INTEGERS = {"int": 32, "long": 64}
FLOATS = {"float": ("<f", 4), "double": ("<d", 8)}
_LARGEST_FLOAT = 3.4028234663852886e38
"""The largest float of four bytes."""
_MEANINGS = {
    "date": "days since 1970-01-01",
    "time-millis": "milliseconds after midnight",
    "time-micros": "microseconds after midnight",
    "timestamp-millis": "milliseconds since 1970-01-01T00:00:00Z",
    "timestamp-micros": "microseconds since 1970-01-01T00:00:00Z",
    "local-timestamp-millis": "milliseconds since 1970-01-01T00:00:00, local time",
    "local-timestamp-micros": "microseconds since 1970-01-01T00:00:00, local time",
}


def nullable(part: JsonObject) -> JsonObject | None:
    """The other branch of a union of null and one type; None for every other union."""
    others = [branch for branch in part["branches"] if branch["kind"] != "null"]
    return others[0] if len(others) == 1 else None


def schema_of_type(part: JsonObject, of: Callable[[JsonObject], JsonObject]) -> JsonObject:
    kind = part["kind"]
    schema: JsonObject
    match kind:
        case "record":
            fields = part["fields"]
            schema = {
                "type": "object",
                "properties": {field["name"]: of(field["type"]) for field in fields},
                "required": [field["name"] for field in fields if not field["has_default"]],
                "additionalProperties": False,
            }
        case "union":
            schema = _union_schema(part, of)
        case "array":
            schema = {"type": "array", "items": of(part["items"])}
        case "map":
            schema = {"type": "object", "additionalProperties": of(part["items"])}
        case "enum":
            schema = {"type": "string", "enum": part["symbols"]}
        case _:
            schema = _primitive_schema(part)
    notes = [note for note in (part.get("doc"), _MEANINGS.get(part.get("logical", ""))) if note]
    return {**schema, "description": "; ".join(notes)} if notes else schema


def _union_schema(part: JsonObject, of: Callable[[JsonObject], JsonObject]) -> JsonObject:
    other = nullable(part)
    has_null = any(branch["kind"] == "null" for branch in part["branches"])
    if other is not None:
        return {"anyOf": [of(other), {"type": "null"}]} if has_null else of(other)
    wrapped: list[JsonObject] = [
        {
            "type": "object",
            "properties": {label: of(branch)},
            "required": [label],
            "additionalProperties": False,
        }
        for label, branch in zip(part["labels"], part["branches"], strict=True)
        if branch["kind"] != "null"
    ]
    return {"anyOf": [*wrapped, *([{"type": "null"}] if has_null else [])]}


def _primitive_schema(part: JsonObject) -> JsonObject:
    kind = part["kind"]
    if "scale" in part:
        fraction = rf"\.[0-9]{{{part['scale']}}}" if part["scale"] else ""
        return {"type": "string", "pattern": f"^-?(0|[1-9][0-9]*){fraction}$"}
    if kind in INTEGERS:
        limit = 2 ** (INTEGERS[kind] - 1)
        return {"type": "integer", "minimum": -limit, "maximum": limit - 1}
    if kind == "float":
        return {"type": "number", "minimum": -_LARGEST_FLOAT, "maximum": _LARGEST_FLOAT}
    if kind == "double":
        return {"type": "number"}
    if kind in {"bytes", "fixed"}:
        return {"type": "string", "contentEncoding": "base64", "pattern": base64_pattern(part.get("size"))}
    if kind == "string" and part.get("logical") == "uuid":
        return {"type": "string", "format": "uuid"}
    return {"type": kind}
