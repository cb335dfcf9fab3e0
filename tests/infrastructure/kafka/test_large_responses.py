"""Large responses of brokers: bounded by kind, and read without keeping the event loop from other calls."""

import struct
import time

from tests.infrastructure.kafka.peer import context, kafka_tool
from tests.infrastructure.kafka.test_hostile_broker import METADATA, broker, called

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import BackendUnavailable
from stoa.infrastructure.kafka import KafkaBackend
from stoa.infrastructure.kafka.connection import MAX_FRAME_BYTES


def partitions(count: int) -> bytes:
    """The body of MetadataResponse v4 with so many partitions of the topic `t`, of which none has a leader."""
    broker = struct.pack(">ih", 1, 9) + b"127.0.0.1" + struct.pack(">ih", 1, -1)
    rows = b"".join(struct.pack(">hiiii", 5, number, -1, 0, 0) for number in range(count))
    topic = struct.pack(">hh", 0, 1) + b"t" + b"\0" + struct.pack(">i", count) + rows
    return struct.pack(">ii", 0, 1) + broker + struct.pack(">hi", -1, 1) + struct.pack(">i", 1) + topic


async def asked(count: int) -> tuple[bool, float]:
    """True if the answer came, and the event loop's share of the processor time."""
    backend = KafkaBackend(InMemoryCredentialSource())
    body = partitions(count)
    async with broker(lambda key, number: body if key == METADATA else None) as servers:
        tool = kafka_tool(servers, "produce", "t")
        call = backend.prepare(tool)
        loop, process = time.thread_time(), time.process_time()
        answer = await call({"value": 1, "partition": count}, context(tool))
        share = (time.thread_time() - loop) / (time.process_time() - process)
    await backend.close()
    return answer.status == "UNKNOWN_TOPIC_OR_PARTITION", share


async def test_kafka_response_that_is_large_is_read_beside_the_event_loop() -> None:
    await asked(1)  # imports
    is_answered, share_of_loop = await asked(20_000)
    assert is_answered
    assert share_of_loop < 0.5


async def test_kafka_response_that_is_too_large_for_its_kind_is_not_read() -> None:
    size = struct.pack(">i", MAX_FRAME_BYTES + 1)
    async with broker(lambda key, number: b"RAW" + size) as servers:
        assert isinstance(await called(servers), BackendUnavailable)
