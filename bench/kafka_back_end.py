"""The Kafka row of `python -m bench back-ends`: a request on a topic and its reply, against the same with aiokafka."""

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from tests.infrastructure.kafka.brokers import SILENT, mock_cluster
from tests.infrastructure.kafka.peer import make_topics
from tests.live.servers import Kafka, make_topic

from bench.errors import CannotMeasure
from bench.kafka_responder import CORRELATION, REPLIES, REQUESTS
from bench.processes import Child, Usage, free_port
from bench.systems import REPOSITORY, Bare, Gateway
from bench.wire import Target, WireForm


class KafkaUpstream:
    """A broker, and a service that answers requests there. The broker is a real one where it is installed, else
    librdkafka's in this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cleanup = contextlib.ExitStack()
        self._responder: Child | None = None
        self.url = ""

    def start(self) -> None:
        if Kafka.is_installed():
            broker = Kafka(self._directory / "broker")
            self._cleanup.callback(broker.stop)
            broker.start()
            self.url = broker.servers
            for topic in (REQUESTS, REPLIES):
                make_topic(self.url, topic)
        else:
            print("Kafka is not installed (tools/services/install.sh kafka): a broker in this process", file=sys.stderr)
            self.url = self._cleanup.enter_context(mock_cluster(brokers=1))
            make_topics(self.url, REQUESTS, REPLIES)
        port = free_port()
        command = [sys.executable, "-m", "bench.kafka_responder", self.url, str(port)]
        self._responder = Child(command, env={}, cwd=REPOSITORY, log=self._directory / "responder.log")
        self._cleanup.callback(self._responder.stop)
        self._responder.wait_for_port(port, 30)

    def stop(self) -> None:
        self._cleanup.close()

    def usage(self) -> Usage:
        """CPU time and memory of the service, without the broker, whose work is not a call's."""
        if self._responder is None:
            raise CannotMeasure("the responder was not started")
        return self._responder.usage()

    def requests(self) -> int:
        """The number of requests that the broker has written, once no more come in."""
        seen = self._written()
        for _ in range(50):
            time.sleep(0.1)
            before, seen = seen, self._written()
            if seen == before:
                return seen
        raise CannotMeasure("requests still reach the broker 5 s after the load has ended")

    def _written(self) -> int:
        consumer = Consumer({"bootstrap.servers": self.url, "group.id": "bench"}, logger=SILENT)
        try:
            partitions = consumer.list_topics(REQUESTS, timeout=10).topics[REQUESTS].partitions
            ends = (consumer.get_watermark_offsets(TopicPartition(REQUESTS, number), 10) for number in partitions)
            return sum(end for _, end in ends)
        finally:
            consumer.close()


class KafkaBare(Bare):
    """No governance: what any Python gateway to Kafka has to pay."""

    name = "bare-kafka"

    def command(self) -> Sequence[str]:
        return [
            "bench.kafka_passthrough:app" if part == "bench.passthrough:app" else part for part in super().command()
        ]

    def target(self, form: WireForm) -> Target:
        return replace(super().target(form), member="value")


class KafkaGateway(Gateway):
    """The gateway with the same item behind a request on a topic."""

    name = "gateway-kafka"

    def target(self, form: WireForm) -> Target:
        return replace(super().target(form), member="value")

    def item_of(self, content: Any) -> Any:
        return content["value"]

    def _manifest(self) -> Mapping[str, Any]:
        properties = {"id": {"type": "integer"}, "q": {"type": "string"}}
        value = {"schema": {"type": "object", "properties": properties, "required": ["id"]}}
        reply = {"topic": REPLIES, "correlationHeader": CORRELATION, "topicHeader": None}
        asked = {"action": "request", "topic": REQUESTS, "value": value, "headers": False, "reply": reply}
        spec = {"kafka": {"bootstrapServers": [self._upstream_url], **asked}}
        return {"kind": "Tool", "metadata": {"name": "get_item"}, "spec": spec}
