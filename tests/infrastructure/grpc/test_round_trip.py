"""Arguments that fit a tool's schema arrive as they were: at a server that decodes by the whole description with
json_format, and through this codec's own way back."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.grpc.loopback import place_of, serving
from tests.infrastructure.grpc.test_calls import called
from tests.infrastructure.grpc.test_converter import SHARED, SPECS, compiled_at_once, only_tool
from tests.infrastructure.kafka.test_round_trip import example
from tests.infrastructure.protobuf.test_message_plan import codec, judge

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ConversionOptions
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.grpc import GrpcBackend, GrpcSpecKind


@pytest.mark.parametrize("path", SHARED)
async def test_round_trip_of_every_published_method_brings_the_arguments_to_the_server(path: str) -> None:
    if not SPECS.is_dir():
        pytest.skip("the published descriptions are not here")
    kind = GrpcSpecKind(InMemoryCredentialSource())
    source = kind.source_at(str(SPECS / path))
    document = await kind.fetch(source, place_of(SPECS))
    descriptors = base64.b64decode(json.loads(document.text)["fileDescriptorSet"])
    parsed = parser(descriptors)

    async def nothing(method: str, messages: list[Any], context: Any) -> list[bytes]:
        return [b""]

    backend = GrpcBackend(InMemoryCredentialSource())
    async with serving(descriptors, nothing) as server:  # type: ignore[arg-type]
        base_url = server.target.replace("grpc://", "http://")
        for tool in kind.converter(source).convert(document, ConversionOptions(base_url=base_url)).tools:
            for is_full in (False, True):
                arguments = arguments_of(tool, is_full=is_full)
                assert jsonschema_rs.is_valid(tool.input_schema, arguments), (tool.name, arguments)
                answer = await called(backend, tool, arguments)
                assert not getattr(answer, "is_error", False)
                sent = arguments.get("messages", []) if tool.binding.streams_requests else [arguments]
                assert server.seen[-1].method == tool.binding.method
                assert server.seen[-1].messages == [parsed(tool.binding.request_type, value) for value in sent]
    await backend.close()


def parser(descriptors: bytes) -> Callable[[str, Any], JsonObject]:
    """Arguments as json_format reads and writes them."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.AddSerializedFile(file.SerializeToString())

    def parsed(name: str, value: Any) -> JsonObject:
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()
        read = json_format.ParseDict(value, message, descriptor_pool=pool)
        return dict(json_format.MessageToDict(read, descriptor_pool=pool))

    return parsed


ANY_TYPE = "x/a"
"""Example of a message's name in an Any."""


def arguments_of(tool: Tool, *, is_full: bool) -> JsonObject:
    """Example arguments with the first member of each oneof, and a message that exists in each Any."""
    schema = tool.input_schema
    made: JsonObject = one_of_each(example(schema, schema, is_full=is_full), schema, schema)
    text = json.dumps(made).replace(ANY_TYPE, f"type.googleapis.com/{tool.binding.request_type}")
    return dict(json.loads(text))


def one_of_each(value: Any, schema: Any, root: Any) -> Any:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, list):
        return [one_of_each(item, schema.get("items", {}), root) for item in value]
    if not isinstance(value, dict):
        return value
    for group in schema.get("allOf", ()):
        members = [each["required"][0] for each in group["oneOf"] if "required" in each]
        for name in [name for name in members if name in value][1:]:
            del value[name]
    properties = schema.get("properties", {})
    return {name: one_of_each(part, properties.get(name, {}), root) for name, part in value.items()}


DEFAULTS: Mapping[str, tuple[Any, Any]] = {
    "INT32": (0, 7),
    "INT64": ("0", "-9223372036854775808"),
    "UINT32": (0, 4294967295),
    "UINT64": ("0", "18446744073709551615"),
    "DOUBLE": (0.0, 1.5),
    "FLOAT": (0.0, 0.1),
    "BOOL": (False, True),
    "STRING": ("", "a b/ü&"),
    "ENUM": ("NONE", "GREEN"),
}
"""By kind of field: the default, and another value, as ProtoJSON writes them."""
OWN_JSON: Mapping[str, tuple[Any, ...]] = {
    "Timestamp": ("1970-01-01T00:00:00Z", "2026-01-02T03:04:05.678Z"),
    "Duration": ("0s", "-1.500s"),
    "FieldMask": ("", "a,bC.d"),
    "Struct": ({}, {"a": None, "b": {"c": [1.5]}}),
    "Value": (None, 0.0, "", False, [], {}, [None, {"a": 1.5}]),
    "ListValue": ([], [None, "x"]),
    "Any": ({"@type": "x/all.v3.M"}, {"@type": "x/all.v3.M", "text": "in"}),
    "Empty": ({},),
}


def ones(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        name = field.message_type.name
        if field.message_type.file.name == "google/protobuf/wrappers.proto":
            return ones(field.message_type.fields_by_name["value"], depth)
        return st.sampled_from(OWN_JSON[name]) if name in OWN_JSON else written_out(field.message_type, depth + 1)
    if field.type == field.TYPE_BYTES:
        return st.sampled_from(("", "AP8="))
    if field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue":
        return st.none()
    kinds = ((name[8:], number) for name, number in vars(type(field)).items() if name.startswith("CPPTYPE_"))
    kind = next(name for name, number in kinds if number == field.cpp_type)
    return st.sampled_from(DEFAULTS[kind])


def values(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        keys = ones(key, depth).map(lambda key: str(key).lower() if isinstance(key, bool) else str(key))
        return st.dictionaries(keys, ones(value, depth), max_size=2)
    return st.lists(ones(field, depth), max_size=2) if field.is_repeated else ones(field, depth)


def written_out(descriptor: Any, depth: int = 0) -> st.SearchStrategy[JsonObject]:
    """Arguments with defaults written out, at most one member of each oneof."""
    fields = [
        field
        for field in descriptor.fields
        if (depth < 2 or field.message_type is None)
        and field.name not in {"nothing", "nothings"}  # null, their default
    ]
    groups = {field.name: field.name for field in fields}
    groups |= {field.name: field.containing_oneof.name for field in fields if field.containing_oneof is not None}
    chosen = st.lists(st.sampled_from(fields), max_size=6, unique_by=lambda field: groups[field.name])
    return chosen.flatmap(
        lambda fields: st.fixed_dictionaries({field.json_name: values(field, depth) for field in fields})
    )


def that_arrives(value: JsonObject, descriptor: Any) -> JsonObject:
    """The arguments without what the wire format has no place for: proto3 does not send a field that has its default,
    unless it has presence (`optional`, members of a oneof, messages), and an empty list or map is no field at all."""
    fields = {field.json_name: field for field in descriptor.fields}
    arrived: dict[str, Any] = {}
    for name, content in value.items():
        field = fields[name]
        if field.has_presence or content not in (0, "0", "", False, "NONE", [], {}):
            arrived[name] = inner_that_arrives(content, field)
    return arrived


def inner_that_arrives(content: Any, field: Any) -> Any:
    inner = field.message_type
    if inner is None or inner.file.package == "google.protobuf":
        return content
    if inner.GetOptions().map_entry:
        one = inner.fields_by_name["value"]
        return {key: inner_that_arrives(item, one) for key, item in content.items()}
    if field.is_repeated:
        return [that_arrives(item, inner) for item in content]
    return that_arrives(content, inner)


@pytest.fixture(scope="module", autouse=True)
def _compiled_before() -> None:
    """protoc takes longer than an example may."""
    codec("v3")


@settings(max_examples=200)
@given(st.data())
def test_round_trip_keeps_defaults_of_fields_with_presence(data: st.DataObject) -> None:
    descriptor = judge("v3")[1].DESCRIPTOR
    arguments = data.draw(written_out(descriptor))
    assert codec("v3").decode(codec("v3").encode(arguments)) == that_arrives(arguments, descriptor)


BOUNDS = """
syntax = "proto3";
package p;
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
message Q {
  bytes blob = 1; float single = 2; google.protobuf.Duration lasts = 3; google.protobuf.FieldMask mask = 4;
  int64 big = 5; uint64 count = 6; google.protobuf.Empty empty = 7;
  map<int32, bool> signed = 8; map<uint32, bool> unsigned = 9;
}
service S { rpc Do(Q) returns (Q); }
"""


@pytest.mark.parametrize(
    ("arguments", "is_accepted"),
    [
        ({"blob": ""}, True),
        ({"blob": "AP8="}, True),
        ({"blob": "_-8"}, True),
        ({"blob": "AA=="}, True),
        ({"blob": "="}, False),
        ({"blob": "AAAAA"}, False),
        ({"blob": "AA="}, False),
        ({"single": 3.4028234663852886e38}, True),
        ({"single": 3.5e38}, False),
        ({"lasts": "315576000000s"}, True),
        ({"lasts": "-0.5s"}, True),
        ({"lasts": "970034911722s"}, False),
        ({"big": "9223372036854775807"}, True),
        ({"big": "-9223372036854775808"}, True),
        ({"big": "999999999999999999"}, True),
        ({"big": "8999999999999999999"}, True),
        ({"big": "9300000000000000000"}, False),
        ({"big": "01"}, False),
        ({"big": "-0"}, False),
        ({"count": "18446744073709551615"}, True),
        ({"count": "9999999999999999999"}, True),
        ({"count": "18500000000000000000"}, False),
        ({"count": "-1"}, False),
        ({"signed": {"2147483647": True, "-2147483648": True, "0": True, "1999999999": True}}, True),
        ({"signed": {"2148000000": True}}, False),
        ({"unsigned": {"4294967295": True, "3999999999": True, "4199999999": True}}, True),
        ({"unsigned": {"4300000000": True}}, False),
        ({"empty": {}}, True),
        ({"empty": {"x": 1}}, False),
        ({"mask": "aB,c.d1"}, True),
        ({"mask": ""}, True),
        ({"mask": "a_b"}, False),
        ({"mask": "a,"}, False),
    ],
    ids=str,
)
def test_round_trip_schema_accepts_what_a_message_can_hold_and_nothing_else(
    arguments: JsonObject, is_accepted: bool
) -> None:
    tool = only_tool(compiled_at_once(BOUNDS))
    assert jsonschema_rs.is_valid(tool.input_schema, arguments) == is_accepted
    if is_accepted:
        preview = GrpcBackend(InMemoryCredentialSource()).prepare(tool)
        assert preview.preview(arguments)["message"] == arguments  # type: ignore[attr-defined]
