"""Protobuf keys and values: what protobuf's own library reads, Confluent's frame, and JSON that comes back."""

import asyncio
import base64
import sys
from typing import Any

import jsonschema_rs
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.infrastructure.kafka.binding import MessagePart
from stoa.infrastructure.kafka.codec import PartReader, PartWriter, schema_of
from stoa.infrastructure.kafka.part_codec import Undecodable
from stoa.infrastructure.kafka.protobuf import protobuf_part
from stoa.infrastructure.protobuf.protos import compiled

ORDER = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "shop/money.proto";

message Note { string text = 1; }
// An order of a customer.
message Order {
  // Who orders.
  string customer = 1;
  int64 number = 2;
  repeated Line lines = 3;
  map<string, bytes> attachments = 4;
  google.protobuf.Timestamp at = 5;
  Money total = 6;
  State state = 7;
  optional bool urgent = 8;
  oneof way { string pickup = 9; Address ship_to = 10; }
  double weight = 11;
  Note note = 12;
  message Line {
    message Discount { sint32 percent = 1; }
    string item = 1;
    uint32 count = 2;
    Discount discount = 3;
  }
}
message Address { string city = 1; }
enum State { UNKNOWN = 0; PAID = 1; }
"""
MONEY = 'syntax = "proto3"; package shop; message Money { string currency = 1; sint64 units = 2; }'
FILES = {"order.proto": ORDER, "shop/money.proto": MONEY}
VALUE = {
    "customer": "Ada",
    "number": "9007199254740993",
    "lines": [{"item": "pen", "count": 3, "discount": {"percent": -5}}],
    "attachments": {"a": "AQI="},
    "at": "2026-01-02T03:04:05Z",
    "total": {"currency": "EUR", "units": "-12"},
    "state": "PAID",
    "urgent": False,
    "shipTo": {"city": "Köln"},
    "weight": 0.5,
}


def descriptors(files: dict[str, str] = FILES, main: str = "order.proto") -> str:
    return base64.b64encode(asyncio.run(compiled(main, files))).decode()


SET = descriptors()


def by_protobuf(name: str, data: bytes) -> Any:
    """Read by protobuf's library, from the descriptors as protoc wrote them."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(SET)).file:
        pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name)).FromString(data)
    return json_format.MessageToDict(message, descriptor_pool=pool)


def test_kafka_protobuf_value_is_what_protobufs_library_reads() -> None:
    part = protobuf_part(SET, "Order")
    data = PartWriter(part, "value").write(VALUE)
    assert by_protobuf("shop.Order", data) == VALUE
    assert PartReader(part).read(data) == VALUE
    schema, definitions = schema_of(part, "value", is_input=True)
    assert jsonschema_rs.is_valid({**schema, "$defs": definitions}, VALUE)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1).map(str)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "customer": TEXT.filter(bool),
        "number": INT64.filter(lambda number: number != "0"),
        "lines": st.lists(
            st.fixed_dictionaries({}, optional={"item": TEXT.filter(bool), "count": st.integers(1, 2**32 - 1)}),
            min_size=1,
            max_size=3,
        ),
        "attachments": st.dictionaries(
            TEXT, st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode()), min_size=1, max_size=3
        ),
        "total": st.fixed_dictionaries({}, optional={"units": INT64.filter(lambda number: number != "0")}),
        "state": st.just("PAID"),
        "urgent": st.booleans(),
        "shipTo": st.fixed_dictionaries({}, optional={"city": TEXT.filter(bool)}),
        "weight": st.floats(allow_nan=False, allow_infinity=False).filter(bool),
    },
)
PART, FRAMED = protobuf_part(SET, "Order"), protobuf_part(SET, "Order", 7)
SCHEMA, DEFINITIONS = schema_of(PART, "value", is_input=True)
IS_VALID = jsonschema_rs.validator_for({**SCHEMA, "$defs": DEFINITIONS}).is_valid
WRITERS = {part.schema_id: (PartWriter(part, "value"), PartReader(part)) for part in (PART, FRAMED)}


@given(value=VALUES, schema_id=st.sampled_from([None, 7]))
def test_kafka_protobuf_values_come_back_as_they_went_and_are_valid_by_their_json_schema(value, schema_id) -> None:
    writer, reader = WRITERS[schema_id]
    assert IS_VALID(value)
    data = writer.write(value)
    assert reader.read(data) == value
    assert by_protobuf("shop.Order", data if schema_id is None else data[7:]) == value


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("shop.Note", b"\x00"),  # the first message: one zero stands for the path [0]
        ("shop.Order", b"\x02\x02"),  # zigzag varints: one index, 1
        ("shop.Order.Line.Discount", b"\x06\x02\x00\x00"),
        ("shop.Address", b"\x02\x04"),
    ],
)
def test_kafka_protobuf_frame_names_the_message_by_its_place_in_the_file(name: str, frame: bytes) -> None:
    data = PartWriter(protobuf_part(SET, name, 258), "value").write({})
    assert data == b"\x00\x00\x00\x01\x02" + frame
    other = PartReader(protobuf_part(SET, "shop.Order", 258))
    assert other.read(data) == {}


def test_kafka_protobuf_record_of_another_message_of_the_schema_is_shown_as_that() -> None:
    data = PartWriter(protobuf_part(SET, "shop.Address", 7), "value").write({"city": "Ulm"})
    assert PartReader(protobuf_part(SET, "shop.Order", 7)).read(data) == {"city": "Ulm"}


@pytest.mark.parametrize(
    "rest",
    [b"", b"\x02", b"\x02\x40", b"\x80" * 9, b"\x03\x01", b"\x04\x02\x80\x01", b"\xfe\xff\xff\xff\x0f", b"\x02\x01"],
    ids=repr,
)
def test_kafka_protobuf_frame_that_names_no_message_is_refused(rest: bytes) -> None:
    with pytest.raises(Undecodable):
        PartReader(protobuf_part(SET, "shop.Order", 7)).read(b"\x00\x00\x00\x00\x07" + rest)


@given(st.binary(max_size=60))
def test_kafka_protobuf_arbitrary_bytes_are_decoded_or_refused(data: bytes) -> None:
    for _, reader in WRITERS.values():
        try:
            reader.read(data)
        except Undecodable:
            continue


def test_kafka_protobuf_record_that_nests_without_end_is_refused() -> None:
    part = protobuf_part(descriptors({"n.proto": 'syntax = "proto3"; message N { N n = 1; }'}, "n.proto"))
    data = b""
    for _ in range(20_000):
        size, length = len(data), bytearray()
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        data = b"\x0a" + bytes([*length, size]) + data
        if len(data) > 60_000:
            break
    with pytest.raises(Undecodable):
        PartReader(part).read(data)
    assert len(data) > sys.getrecursionlimit()


def test_kafka_protobuf_value_that_does_not_fit_is_refused() -> None:
    for value in ({"lines": 5}, {"pickup": "a", "shipTo": {}}, {"state": "LOST"}, [], "text"):
        with pytest.raises(InvalidArguments):
            PartWriter(PART, "value").write(value)


@pytest.mark.parametrize(
    ("source", "wanted", "message"),
    [
        ("message A {} message B { A a = 1; }", "", "B"),
        ("message A {} message B {}", "", "A"),
        ("message A {}\n// @RootNode\nmessage B {}", "", "B"),
        ("message A { A again = 1; } message B { A a = 1; }", "A", "A"),
        ("package p; message A {} message B {}", "events.B", "p.B"),
        ("package p; message A { message In {} } message B {}", "p.A.In", "p.A.In"),
        ("message A { message In { B b = 1; } } message B {}", "", "A"),
    ],
)
def test_kafka_protobuf_message_is_the_named_the_marked_or_the_outermost(source, wanted, message) -> None:
    files = {"f.proto": f'syntax = "proto3"; {source}'}
    assert protobuf_part(descriptors(files, "f.proto"), wanted).message_type == message


def test_kafka_protobuf_schema_has_comments_and_names_of_its_own() -> None:
    described = MessagePart(format="protobuf", definition=SET, message_type="shop.Order")
    schema, definitions = schema_of(described, "key", is_input=True)
    assert schema["description"] == "An order of a customer."
    assert schema["properties"]["customer"]["description"] == "Who orders."
    assert all(name.startswith("key.") for name in definitions)
    assert schema["properties"]["lines"]["items"] == {"$ref": "#/$defs/key.shop.Order.Line"}


@pytest.mark.parametrize(
    "definition", ["", "no base64!", base64.b64encode(b"no descriptors").decode()], ids=["empty", "text", "bytes"]
)
def test_kafka_protobuf_descriptors_that_cannot_be_used_are_refused(definition: str) -> None:
    with pytest.raises(InvalidInput):
        protobuf_part(definition)


def test_kafka_protobuf_key_with_a_map_is_always_the_same_bytes() -> None:
    many = {str(number): "AA==" for number in range(20)}
    writer = PartWriter(PART, "key")
    backwards = dict(reversed(many.items()))
    assert writer.write({"attachments": many}) == writer.write({"attachments": backwards})


def test_kafka_protobuf_source_that_does_not_compile_is_told_in_protocs_words() -> None:
    with pytest.raises(InvalidInput, match="Expected") as refused:
        descriptors({"f.proto": "massage A {}"}, "f.proto")
    assert "absl" not in refused.value.message
    with pytest.raises(InvalidInput, match="name"):
        descriptors({"../f.proto": "message A {}"}, "../f.proto")
