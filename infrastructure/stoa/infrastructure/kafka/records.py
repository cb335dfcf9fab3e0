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
"""Upper bound for one batch, and for the batches that are read together."""
_LEAST_UNPACKED_BYTES = 64 * 1024
_QUICKLY_READ_BYTES = 16 * 1024
"""More may be thousands of records, and is read in a thread."""
_HEADER_BYTES = 61
_LENGTH_AT, _MAGIC_AT, _ATTRIBUTES_AT, _LAST_OFFSET_AT = 8, 16, 21, 23
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_DAMAGED = "is damaged"
_XERIAL = b"\x82SNAPPY\x00"


class UnreadableBatch(WrongAnswer):
    """A batch that is not read; `next_offset` is the one behind it."""

    def __init__(self, problem: str, next_offset: int) -> None:
        super().__init__(f"a batch of records {problem}; it ends before offset {next_offset}")
        self.next_offset = next_offset


class FetchedRecords:
    """The records of one partition from one fetch, from `offset` on, without those of aborted transactions. Of batches
    that are too large together, once unpacked, the first ones: the next fetch brings the others."""

    def __init__(self, topic: str, partition: int, data: bytes, offset: int, aborted: Any) -> None:
        """Raises UnreadableBatch for a first batch that is larger, once unpacked, than is read."""
        end, self.unpacked_bytes = _read_at_once(data)
        self._data = data
        place = TopicPartition(topic, partition)
        self._records: Any = PartitionRecords(
            place, MemoryRecords(data[:end]), [*(aborted or ())], offset, None, None, True, READ_COMMITTED
        )

    @property
    def next_offset(self) -> int:
        """Where the next fetch goes on; known once all were taken."""
        return int(self._records.next_fetch_offset)

    def __iter__(self) -> Iterator[Any]:
        """aiokafka's ConsumerRecord. Raises UnreadableBatch."""
        try:
            yield from self._records
        except FAILURES:
            ends = (_next_offset(self._data, at) for _, at, _ in _batches(self._data))
            following = next((end for end in ends if end > self.next_offset), self.next_offset + 1)
            raise UnreadableBatch(_DAMAGED, following) from None


def is_quickly_read(data: bytes) -> bool:
    """False for batches whose records may keep the event loop: a compressed one may be of any size."""
    return len(data) <= _QUICKLY_READ_BYTES and not any(codec for codec, _, _ in _batches(data))


def _batches(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Compression, beginning and end of each whole batch. Raises WrongAnswer."""
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
        yield data[at + _ATTRIBUTES_AT + 1] & 0x07, at, end
        at = end


def _next_offset(data: bytes, at: int) -> int:
    """The offset behind the batch that begins at `at`."""
    (first,) = struct.unpack_from(">q", data, at)
    (last,) = struct.unpack_from(">i", data, at + _LAST_OFFSET_AT)
    return int(first) + int(last) + 1


def _read_at_once(data: bytes) -> tuple[int, int]:
    """The end of the batches that are read together, and their bytes once unpacked."""
    whole = 0
    for codec, at, end in _batches(data):
        try:
            size = _unpacked_bytes(codec, data[at + _HEADER_BYTES : end]) if codec else end - at
            problem = f"has more than {MAX_UNPACKED_BYTES} bytes once unpacked"
        except WrongAnswer as damage:
            size, problem = MAX_UNPACKED_BYTES + 1, str(damage)
        if whole and whole + size > MAX_UNPACKED_BYTES:
            return at, whole
        if size > MAX_UNPACKED_BYTES and codec:
            raise UnreadableBatch(problem, _next_offset(data, at))
        whole += size
    return len(data), whole


def _unpacked_bytes(codec: int, packed: bytes) -> int:
    """At most one more than MAX_UNPACKED_BYTES."""
    if codec == _GZIP:
        return _gzip_bytes(packed)
    if codec == _SNAPPY:
        return min(_snappy_bytes(packed), MAX_UNPACKED_BYTES + 1)
    module = {_LZ4: cramjam.lz4, _ZSTD: cramjam.zstd}.get(codec)
    if module is None:
        raise WrongAnswer("is compressed in an unknown way")
    size = min(max(_LEAST_UNPACKED_BYTES, 8 * len(packed)), MAX_UNPACKED_BYTES)
    while True:  # in growing buffers: to make one of the largest size takes longer than to unpack most batches
        try:
            return int(module.decompress_into(packed, bytearray(size)))
        except cramjam.DecompressionError:
            if size == MAX_UNPACKED_BYTES:
                return MAX_UNPACKED_BYTES + 1
            size = min(8 * size, MAX_UNPACKED_BYTES)


def _gzip_bytes(packed: bytes) -> int:
    """aiokafka unpacks every member (RFC 1952 section 2.2), of which no producer writes more than one."""
    unpacker = zlib.decompressobj(31)
    try:
        size = len(unpacker.decompress(packed, MAX_UNPACKED_BYTES + 1))
    except zlib.error:
        raise WrongAnswer(_DAMAGED) from None
    if unpacker.unused_data:
        raise WrongAnswer(_DAMAGED)
    return size


def _snappy_bytes(packed: bytes) -> int:
    """What the blocks say that they unpack to; the unpacker holds them to it."""
    try:
        if not packed.startswith(_XERIAL):
            return int(cramjam.snappy.decompress_raw_len(packed))
        total, at = 0, 16
        while at + 4 <= len(packed):
            (size,) = struct.unpack_from(">i", packed, at)
            if size <= 0:
                raise WrongAnswer(_DAMAGED)
            total += int(cramjam.snappy.decompress_raw_len(packed[at + 4 : at + 4 + size]))
            at += 4 + size
        return total
    except cramjam.DecompressionError:
        raise WrongAnswer(_DAMAGED) from None
