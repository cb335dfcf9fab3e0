"""Plans give what json_format gives, for every message and whatever is given as one."""

import asyncio
import base64
import contextlib
import json
from functools import cache
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.grpc.loopback import compiled

from stoa.domain.errors import InvalidArguments
from stoa.infrastructure.documents.json_allowance import JsonAllowance
from stoa.infrastructure.grpc.messages import MessageCodec
from stoa.infrastructure.protobuf.message_json import JsonPlans
from stoa.infrastructure.protobuf.message_plan import MAX_DEPTH, MessagePlans, Unplanned
from stoa.infrastructure.protobuf.message_types import Undecodable

PROTO3 = """
syntax = "proto3";
package all.v3;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Colour { option allow_alias = true; NONE = 0; RED = 1; ROT = 1; GREEN = -2; }
message M {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10;
  float single = 11; double number = 12; bool flag = 13; string text = 14; bytes blob = 15; Colour colour = 16;
  optional int32 maybe = 17; optional Colour perhaps = 18; optional string some_text = 19;
  oneof choice { string left = 20; uint64 right = 21; M inner_choice = 22; google.protobuf.Value any_choice = 23;
    google.protobuf.NullValue null_choice = 56; }
  optional google.protobuf.NullValue maybe_nothing = 57; repeated google.protobuf.NullValue nothings = 58;
  repeated int64 numbers = 24; repeated string texts = 25; repeated Colour colours = 26; repeated M more = 27;
  repeated bytes blobs = 28; repeated double doubles = 29; repeated float singles = 30;
  map<string, string> names = 31; map<int32, M> by_number = 32; map<bool, Colour> flags = 33;
  map<uint64, bytes> big = 34;
  map<string, google.protobuf.Value> values = 35; map<string, google.protobuf.Timestamp> times = 36;
  M inner = 37; google.protobuf.Timestamp at = 38; google.protobuf.Duration lasts = 39;
  google.protobuf.FieldMask mask = 40; google.protobuf.Struct bag = 41; google.protobuf.Value value = 42;
  google.protobuf.ListValue list = 43; google.protobuf.Any anything = 44; google.protobuf.Empty empty = 45;
  google.protobuf.NullValue nothing = 46; google.protobuf.Int64Value wrapped_number = 47;
  google.protobuf.StringValue wrapped_text = 48; google.protobuf.BytesValue wrapped_blob = 49;
  google.protobuf.DoubleValue wrapped_double = 50; google.protobuf.BoolValue wrapped_flag = 51;
  repeated google.protobuf.Value any_values = 52; repeated google.protobuf.Int32Value wrapped_numbers = 53;
  string renamed = 54 [json_name = "otherName"]; string dashed = 55 [json_name = "da-shed"];
}
"""
PROTO2 = """
syntax = "proto2";
package all.v2;
enum Colour { NONE = 0; RED = 1; GREEN = 2; }
message M {
  required int32 id = 1;
  optional string text = 2 [default = "something"];
  optional Colour colour = 3 [default = GREEN];
  repeated Colour colours = 4;
  optional int64 number = 5 [default = 7];
  optional group Sub = 6 { optional float ratio = 1; }
  map<string, Colour> map = 7;
  extensions 100 to 199;
}
extend M { optional string more = 100; }
"""


@cache
def described(syntax: str) -> bytes:
    return asyncio.run(compiled(PROTO3 if syntax == "v3" else PROTO2, f"{syntax}.proto"))


@pytest.fixture(scope="module", autouse=True)
def _compiled_before() -> None:
    """protoc takes longer than an example may."""
    for syntax in ("v2", "v3"):
        codec(syntax)
        judge(syntax)


@cache
def codec(syntax: str) -> MessageCodec:
    return MessageCodec(base64.b64encode(described(syntax)).decode(), f"all.{syntax}.M", f"all.{syntax}.M")


@cache
def judge(syntax: str) -> tuple[Any, Any]:
    """A pool and the class of M, apart from those of the codec."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described(syntax)).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool, message_factory.GetMessageClass(pool.FindMessageTypeByName(f"all.{syntax}.M"))


def judged(value: Any, syntax: str) -> Any:
    pool, kind = judge(syntax)
    message = json_format.ParseDict(value, kind(), descriptor_pool=pool)
    message.SerializeToString()
    return message


def plain(value: Any) -> Any:
    """Without OrderedDict, which json_format makes of an Any."""
    if isinstance(value, dict):
        return {name: plain(content) for name, content in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list) else value


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**33), 2**33),
    st.floats(),
    st.floats(width=32),
    st.text(max_size=5),
    st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode()),
    st.binary(max_size=6).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")),
    st.integers(-(2**64), 2**64).map(str),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "nan", "1.0", "1e3", " 1", "1_0", "²", "\ud800", "true", "false"]),
    st.sampled_from(["NONE", "RED", "ROT", "GREEN", "BLUE", "2026-01-02T03:04:05.000000678Z", "1.500s", "a.bC,d"]),
)
ANY = st.fixed_dictionaries(
    {"@type": st.sampled_from(["x/all.v3.M", "x/google.protobuf.Duration", "x/not.Known"])},
    optional={"text": SCALARS, "value": SCALARS},
)
VALUES = st.recursive(
    st.one_of(SCALARS, ANY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "INT32": st.integers(-(2**31), 2**31 - 1) | st.integers(-(2**31), 2**31 - 1).map(str),
    "INT64": st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**63), 2**63 - 1).map(str),
    "UINT32": st.integers(0, 2**32 - 1),
    "UINT64": st.integers(0, 2**64 - 1).map(str),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    "FLOAT": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-1e38, 1e38),
    "BOOL": st.booleans(),
    "STRING": st.text(max_size=8),
    "ENUM": st.sampled_from(["RED", "GREEN"]),
}
KINDS = {number: name for name, number in vars(descriptor_pb2.FieldDescriptorProto).items() if name.startswith("TYPE_")}
WELL_KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "Timestamp": st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
    "Duration": st.integers(-(10**9), 10**9).map(lambda seconds: f"{seconds}s"),
    "FieldMask": st.sampled_from(["a", "a,b.c", ""]),
    "Struct": st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
    "Value": VALUES,
    "ListValue": st.lists(VALUES, max_size=3),
    "Any": st.just({"@type": "x/all.v3.M", "text": "in"})
    | st.just({"@type": "x/google.protobuf.Duration", "value": "1s"}),
    "Empty": st.just({}),
}


def _one(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        if field.type == field.TYPE_BYTES:
            return st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode())
        if field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue":
            return st.sampled_from([None, "NULL_VALUE", 0])
        kind = next(
            name[8:]
            for name, number in vars(type(field)).items()
            if name[:8] == "CPPTYPE_" and number == field.cpp_type
        )
        return FITTING[kind]
    name = field.message_type.name
    if field.message_type.file.name == "google/protobuf/wrappers.proto":
        return _one(field.message_type.fields_by_name["value"], depth)
    return WELL_KNOWN[name] if name in WELL_KNOWN else messages(field.message_type, depth + 1)


def _field(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        keys = _one(key, depth).map(lambda key: str(key).lower() if isinstance(key, bool) else str(key))
        return st.dictionaries(keys, _one(value, depth), max_size=2)
    return st.lists(_one(field, depth), max_size=3) if field.is_repeated else _one(field, depth)


def messages(descriptor: Any, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """JSON that mostly fits the message."""
    fields = [field for field in descriptor.fields if depth < 2 or field.message_type is None]
    spelled = st.sampled_from(
        [(field.json_name, field) for field in fields] + [(field.name, field) for field in fields]
    )
    chosen = st.lists(spelled, max_size=6, unique_by=lambda pair: pair[0])
    return chosen.flatmap(lambda pairs: st.fixed_dictionaries({name: _field(field, depth) for name, field in pairs}))


def arguments(syntax: str) -> st.SearchStrategy[Any]:
    descriptor = judge(syntax)[1].DESCRIPTOR
    names = [name for field in descriptor.fields for name in (field.name, field.json_name)]
    anything = st.dictionaries(
        st.sampled_from(names) | st.text(max_size=3) | st.just("[all.v2.more]"), VALUES, max_size=4
    )
    return messages(descriptor) | anything


@pytest.mark.parametrize("syntax", ["v3", "v2"])
@settings(max_examples=100)
@given(st.data())
def test_message_plan_takes_what_json_format_takes_and_refuses_the_rest(syntax: str, data: st.DataObject) -> None:
    value = data.draw(arguments(syntax))
    before = json.dumps(value, sort_keys=True)
    try:
        expected = judged(value, syntax)
    except Exception:  # noqa: BLE001  # whatever it says
        with pytest.raises(InvalidArguments):
            codec(syntax).encode(value)
    else:
        assert judge(syntax)[1].FromString(codec(syntax).encode(value)) == expected
    assert json.dumps(value, sort_keys=True) == before


@pytest.mark.parametrize("syntax", ["v3", "v2"])
@settings(max_examples=100)
@given(st.data())
def test_message_plan_writes_the_json_that_json_format_writes(syntax: str, data: st.DataObject) -> None:
    pool, kind = judge(syntax)
    message = kind()
    for _ in range(data.draw(st.integers(1, 3))):  # a further one adds to what is there
        with contextlib.suppress(Exception):
            json_format.ParseDict(data.draw(arguments(syntax)), message, descriptor_pool=pool)
    unknown = data.draw(
        st.sampled_from([b"", b"\x80\x01\x63", b"\x18\x63", b"\x38\x01", b"\xa2\x06\x01x", b"\xb2\x02\x01\xff"])
    )
    wire = message.SerializePartialToString() + unknown
    try:
        expected = plain(json_format.MessageToDict(kind.FromString(wire), descriptor_pool=pool))
    except Exception:  # noqa: BLE001  # whatever it says
        with pytest.raises(Undecodable):
            codec(syntax).decode(wire)
    else:
        given_back = codec(syntax).decode(wire)
        assert repr(given_back) == repr(expected)  # NaN is equal to nothing, and 1 is equal to True and 1.0


@given(st.floats(width=32))
def test_message_plan_writes_four_byte_floats_as_short_as_json_format(number: float) -> None:
    message = judge("v3")[1](single=number)
    assert repr(codec("v3").decode(message.SerializeToString())) == repr(json_format.MessageToDict(message))


@pytest.mark.parametrize("syntax", ["v3", "v2"])
def test_message_plan_is_what_does_the_work_for_fitting_messages(syntax: str) -> None:
    """Without this the property tests could pass by json_format alone."""
    pool, kind = judge(syntax)
    plans = MessagePlans(pool)
    fitting = {
        "v3": {
            "i32": 1, "i64": "9007199254740993", "u64": "18446744073709551615", "single": 0.1,
            "number": 1.5, "flag": True,
            "text": "t", "blob": "AP8=", "colour": "GREEN", "maybe": 0, "left": "l", "numbers": ["1", "2"],
            "more": [{"text": "x"}], "byNumber": {"-7": {"inner": {}}}, "flags": {"true": "RED"},
            "inner": {"texts": ["a"]},
            "at": "2026-01-02T03:04:05Z", "bag": {"a": [1.0, None]}, "wrappedNumber": "0", "anyValues": [None, 1.0],
        },
        "v2": {"id": 1, "text": "t", "colour": "RED", "colours": ["RED"], "sub": {"ratio": 0.5}, "map": {"a": "GREEN"}},
    }[syntax]  # fmt: skip
    message = plans.from_json(kind.DESCRIPTOR)(fitting, 0)
    assert message == judged(fitting, syntax)
    assert JsonPlans(pool).to_json(kind.DESCRIPTOR)(message, JsonAllowance()) == fitting


def test_message_plan_leaves_extensions_in_arguments_to_json_format() -> None:
    value = {"id": 1, "[all.v2.more]": "x"}
    assert codec("v2").decode(codec("v2").encode(value)) == value
    pool, kind = judge("v2")
    with pytest.raises(Unplanned):
        MessagePlans(pool).from_json(kind.DESCRIPTOR)(value, 0)


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH])
def test_message_plan_ends_where_json_format_ends(levels: int) -> None:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"inner": value}
    if levels < MAX_DEPTH:
        assert judge("v3")[1].FromString(codec("v3").encode(value)) == judged(value, "v3")
    else:
        with pytest.raises(InvalidArguments, match="deep"):
            codec("v3").encode(value)
