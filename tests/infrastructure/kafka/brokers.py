"""A Kafka cluster in this process (librdkafka's mock), and what lies on a topic of any cluster."""

import logging
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition

SILENT = logging.getLogger("tests.kafka.silent")
SILENT.setLevel(logging.CRITICAL + 1)


@contextmanager
def mock_cluster(brokers: int = 2) -> Generator[str]:
    """Its bootstrap servers. It takes every topic and keeps records as long as it runs."""
    owner = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": brokers}, logger=SILENT)
    found = owner.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    owner.flush(1)


class DeafBroker:
    """Takes connections and never answers."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.servers = f"127.0.0.1:{listener.getsockname()[1]}"

    def connections(self) -> int:
        """How many came."""
        count = 0
        self._listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count


@contextmanager
def deaf_broker() -> Generator[DeafBroker]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield DeafBroker(listener)


@dataclass(frozen=True, slots=True)
class Record:
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    partition: int


def records(servers: str, topic: str) -> list[Record]:
    """All that are there now, each partition in its order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False}, logger=SILENT)
    try:
        partitions = list(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        ends = {number: _end_of(consumer, TopicPartition(topic, number)) for number in partitions}
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: list[Message] = []
        while len(found) < sum(ends.values()):  # no transactions: every offset is a record
            message = consumer.poll(30)
            assert message is not None, f"only {len(found)} of {sum(ends.values())} records could be read"
            if message.error() is None:
                found.append(message)
    finally:
        consumer.close()
    found.sort(key=lambda message: (message.partition(), message.offset()))
    return [
        Record(message.key(), message.value(), dict(message.headers() or ()), message.partition()) for message in found
    ]


def _end_of(consumer: Consumer, partition: TopicPartition) -> int:
    """A broker that has just started is named in metadata before it leads its partitions."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return consumer.get_watermark_offsets(partition, 30)[1]
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
