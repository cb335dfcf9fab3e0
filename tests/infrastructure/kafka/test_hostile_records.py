"""Hostile records and schemas spoil the calls that read them, and harm nothing else."""

import asyncio
import gzip
import json
import struct
from typing import Any

import cramjam
import pytest
from tests.infrastructure.kafka.brokers import mock_cluster
from tests.infrastructure.kafka.peer import CORRELATION, REPLY_TO, context, kafka_tool, make_topics, produce, responding

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded, JsonAllowance
from stoa.infrastructure.kafka import KafkaBackend
from stoa.infrastructure.kafka.avro import AvroType
from stoa.infrastructure.kafka.binding import MessagePart
from stoa.infrastructure.kafka.codec import MAX_SCHEMAS, PartReader, PartWriter
from stoa.infrastructure.kafka.part_codec import Undecodable
from stoa.infrastructure.kafka.records import (
    MAX_UNPACKED_BYTES,
    FetchedRecords,
    UnreadableBatch,
    is_quickly_read,
)

MIB = 1024 * 1024
PARTITIONS = 4
"""Partitions of the mock cluster's topics."""
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
PACKED = {
    GZIP: gzip.compress,
    SNAPPY: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    LZ4: lambda data: bytes(cramjam.lz4.compress(data)),
    ZSTD: lambda data: bytes(cramjam.zstd.compress(data)),
}


def batch(packed: bytes, codec: int, first: int = 0, last: int = 9) -> bytes:
    """A record batch (magic 2) with packed records; its checksum is none."""
    head = struct.pack(">qiibIhi", first, len(packed) + 49, 0, 2, 0, codec, last - first)
    return head + b"\0" * (61 - len(head)) + packed


def fetched(data: bytes) -> FetchedRecords:
    return FetchedRecords("t", 0, data, 0, None)


@pytest.mark.parametrize("codec", PACKED)
def test_kafka_batch_that_unpacks_to_more_than_is_read_is_refused_with_the_offset_behind_it(codec: int) -> None:
    packed = PACKED[codec](bytes(MAX_UNPACKED_BYTES + 1))
    assert len(packed) < MIB
    with pytest.raises(UnreadableBatch, match=f"more than {MAX_UNPACKED_BYTES} bytes once unpacked") as refused:
        fetched(batch(packed, codec, 100, 109))
    assert refused.value.next_offset == 110
    assert fetched(batch(PACKED[codec](bytes(MAX_UNPACKED_BYTES)), codec)).unpacked_bytes == MAX_UNPACKED_BYTES


def test_kafka_batch_whose_second_gzip_member_is_large_is_refused() -> None:
    with pytest.raises(UnreadableBatch):
        fetched(batch(gzip.compress(b"few") + gzip.compress(bytes(64 * MIB)), GZIP))


@pytest.mark.parametrize("codec", PACKED)
def test_kafka_batches_that_are_too_large_together_are_read_one_after_the_other(codec: int) -> None:
    one = batch(PACKED[codec](bytes(9 * MIB)), codec)
    assert fetched(one * 5).unpacked_bytes == 9 * MIB
    bomb = batch(PACKED[codec](bytes(MAX_UNPACKED_BYTES + 1)), codec)
    assert fetched(one + bomb).unpacked_bytes == 9 * MIB


def test_kafka_batch_that_is_compressed_or_large_is_not_read_in_the_event_loop() -> None:
    assert is_quickly_read(batch(bytes(1000), 0))
    assert not is_quickly_read(batch(bytes(1000), 0) + batch(gzip.compress(b""), GZIP))
    assert not is_quickly_read(batch(bytes(64 * 1024), 0))


async def test_kafka_reply_topic_goes_on_behind_a_batch_that_is_not_read() -> None:
    def poisoned(message: Any) -> Any:
        headers = dict(message.headers())
        topic = headers[REPLY_TO].decode()
        for number in range(PARTITIONS):
            produce(servers, topic, [{"value": bytes(MAX_UNPACKED_BYTES), "partition": number}], **compressing)
        yield topic, message.value(), {CORRELATION: headers[CORRELATION]}

    compressing = {"compression.type": "zstd", "message.max.bytes": 64 * MIB}
    backend = KafkaBackend(InMemoryCredentialSource())
    with mock_cluster() as servers:
        make_topics(servers, "asked", "replies")
        tool = kafka_tool(servers, "request", "asked", reply={"topic": "replies"})
        with responding(servers, "asked", poisoned):
            async with asyncio.timeout(30):
                answer = await backend.prepare(tool)({"value": {"n": 1}}, context(tool))
        await backend.close()
    assert json.loads(answer.body)["value"] == {"n": 1}


def record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [*fields]}


def doubled(levels: int, **notes: Any) -> dict[str, Any]:
    """A record that holds 2 ** levels nulls and takes no byte."""
    made = record("R0", {"name": "n", "type": "null", "default": None})
    for level in range(1, levels):
        inner = {"name": "b", "type": made["name"], **notes}
        made = record(f"R{level}", {"name": "a", "type": made, **notes}, inner)
    return made


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (record("A", {"name": "a", "type": "A", "default": {}}), "default of the Avro schema has no end"),
        (doubled(40, default={}), "default of the Avro schema has no end, or more than"),
        (record("L", {"name": "l", "type": {"type": "array", "items": doubled(40)}}), "values without bytes"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2_000_000_000}, "scale"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": -1}, "scale"),
    ],
)
def test_avro_schema_without_bounds_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        AvroType(json.dumps(schema))


def test_avro_list_that_begins_with_its_record_is_no_schema_without_end() -> None:
    schema = record("Node", {"name": "next", "type": ["Node", "null"]}, {"name": "n", "type": "int", "default": 1})
    made = AvroType(json.dumps(schema))
    assert made.decode(made.encode({"next": {"next": None}})) == {"next": {"next": None, "n": 1}, "n": 1}


def test_avro_defaults_of_one_call_are_bounded() -> None:
    schema = {"type": "array", "items": record("I", {"name": "x", "type": doubled(12, default={}), "default": {}},
                                               {"name": "n", "type": "int"})}  # fmt: skip
    writer = PartWriter(MessagePart(format="avro", definition=json.dumps(schema)), "value")
    assert writer.write([{"n": 1}])
    with pytest.raises(InvalidArguments):
        writer.write([{"n": 1}] * 1000)


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"type": "array", "items": "boolean"}, b"\x80\x89\x7a" + bytes(1_000_000) + b"\0"),
        ({"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["s" * 1000]}},
         b"\xc0\x9a\x0c" + bytes(100_000) + b"\0"),
        ({"type": "array", "items": record("R", {"name": "n" * 1000, "type": "boolean"})},
         b"\xc0\x9a\x0c" + bytes(100_000) + b"\0"),
        ({"type": "array", "items": ["int", {"type": "fixed", "name": "F" * 1000, "size": 1}]},
         b"\xc0\x9a\x0c" + b"\x02\x00" * 100_000 + b"\0"),
        (doubled(30), b""),
    ],
    ids=["values", "symbols", "names", "branches", "nothing"],
)  # fmt: skip
def test_avro_value_whose_json_is_far_larger_than_its_bytes_is_not_read(schema: Any, data: bytes) -> None:
    with pytest.raises(AllowanceExceeded):
        AvroType(json.dumps(schema)).decode(data)


def test_avro_decimal_of_more_digits_than_are_written_is_not_read() -> None:
    made = AvroType('{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}')
    with pytest.raises(Undecodable):
        made.decode(b"\xc0\x9a\x0c" + b"\x7f" * 100_000)


def test_kafka_json_value_with_too_many_values_is_not_read() -> None:
    with pytest.raises(AllowanceExceeded):
        PartReader(MessagePart()).read(b"[" + b"1," * 600_000 + b"1]")


def test_kafka_allowance_is_that_of_the_whole_answer() -> None:
    reader = PartReader(MessagePart(format="avro", definition='{"type": "array", "items": "boolean"}'))
    allowance, data = JsonAllowance(), b"\xc0\x9a\x0c" + bytes(100_000) + b"\0"
    with pytest.raises(AllowanceExceeded):
        for _ in range(10):
            assert len(reader.read(data, allowance)) == 100_000


def test_kafka_schemas_that_records_name_are_forgotten_beyond_a_bound() -> None:
    reader = PartReader(MessagePart(schema_id=1))
    for number in range(2, MAX_SCHEMAS + 10):
        reader.learn(number, None)
    assert reader.unknown_schema(b"\0\0\0\0\x02") == 2
    assert reader.unknown_schema(b"\0\0\0\0\x01") is None
