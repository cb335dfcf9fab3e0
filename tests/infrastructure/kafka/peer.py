"""A service on the other side of topics, with librdkafka's client: it answers requests, and produces and reads as other
programs do."""

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from tests.infrastructure.kafka.brokers import SILENT

from stoa.application.ports import CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.operations.tool import Tool
from stoa.domain.policy.decision import Permit
from stoa.infrastructure.kafka.binding import KafkaBinding

Answers = Iterable[tuple[str, bytes | None, dict[str, bytes]]]
"""Topic, value and headers of each record to send back."""
CORRELATION, REPLY_TO = "kafka_correlationId", "kafka_replyTopic"


def make_topics(servers: str, *names: str) -> None:
    """The mock cluster makes a topic when a client of librdkafka names it."""
    producer = Producer({"bootstrap.servers": servers}, logger=SILENT)
    for name in names:
        assert producer.list_topics(name, timeout=20).topics[name].partitions


def produce(servers: str, topic: str, records: Iterable[dict[str, Any]], **options: Any) -> None:
    producer = Producer({"bootstrap.servers": servers, **options}, logger=SILENT)
    for record in records:
        producer.produce(topic, **record)
    assert producer.flush(20) == 0


@dataclass
class Responder:
    """What it received, in order."""

    received: list[Message] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)


@contextmanager
def responding(servers: str, topic: str, answer: Callable[[Message], Answers]) -> Generator[Responder]:
    """A service that answers each record of `topic`, for as long as the `with` lasts."""
    make_topics(servers, topic)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "responder", "fetch.wait.max.ms": 20}, logger=SILENT)
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0}, logger=SILENT)
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    responder, stop = Responder(), threading.Event()

    def serve() -> None:
        while not stop.is_set():
            message = consumer.poll(0.05)
            if message is None or message.error() is not None:
                continue
            responder.received.append(message)
            for name, value, headers in answer(message):
                producer.produce(name, value, headers=headers)
            producer.flush(10)
            responder.came.set()

    thread = threading.Thread(target=serve, name="responder", daemon=True)
    thread.start()
    try:
        yield responder
    finally:
        stop.set()
        thread.join(20)
        consumer.close()


def echo(message: Message) -> Answers:
    """The same value, to where the request says."""
    headers = dict(message.headers() or ())
    yield headers[REPLY_TO].decode(), message.value(), {CORRELATION: headers[CORRELATION]}


def kafka_tool(servers: str, action: str, topic: str, *, tool: dict[str, Any] | None = None, **binding: Any) -> Tool:
    made = KafkaBinding.model_validate(
        {"bootstrap_servers": tuple(servers.split(",")), "action": action, "topic": topic, **binding}
    )
    return Tool(**{"name": action, "binding": made, **(tool or {})})


def context(tool: Tool, **more: Any) -> CallContext:
    return CallContext(Permit(tool.key, ()), Principal.of("ann", roles=["viewer"]), "request-1", **more)
