"""Descriptors to tools: schemas by the ProtoJSON mapping, access by what the description says, findings."""

import base64
import json
import struct
from contextlib import suppress
from pathlib import Path

import jsonschema_rs
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.grpc.loopback import compiled_at_once, converted, echo_descriptors, place_of, tools_of

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ConversionOptions
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.access import Access
from stoa.infrastructure.grpc import GrpcSpecKind
from stoa.infrastructure.grpc.manifest import GrpcManifest, GrpcSource
from stoa.infrastructure.grpc.messages import MessageCodec
from stoa.infrastructure.protobuf.descriptors import Descriptors

SPECS = Path(__file__).parents[4] / "shared/specs/grpc"
SHARED = {
    "grpc-proto/grpc/health/v1/health.proto": 3,
    "grpc-proto/grpc/reflection/v1/reflection.proto": 1,
    "grpc-proto/grpc/testing/test.proto": 20,
    "googleapis-library/google/example/library/v1/library.proto": 11,
    "etcd/etcd/api/etcdserverpb/rpc.proto": 42,
    "temporal/temporal/api/workflowservice/v1/service.proto": 122,
}


def proto(body, package="p"):
    return compiled_at_once(f'syntax = "proto3"; package {package};\n{body}')


def only_tool(descriptors, **options):
    (tool,) = converted(descriptors, **options).tools
    return tool


@pytest.mark.parametrize("path", SHARED)
async def test_published_description_converts_to_valid_schemas_and_messages_that_build(path):
    if not SPECS.is_dir():
        pytest.skip("the published descriptions are not here")
    kind = GrpcSpecKind(InMemoryCredentialSource())
    source = kind.source_at(str(SPECS / path))
    document = await kind.fetch(source, place_of(SPECS))
    conversion = kind.converter(source).convert(document, ConversionOptions(base_url="http://a.example"))
    assert len(conversion.tools) == SHARED[path]
    for tool in conversion.tools:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **tool.input_schema})
        jsonschema_rs.validator_for(tool.input_schema)
        jsonschema_rs.validator_for(tool.output_schema or {})
        MessageCodec(tool.binding.descriptors, tool.binding.request_type, tool.binding.response_type)
    assert all(finding.severity.value == "warning" for finding in conversion.findings)


def test_each_method_is_a_tool_named_by_service_and_method():
    tools = tools_of(echo_descriptors(), "grpc://a.example:1")
    assert [*tools] == [f"Echo_{name}" for name in ("Say", "Store", "Refuse", "Wait", "Repeat", "Collect", "Chat")]
    say = tools["Echo_Say"]
    assert (say.description, say.title, say.tags) == ("Repeats what is said.", "Echo Say", ("Echo",))
    assert say.binding.summary == "echo.v1.Echo/Say"
    assert say.api.operation_id == "echo.v1.Echo/Say"


def test_schema_of_arguments_is_the_protojson_mapping():
    schema = tools_of(echo_descriptors(), "grpc://a.example:1")["Echo_Say"].input_schema
    properties = schema["properties"]
    assert properties["big"] == {
        "type": "string",
        "pattern": "^(0|-?([1-9][0-9]{0,17}|[1-8][0-9]{18}|9([01][0-9]|2[0-2])[0-9]{16}))$",
    }
    assert properties["blob"]["contentEncoding"] == "base64"
    assert properties["colour"] == {"$ref": "#/$defs/echo.v1.Colour"}
    assert schema["$defs"]["echo.v1.Colour"]["enum"] == ["COLOUR_UNSPECIFIED", "RED", "GREEN"]
    assert properties["byNumber"] == {
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/echo.v1.Said"},
        "propertyNames": {"pattern": "^(0|-?([1-9][0-9]{0,8}|1[0-9]{9}|2(0[0-9]|1[0-3])[0-9]{7}|214[0-7][0-9]{6}))$"},
    }
    assert properties["flags"]["propertyNames"] == {"enum": ["true", "false"]}
    assert properties["more"]["items"] == {"$ref": "#/$defs/echo.v1.Said"}
    assert properties["at"] == {"type": "string", "format": "date-time"}
    assert properties["wrapped"]["type"] == "string"
    assert properties["number"]["anyOf"][1]["enum"] == ["NaN", "Infinity", "-Infinity"]
    assert schema["additionalProperties"] is False
    assert schema["description"] == "What is said."


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        ({}, True),
        ({"left": "a"}, True),
        ({"left": "a", "right": "1"}, False),
        ({"flag": True}, True),
        ({"colour": "BLUE"}, False),
        ({"big": 5}, False),
        ({"byNumber": {"x": {}}}, False),
        ({"more": [{"more": [{"left": "a", "right": "1"}]}]}, False),
        ({"unknown": 1}, False),
    ],
)
def test_schema_of_arguments_accepts_what_the_message_can_hold(value, is_valid):
    schema = tools_of(echo_descriptors(), "grpc://a.example:1")["Echo_Say"].input_schema
    assert jsonschema_rs.validator_for(schema).is_valid(value) is is_valid


def test_access_follows_idempotency_level_and_a_method_without_one_writes():
    tools = tools_of(echo_descriptors(), "grpc://a.example:1")
    facts = {name: (tool.access, tool.hints.read_only_hint, tool.hints.idempotent_hint) for name, tool in tools.items()}
    assert facts["Echo_Say"] == (Access.READ, True, True)
    assert facts["Echo_Store"] == (Access.WRITE, False, True)
    assert facts["Echo_Wait"] == (Access.WRITE, False, None)


HTTP = """
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
message M {
  string name = 1 [(google.api.field_behavior) = REQUIRED];
  string etag = 2 [(google.api.field_behavior) = OUTPUT_ONLY];
  string secret = 3 [(google.api.field_behavior) = INPUT_ONLY];
}
service S {
  rpc Get(M) returns (M) { option (google.api.http) = { get: "/v1/{name=x/*}" }; }
  rpc Drop(M) returns (M) { option (google.api.http) = { delete: "/v1/{name=x/*}" }; }
  rpc Put(M) returns (M) { option (google.api.http) = { put: "/v1/m" body: "*" }; }
  rpc Read(M) returns (M) {
    option (google.api.http) = { post: "/v1/m:read" body: "*" };
    option idempotency_level = NO_SIDE_EFFECTS;
  }
}
"""


def test_access_follows_google_api_http_and_schema_follows_field_behavior():
    tools = {tool.name: tool for tool in converted(proto(HTTP)).tools}
    assert {name: tool.access.value for name, tool in tools.items()} == {
        "S_Get": "stoa:read",
        "S_Drop": "stoa:admin",
        "S_Put": "stoa:write",
        "S_Read": "stoa:read",
    }
    assert tools["S_Drop"].hints.destructive_hint
    schema = tools["S_Get"].input_schema
    assert (schema["required"], [*schema["properties"]]) == (["name"], ["name", "secret"])
    assert [*tools["S_Get"].output_schema["properties"]] == ["name", "etag"]


PROTO2 = """
syntax = "proto2";
package p;
message M {
  required string name = 1;
  optional int32 count = 2 [default = 7];
  optional bool on = 3 [default = true];
  repeated group Item = 4 { optional string label = 1; }
  extensions 100 to 200;
}
service S { rpc Do(M) returns (M); }
"""


def test_schema_of_proto2_has_required_fields_defaults_and_groups():
    tool = only_tool(compiled_at_once(PROTO2))
    schema = tool.input_schema
    assert schema["required"] == ["name"]
    assert (schema["properties"]["count"]["default"], schema["properties"]["on"]["default"]) == (7, True)
    codec = MessageCodec(tool.binding.descriptors, "p.M", "p.M")
    value = {"name": "a", "item": [{"label": "x"}]}
    assert jsonschema_rs.is_valid(schema, value)
    assert codec.decode(codec.encode(value)) == value


VALIDATED = """
syntax = "proto3";
package p;
import "buf/validate/validate.proto";
message M {
  string name = 1 [(buf.validate.field).string = {min_len: 2, max_len: 5, pattern: "^[a-z]+$"}];
  int32 count = 2 [(buf.validate.field).int32 = {gte: 1, lt: 10}];
  repeated string tags = 3 [(buf.validate.field).repeated = {max_items: 2, items: {string: {min_len: 1}}}];
  string id = 4 [(buf.validate.field).required = true, (buf.validate.field).string.uuid = true];
  string path = 5 [(buf.validate.field).string = {prefix: "a/b.", suffix: "$", not_in: ["a/b.$"]}];
  string maybe = 6 [(buf.validate.field).string.min_len = 3, (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE];
  int32 outside = 7 [(buf.validate.field).int32 = {gte: 10, lt: 5}];
  map<string, string> labels = 8 [(buf.validate.field).map = {
    max_pairs: 1, keys: {string: {max_len: 2}}, values: {string: {min_len: 1}}}];
  oneof target { option (buf.validate.oneof).required = true; string user = 9; string group = 10; }
}
service S { rpc Do(M) returns (M); }
"""
RULES = """
syntax = "proto2";
package buf.validate;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { optional FieldRules field = 1159; }
extend google.protobuf.OneofOptions { optional OneofRules oneof = 1159; }
enum Ignore { IGNORE_UNSPECIFIED = 0; IGNORE_IF_ZERO_VALUE = 1; IGNORE_ALWAYS = 3; }
message OneofRules { optional bool required = 1; }
message FieldRules {
  optional bool required = 25; optional Ignore ignore = 27;
  oneof type { Int32Rules int32 = 3; StringRules string = 14; RepeatedRules repeated = 18; MapRules map = 19; }
}
message MapRules { optional uint64 max_pairs = 2; optional FieldRules keys = 4; optional FieldRules values = 5; }
message Int32Rules { optional int32 lt = 2; optional int32 gte = 5; }
message StringRules {
  optional uint64 min_len = 2; optional uint64 max_len = 3; optional string pattern = 6;
  optional string prefix = 7; optional string suffix = 8; repeated string not_in = 11;
  oneof well_known { bool uuid = 22; }
}
message RepeatedRules { optional uint64 max_items = 2; optional FieldRules items = 4; }
"""


async def test_schema_follows_protovalidate_rules(tmp_path):
    (tmp_path / "buf/validate").mkdir(parents=True)
    (tmp_path / "buf/validate/validate.proto").write_text(RULES)
    (tmp_path / "m.proto").write_text(VALIDATED)
    kind = GrpcSpecKind(InMemoryCredentialSource())
    source = GrpcSource(target="grpc://a.example:1", protos=("m.proto",))
    document = await kind.fetch(source, place_of(tmp_path))
    (tool,) = kind.converter(source).convert(document, ConversionOptions()).tools
    properties = tool.input_schema["properties"]
    assert properties["name"] == {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"}
    assert (properties["count"]["minimum"], properties["count"]["exclusiveMaximum"]) == (1, 10)
    assert properties["tags"] == {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 2}
    assert (tool.input_schema["required"], properties["id"]["format"]) == (["id"], "uuid")
    assert properties["maybe"] == {"type": "string"}
    good = {"id": "", "path": "a/b.c$", "outside": 10, "labels": {"ab": "x"}, "user": "u"}
    assert jsonschema_rs.is_valid(tool.input_schema, good)
    for bad in (
        *({"path": path} for path in ("a/bxc$", "a/b.c", "a/b.$")),
        {"outside": 7},
        *({"labels": labels} for labels in ({"abc": "x"}, {"a": ""}, {"a": "x", "b": "x"})),
        {"group": "g"},
    ):
        assert not jsonschema_rs.is_valid(tool.input_schema, good | bad), bad
    del good["user"]
    assert not jsonschema_rs.is_valid(tool.input_schema, good)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Timestamp", "2026-01-01T00:00:00Z"), ("StringValue", "x"), ("Value", [1, None]), ("ListValue", ["a"])],
)
def test_message_that_is_no_json_object_stands_below_value(name, value):
    file = {"Value": "struct", "ListValue": "struct", "StringValue": "wrappers"}.get(name, name.lower())
    full = f"google.protobuf.{name}"
    tool = only_tool(proto(f'import "google/protobuf/{file}.proto"; service S {{ rpc Do({full}) returns ({full}); }}'))
    assert jsonschema_rs.is_valid(tool.input_schema, {"value": value})
    codec = MessageCodec(tool.binding.descriptors, tool.binding.request_type, tool.binding.response_type)
    assert codec.decode(codec.encode({"value": value})) == {"value": value}


def test_empty_request_takes_no_arguments():
    service = "service S { rpc Do(google.protobuf.Empty) returns (M); } message M {}"
    tool = only_tool(proto(f'import "google/protobuf/empty.proto"; {service}'))
    assert tool.input_schema == {"type": "object", "properties": {}, "additionalProperties": False}


def test_large_message_is_described_in_part_and_told():
    fields = "".join(f"message A{n} {{ A{n + 1} next = 1; {_texts(40)} }}\n" for n in range(60))
    conversion = converted(proto(f"{fields} message A60 {{}} service S {{ rpc Do(A0) returns (A0); }}"))
    (tool,) = conversion.tools
    assert len(json.dumps(tool.input_schema)) < 70_000
    assert tool.output_schema is None
    assert [finding.message for finding in conversion.findings] == [
        "its arguments are too large to describe whole; the rest is checked as sent",
        "it has no output schema: its results are too large to describe",
    ]


def _texts(count):
    return "".join(f"string a_rather_long_field_name_{n} = {n + 2};" for n in range(count))


def test_method_whose_types_are_missing_is_left_out_with_a_finding():
    files = descriptor_pb2.FileDescriptorSet.FromString(echo_descriptors())
    files.file[-1].message_type[0].field[0].type_name = ".gone.Message"
    files.file[-1].message_type[0].field[0].type = 11
    conversion = converted(files.SerializeToString())
    assert conversion.tools == ()
    assert "does not declare gone.Message" in conversion.findings[0].message


def test_selector_takes_services_and_methods():
    data = echo_descriptors()
    assert len(converted(data, include_tags=frozenset({"Echo"})).tools) == 7
    assert converted(data, exclude_tags=frozenset({"Echo"})).tools == ()
    (tool,) = converted(data, operation_ids=frozenset({"echo.v1.Echo/Say"}), name_prefix="x_").tools
    assert tool.name == "x_Echo_Say"
    (tool,) = converted(data, path_prefix="/echo.v1.Echo/Col", use_operation_id=False).tools
    assert tool.name == "echo_v1_Echo_Collect"
    source = GrpcSource(target="grpc://a.example:1", services=("no.Such",))
    conversion = converted(data, source=source)
    assert (conversion.tools, conversion.findings[0].message) == (
        (),
        "there is no service 'no.Such' (spec.grpc.services)",
    )


def test_base_url_takes_the_place_of_the_target():
    (tool,) = converted(
        echo_descriptors(), base_url="https://b.example:444/x", operation_ids=frozenset({"echo.v1.Echo/Say"})
    ).tools
    assert (tool.binding.target, tool.binding.origins) == ("grpcs://b.example:444", {"grpcs://b.example:444"})


def test_description_without_a_server_yields_no_tools_and_says_what_to_set():
    source = GrpcSource.model_validate({"descriptorSet": "a.binpb"})
    conversion = converted(echo_descriptors(), target=None, source=source)
    assert conversion.tools == ()
    assert "set spec.grpc.target" in conversion.findings[-1].message


def test_tool_carries_the_messages_that_it_reaches_and_no_other():
    tool = only_tool(proto("message A { B b = 1; } message B {} message C {} service S { rpc Do(A) returns (B); }"))
    carried = Descriptors.of_text(tool.binding.descriptors)
    assert sorted(carried.types) == ["p.A", "p.B"]


def test_descriptor_bomb_is_refused():
    files = descriptor_pb2.FileDescriptorSet()
    files.file.add(name="a.proto").message_type.extend(descriptor_pb2.DescriptorProto(name="M") for _ in range(60_000))
    for number, message in enumerate(files.file[0].message_type):
        message.name = f"M{number}"
    with pytest.raises(InvalidInput, match="declares more than"):
        converted(files.SerializeToString())


def test_tool_by_hand_names_a_method_of_its_descriptors():
    content = {
        "target": "grpc://a.example:1",
        "method": "echo.v1.Echo/Say",
        "descriptorSet": base64.b64encode(echo_descriptors()).decode(),
    }
    manifest = GrpcManifest.model_validate(content)
    assert "text" in manifest.input_schema()["properties"]
    assert manifest.to_binding({}).path == "/echo.v1.Echo/Say"
    with pytest.raises(InvalidInput, match=r"spec\.grpc\.method: the descriptor set has no echo\.v1\.Echo/Shout"):
        GrpcManifest.model_validate(content | {"method": "echo.v1.Echo/Shout"}).to_binding({})
    with pytest.raises(InvalidInput, match=r"spec\.grpc\.descriptorSet: is no google\.protobuf\.FileDescriptorSet"):
        GrpcManifest.model_validate(content | {"descriptorSet": "////"}).to_binding({})


leaves = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(min_size=1),
        "big": st.integers(-(2**63), 2**63 - 1).filter(bool).map(str),
        "blob": st.binary(min_size=1).map(lambda data: base64.b64encode(data).decode()),
        "colour": st.sampled_from(["RED", "GREEN"]),
        "flag": st.booleans(),
        "left": st.text(),
        "wrapped": st.integers(-(2**63), 2**63 - 1).map(str),
        "number": st.floats(allow_nan=False, allow_infinity=False).filter(bool) | st.sampled_from(["NaN", "-Infinity"]),
        "single": st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False).filter(bool),
        "flags": st.dictionaries(st.sampled_from(["true", "false"]), st.sampled_from(["RED"]), min_size=1),
        "lasts": st.integers(-(10**9), 10**9).map(lambda seconds: f"{seconds}s"),
    },
)
said = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(min_size=1),
            "more": st.lists(inner, min_size=1, max_size=3),
            "byNumber": st.dictionaries(st.integers(-(2**31), 2**31 - 1).map(str), inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)
_SAY = tools_of(echo_descriptors(), "grpc://a.example:1")["Echo_Say"]
_CODEC = MessageCodec(_SAY.binding.descriptors, "echo.v1.Said", "echo.v1.Said")
_VALIDATOR = jsonschema_rs.validator_for(_SAY.input_schema)
_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(echo_descriptors()).file:
    _POOL.AddSerializedFile(_file.SerializeToString())
_SAID = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("echo.v1.Said"))


@settings(max_examples=200, deadline=None)
@given(said)
def test_arguments_decode_to_what_was_encoded(arguments):
    assert _VALIDATOR.is_valid(arguments)
    sent = _CODEC.encode(arguments)
    decoded = json_format.MessageToDict(_SAID.FromString(sent), descriptor_pool=_POOL)
    assert _floats(decoded) == _floats(arguments)
    assert _CODEC.decode(sent) == decoded


def _floats(value):
    """Floats as the nearest of 32 bits: json_format writes the shortest text that reads back as the same one."""
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    is_single = isinstance(value, float) and abs(value) <= 3.4028235e38  # as the largest is written
    return struct.unpack("f", struct.pack("f", value))[0] if is_single else value


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["text", "big", "at", "more", "bag", "value", "x"]),
        st.none() | st.text() | st.integers() | st.lists(st.none()),
        max_size=3,
    )
)
def test_any_object_encodes_or_is_an_invalid_argument(arguments):
    with suppress(InvalidArguments):
        _CODEC.encode(arguments)


def _file(*messages: descriptor_pb2.DescriptorProto, **more) -> descriptor_pb2.FileDescriptorProto:
    """A service whose method takes and gives the message R."""
    file = descriptor_pb2.FileDescriptorProto(
        name="a.proto", package="a", syntax="proto3", message_type=messages, **more
    )
    file.service.add(name="S").method.add(name="M", input_type=".a.R", output_type=".a.R")
    return file


def _message(name: str, *fields: dict) -> descriptor_pb2.DescriptorProto:
    made = descriptor_pb2.DescriptorProto(name=name)
    for number, field in enumerate(fields):
        made.field.add(**({"name": f"f{number}", "number": number + 1, "label": 1, "type": 9} | field))
    return made


def _chain(levels: int) -> list[descriptor_pb2.DescriptorProto]:
    inner = [_message(f"R{level}", {"type": 11, "type_name": f".a.R{level + 1}"}) for level in range(1, levels)]
    return [_message("R", {"type": 11, "type_name": ".a.R1"}), *inner, _message(f"R{levels}")]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([_message("R", *({"name": f"{'n' * 100}{number}"} for number in range(3000)))], "too many fields to describe"),
        ([_message("R", {"name": "n" * 300_000})], "too many fields to describe"),
        (_chain(3000), "do not fit together"),
        ([_message("R", {"name": "x"}, {"name": "x"})], "do not fit together"),
    ],
    ids=["fields", "long name", "levels", "one name twice"],
)
def test_descriptor_bomb_in_one_method_leaves_that_method_out(messages, words):
    bad = _file(*messages)
    good = descriptor_pb2.FileDescriptorProto(name="b.proto", package="b", message_type=[_message("Q")])
    good.service.add(name="T").method.add(name="N", input_type=".b.Q", output_type=".b.Q")
    made = converted(descriptor_pb2.FileDescriptorSet(file=[bad, good]).SerializeToString())
    assert [tool.name for tool in made.tools] == ["T_N"]
    assert [finding.message for finding in made.findings if words in finding.message]


def test_descriptor_of_an_enumeration_with_very_many_values_is_described_without_them():
    enum = descriptor_pb2.EnumDescriptorProto(name="E")
    for number in range(50_000):
        enum.value.add(name=f"VALUE_{number}", number=number)
    file = _file(_message("R", {"type": 14, "type_name": ".a.E"}), enum_type=[enum])
    (tool,) = converted(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()).tools
    assert len(json.dumps(tool.input_schema)) < 1000
    assert MessageCodec(tool.binding.descriptors, "a.R", "a.R").encode({"f0": "VALUE_49999"})


@pytest.mark.parametrize(("name", "expected"), [("foo_bar", "fooBar"), ("b__c_", "bC"), ("_x", "X"), ("Up_d1", "UpD1")])
def test_schema_of_a_description_without_json_names_has_them_as_protobuf_makes_them(name, expected):
    """As reflection of servers in Python gives it."""
    (tool,) = converted(
        descriptor_pb2.FileDescriptorSet(file=[_file(_message("R", {"name": name}))]).SerializeToString()
    ).tools
    assert [*tool.input_schema["properties"]] == [expected]
    codec = MessageCodec(tool.binding.descriptors, "a.R", "a.R")
    assert codec.decode(codec.encode({expected: "x"})) == {expected: "x"}
