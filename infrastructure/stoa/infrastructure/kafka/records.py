"""Record batches as a broker sends them: checked, and unpacked within bounds.

What a producer compressed is unpacked by whoever reads it; three kilobytes of zstd can stand for a hundred megabytes.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cramjam
from aiokafka.consumer.fetcher import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    READ_COMMITTED,
    PartitionRecords,
)
from aiokafka.record.memory_records import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    MemoryRecords,
)
from aiokafka.structs import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    TopicPartition,
)

from stoa.infrastructure.kafka.problems import FAILURES, WrongAnswer

MAX_UNPACKED_BYTES = 16 * 1024 * 1024
"""Of one batch."""
_HEADER_BYTES = 61
_LENGTH_AT, _MAGIC_AT, _ATTRIBUTES_AT = 8, 16, 21
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL = b"\x82SNAPPY\x00"


class FetchedRecords:
    """The records of one partition from one fetch, from `offset` on, without those of aborted transactions."""

    def __init__(self, topic: str, partition: int, data: bytes, offset: int, aborted: Any) -> None:
        """Raises WrongAnswer for batches that are larger, once unpacked, than is read."""
        _check_unpacked(data)
        place = TopicPartition(topic, partition)
        self._records: Any = PartitionRecords(
            place, MemoryRecords(data), [*(aborted or ())], offset, None, None, True, READ_COMMITTED
        )

    @property
    def next_offset(self) -> int:
        """Where the next fetch goes on; known once all were taken."""
        return int(self._records.next_fetch_offset)

    def __iter__(self) -> Iterator[Any]:
        """aiokafka's ConsumerRecord. Raises WrongAnswer."""
        try:
            yield from self._records
        except FAILURES:
            raise WrongAnswer("a batch of records is damaged") from None


def _check_unpacked(data: bytes) -> None:
    at = 0
    while at + _HEADER_BYTES <= len(data):
        (length,) = struct.unpack_from(">i", data, at + _LENGTH_AT)
        end = at + _LENGTH_AT + 4 + length
        if length <= 0:
            raise WrongAnswer("a batch of records is damaged")
        if end > len(data):
            return  # brokers cut the last batch off
        if data[at + _MAGIC_AT] != 2:
            raise WrongAnswer("the topic has records of a format from before Kafka 0.11")
        codec = data[at + _ATTRIBUTES_AT + 1] & 0x07
        if codec and not _fits(codec, data[at + _HEADER_BYTES : end]):
            raise WrongAnswer(f"a batch of records has more than {MAX_UNPACKED_BYTES} bytes once unpacked")
        at = end


def _fits(codec: int, packed: bytes) -> bool:
    if codec == _GZIP:
        unpacker = zlib.decompressobj(31)
        try:
            unpacker.decompress(packed, MAX_UNPACKED_BYTES)
        except zlib.error:
            raise WrongAnswer("a batch of records is damaged") from None
        return not unpacker.unconsumed_tail
    if codec == _SNAPPY:
        return _snappy_bytes(packed) <= MAX_UNPACKED_BYTES
    module = {_LZ4: cramjam.lz4, _ZSTD: cramjam.zstd}.get(codec)
    if module is None:
        raise WrongAnswer("a batch of records is compressed in an unknown way")
    try:
        module.decompress_into(packed, bytearray(MAX_UNPACKED_BYTES))
    except cramjam.DecompressionError:
        return False
    return True


def _snappy_bytes(packed: bytes) -> int:
    """What the blocks say that they unpack to; the unpacker holds them to it."""
    try:
        if not packed.startswith(_XERIAL):
            return int(cramjam.snappy.decompress_raw_len(packed))
        total, at = 0, 16
        while at + 4 <= len(packed):
            (size,) = struct.unpack_from(">i", packed, at)
            if size <= 0:
                raise WrongAnswer("a batch of records is damaged")
            total += int(cramjam.snappy.decompress_raw_len(packed[at + 4 : at + 4 + size]))
            at += 4 + size
        return total
    except cramjam.DecompressionError:
        raise WrongAnswer("a batch of records is damaged") from None
