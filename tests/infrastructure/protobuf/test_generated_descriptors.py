"""For generated descriptions, arguments and answers are what json_format makes of them, and what it writes fits
the schema."""

import base64
import json
from typing import Any

import jsonschema_rs
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoa.infrastructure.protobuf.descriptors import Descriptors
from stoa.infrastructure.protobuf.message_types import MessagePool
from stoa.infrastructure.protobuf.schema import SchemaWriter

OPTIONAL, REQUIRED, REPEATED = 1, 2, 3
GROUP, MESSAGE, ENUM, BYTES, STRING = 10, 11, 14, 12, 9
SCALARS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 18]
KEYS = [3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 17, 18]
NAMES = ["a", "foo_bar", "x_1", "UPPER_Case", "b__c", "value", "type", "d", "e", "f", "messages", "ends_"]
MEMBER_NUMBER = 18_999
NUMBERS = st.integers(1, MEMBER_NUMBER - 1) | st.integers(20_000, 2**29 - 1)


@st.composite
def files(draw: st.DrawFn) -> descriptor_pb2.FileDescriptorProto:
    """One file with an enumeration E and the messages M0, M1, ..., which refer to each other."""
    is_proto3 = draw(st.booleans())
    file = descriptor_pb2.FileDescriptorProto(name="g.proto", package="g", syntax="proto3" if is_proto3 else "proto2")
    enum = file.enum_type.add(name="E")
    others = draw(st.lists(st.integers(-(2**31), 2**31 - 1).filter(bool), max_size=3, unique=True))
    for place, number in enumerate([0, *others]):
        enum.value.add(name=f"V{place}", number=number)
    count = draw(st.integers(1, 3))
    for place in range(count):
        message = file.message_type.add(name=f"M{place}")
        names = draw(st.lists(st.sampled_from(NAMES), max_size=6, unique=True))
        numbers = draw(st.lists(NUMBERS, min_size=len(names), max_size=len(names), unique=True))
        if draw(st.booleans()):
            message.oneof_decl.add(name="choice")
        for name, number in zip(names, numbers, strict=True):
            _add_field(draw, message, name, number, count, is_proto3=is_proto3)
        members = {field.oneof_index for field in message.field if field.HasField("oneof_index")}
        if len(message.oneof_decl) and 0 not in members:  # an empty oneof does not build
            message.field.add(name="member", number=MEMBER_NUMBER, label=OPTIONAL, type=STRING, oneof_index=0)
    return file


def _add_field(draw: st.DrawFn, message: Any, name: str, number: int, count: int, *, is_proto3: bool) -> None:
    kinds = ["scalar", "scalar", "enum", "message", "map", *([] if is_proto3 else ["group"])]
    kind = draw(st.sampled_from(kinds))
    field = message.field.add(name=name, number=number, label=draw(st.sampled_from([OPTIONAL, OPTIONAL, REPEATED])))
    other = f".g.M{draw(st.integers(0, count - 1))}"
    if kind == "scalar":
        field.type = draw(st.sampled_from(SCALARS))
    elif kind == "enum":
        field.type, field.type_name = ENUM, ".g.E"
    elif kind == "message":
        field.type, field.type_name = MESSAGE, other
    else:
        inner = message.nested_type.add(name=f"Inner{number}" if kind == "map" else f"G{number}")
        field.type_name = f".g.{message.name}.{inner.name}"
        if kind == "group":
            field.type, field.name = GROUP, inner.name.lower()
            inner.field.add(name="in", number=1, label=OPTIONAL, type=draw(st.sampled_from(SCALARS)))
        else:
            field.type, field.label = MESSAGE, REPEATED
            inner.options.map_entry = True
            inner.field.add(name="key", number=1, label=OPTIONAL, type=draw(st.sampled_from(KEYS)))
            value = inner.field.add(
                name="value", number=2, label=OPTIONAL, type=draw(st.sampled_from([5, 9, MESSAGE, ENUM]))
            )
            if value.type in {MESSAGE, ENUM}:
                value.type_name = other if value.type == MESSAGE else ".g.E"
    if field.label == OPTIONAL and len(message.oneof_decl) and draw(st.booleans()):
        field.oneof_index = 0


def values(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        keys = scalars(key).map(lambda key: str(key).lower() if isinstance(key, bool) else str(key))
        return st.dictionaries(keys, one(value, depth), max_size=2)
    return st.lists(one(field, depth), max_size=2) if field.is_repeated else one(field, depth)


def one(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, depth + 1)
    if field.enum_type is not None:
        return st.sampled_from([value.name for value in field.enum_type.values])
    return scalars(field)


def scalars(field: Any) -> st.SearchStrategy[Any]:
    if field.type == BYTES:
        return st.binary(max_size=4).map(lambda data: base64.b64encode(data).decode())
    if field.cpp_type in {field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT}:
        width = 32 if field.cpp_type == field.CPPTYPE_FLOAT else 64
        return st.floats(-(2.0**100), 2.0**100, width=width) | st.sampled_from(["NaN", "Infinity"])
    if field.cpp_type in {field.CPPTYPE_BOOL, field.CPPTYPE_STRING}:
        return st.booleans() if field.cpp_type == field.CPPTYPE_BOOL else st.text(max_size=4)
    size = 64 if field.cpp_type in {field.CPPTYPE_INT64, field.CPPTYPE_UINT64} else 32
    is_signed = field.cpp_type in {field.CPPTYPE_INT32, field.CPPTYPE_INT64}
    numbers = st.integers(-(2 ** (size - 1)), 2 ** (size - 1) - 1) if is_signed else st.integers(0, 2**size - 1)
    return numbers.map(str) if size == 64 else numbers


def messages(descriptor: Any, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    fields = [field for field in descriptor.fields if depth < 3 or field.message_type is None]
    groups = {field.name: field.containing_oneof.name if field.containing_oneof else field.name for field in fields}
    if not fields:
        return st.just({})
    chosen = st.lists(st.sampled_from(fields), max_size=5, unique_by=lambda field: groups[field.name])
    return chosen.flatmap(
        lambda fields: st.fixed_dictionaries({field.json_name: values(field, depth) for field in fields})
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_generated_description_reads_and_writes_as_json_format_does(data: st.DataObject) -> None:
    file = data.draw(files())
    whole = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    judge = message_factory.GetMessageClass(pool.FindMessageTypeByName("g.M0"))
    value = data.draw(messages(judge.DESCRIPTOR))

    expected = json_format.ParseDict(value, judge(), descriptor_pool=pool)
    descriptors = Descriptors(whole)
    carried = descriptors.pruned(descriptors.closure(["g.M0"]))
    ours = MessagePool(base64.b64encode(carried).decode()).message("g.M0")
    assert judge.FromString(ours.encode(value)).SerializeToString(deterministic=True) == (
        expected.SerializeToString(deterministic=True)
    )
    written = json_format.MessageToDict(expected, descriptor_pool=pool)
    # As text, in which -0.0, 1 and 1.0 differ; the entries of a map have no order.
    assert json.dumps(ours.decode(expected.SerializeToString()), sort_keys=True) == json.dumps(written, sort_keys=True)

    for is_input in (True, False):
        schema, is_complete = SchemaWriter(descriptors, is_input=is_input).schema("g.M0")
        assert is_complete
        validator = jsonschema_rs.validator_for({"type": "object", **schema}, offline=True)
        assert validator.is_valid(written), next(iter(validator.iter_errors(written))).message
