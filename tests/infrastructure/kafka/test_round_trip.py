"""Arguments that fit a tool's schema, written as records and read by libraries of others: what comes out
is what went in."""

import base64
import io
import json
from typing import Any

import fastavro
import jsonschema_rs
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from tests.infrastructure.kafka.test_converter import DOCUMENTS, converted
from tests.infrastructure.kafka.test_protobuf import SET
from tests.infrastructure.kafka.test_referenced_files import PROTOBUF, document

from stoa.domain.operations.tool import Tool
from stoa.infrastructure.kafka.binding import MessagePart
from stoa.infrastructure.kafka.codec import PartReader, PartWriter
from stoa.infrastructure.kafka.referenced_files import source_name, with_files

AVRO = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "text", "type": ["null", "string"], "default": None},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Line",
                    "fields": [
                        {"name": "item", "type": "string"},
                        {"name": "more", "type": ["null", "Line"], "default": None},
                    ],
                },
            },
        },
        {"name": "by_name", "type": {"type": "map", "values": "double"}},
    ],
}
JSON = {
    "type": "object",
    "required": ["id", "nested"],
    "properties": {
        "id": {"type": "integer", "minimum": 3},
        "nested": {"$ref": "#/components/schemas/Nested"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}},
        "choice": {"oneOf": [{"type": "boolean"}, {"type": "string"}]},
    },
}


def example(schema: Any, root: Any, *, is_full: bool, depth: int = 0) -> Any:
    """One value of a schema: with its required members alone, or with every member down to some depth."""
    schema = flat(schema, root)
    if not schema:
        return "any"
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next(each for each in kind if each != "null") if isinstance(kind, list) else kind
    match kind:
        case "object":
            is_deep = not is_full or depth >= 4
            members = schema.get("properties", {})
            wanted = [name for name in members if not is_deep or name in schema.get("required", ())]
            return {name: example(members[name], root, is_full=is_full, depth=depth + 1) for name in wanted}
        case "array":
            return [example(schema.get("items"), root, is_full=True, depth=depth + 1)] if is_full and depth < 4 else []
        case "integer":
            return max(7, schema.get("minimum", 7))
        case "number":
            return 1.5
        case "boolean":
            return True
        case "null":
            return None
    return text_of(schema, root)


def flat(schema: Any, root: Any) -> dict[str, Any]:
    """With references followed, the parts of `allOf` merged and the first alternative taken."""
    if not isinstance(schema, dict):
        return {}
    merged: dict[str, Any] = {
        key: value for key, value in schema.items() if key not in {"$ref", "allOf", "anyOf", "oneOf"}
    }
    parts = [*schema.get("allOf", ())]
    if "$ref" in schema:
        parts.append(root["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    for keyword in ("anyOf", "oneOf"):
        parts += [each for each in schema.get(keyword, ()) if each.get("type") != "null" and "not" not in each][:1]
    for part in parts:
        more = flat(part, root)
        if "properties" in more and "properties" in merged:
            more["properties"] = {**more["properties"], **merged["properties"]}
        if "required" in more:
            more["required"] = [*more["required"], *merged.get("required", ())]
        merged = {**merged, **more}
    return merged


def text_of(schema: dict[str, Any], root: Any) -> str:
    if schema.get("contentEncoding") == "base64":
        return "AQI="
    if schema.get("format") == "date-time":
        return "2026-01-02T03:04:05Z"
    for candidate in ("a b/ü&", "12.50", "7", "a", "1.500s", "x/a"):  # reserved and other characters on purpose
        text = candidate[: schema.get("maxLength", 99)].ljust(schema.get("minLength", 0), "x")
        if jsonschema_rs.is_valid({**schema, "$defs": root.get("$defs", {})}, text):
            return text
    return pytest.fail(f"no text for {schema}")


def by_others(part: MessagePart, data: bytes) -> Any:
    """Read by fastavro, by protobuf's library or by Python's reader of JSON."""
    if part.format == "avro":
        return fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(json.loads(part.definition)), None)
    if part.format == "protobuf":
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(part.definition)).file:
            pool.Add(file)
        made = message_factory.GetMessageClass(pool.FindMessageTypeByName(part.message_type))
        return json_format.MessageToDict(made.FromString(data), descriptor_pool=pool)
    return json.loads(data) if part.format == "json" else data.decode()


def tools() -> list[Any]:
    avro = document({"schemaFormat": "application/vnd.apache.avro;version=1.9.0", "schema": AVRO})
    whole = json.loads(document(JSON))
    whole["components"] = {"schemas": {"Nested": {"type": "object", "properties": {"n": {"type": ["number", "null"]}}}}}
    protobuf = with_files(document({"schemaFormat": PROTOBUF, "schema": "message"}), {source_name("message"): SET})
    texts = {"avro": avro, "json": json.dumps(whole), "protobuf": protobuf}
    texts |= {path.name: path.read_text() for path in DOCUMENTS if "slack" not in str(path)}
    return [
        pytest.param(tool, id=f"{name}-{perspective}-{tool.name}")
        for name, text in texts.items()
        for perspective in ("client", "application")
        for tool in converted(text, perspective=perspective).tools
        if tool.binding.action != "read"
    ]


@pytest.mark.parametrize("is_full", [False, True], ids=["required", "every"])
@pytest.mark.parametrize("tool", tools())
def test_kafka_arguments_come_back_from_the_record_as_they_went(tool: Tool, is_full: bool) -> None:
    arguments = example(tool.input_schema, tool.input_schema, is_full=is_full)
    if tool.binding.value.format == "protobuf":
        # The other member of the oneof; and what is a default of proto3, which no record has.
        for name in ("pickup", "attachments", "state"):
            arguments["value"].pop(name, None)
    assert jsonschema_rs.is_valid(tool.input_schema, arguments), arguments
    for name, part in (("value", tool.binding.value), ("key", tool.binding.key)):
        if name not in arguments:
            continue
        data = PartWriter(part, name).write(arguments[name])
        assert _without_nulls(PartReader(part).read(data)) == arguments[name]
        if part.format in {"json", "protobuf", "text"}:
            assert by_others(part, data) == arguments[name]
        elif part.format == "avro":
            assert by_others(part, data)["id"] == arguments[name]["id"]


def _without_nulls(value: Any) -> Any:
    """Avro has no absent fields: those with the default null that were left out come back as null."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value
