"""A Kafka cluster of the demo with a service behind a topic, for those who have librdkafka: it prices orders.

The cluster is the one that librdkafka has for tests. It lives in this process and forgets everything when it ends.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pydantic_core

_DOCUMENT = Path(__file__).parent / "orders.asyncapi.yaml"
_MANIFEST = """\
apiVersion: gostoa.dev/v1alpha1
kind: ToolSet
metadata: {{name: orders}}
spec:
  displayName: Orders, over Kafka
  kafka: {{url: orders.asyncapi.yaml, bootstrapServers: ['{server}']}}
  toolDefaults: {{timeout: 10s}}
"""
_ORDERS, _PRICED = "demo.orders", "demo.orders.priced"


def is_installed() -> bool:
    return find_spec("aiokafka") is not None and find_spec("confluent_kafka") is not None


@asynccontextmanager
async def serving_orders(catalogue: Path) -> AsyncGenerator[None]:
    """The cluster and the service, and their manifest in `catalogue`."""
    library: Any = import_module("confluent_kafka")
    owner = library.Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = (await asyncio.to_thread(owner.list_topics, timeout=10)).brokers.values()
    server = f"{broker.host}:{broker.port}"
    stop = threading.Event()
    serving = asyncio.create_task(asyncio.to_thread(_price_orders, library, server, stop))
    (catalogue / _DOCUMENT.name).write_text(_DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    (catalogue / "orders.yaml").write_text(_MANIFEST.format(server=server), encoding="utf-8")
    try:
        yield
    finally:
        stop.set()
        await serving


def _price_orders(library: Any, server: str, stop: threading.Event) -> None:
    """Answers each order with its price, to the topic and with the id that the order names."""
    producer = library.Producer({"bootstrap.servers": server, "linger.ms": 0, "log_level": 0})
    for topic in (_ORDERS, _PRICED):
        producer.list_topics(topic, timeout=10)  # which makes it
    consumer = library.Consumer({"bootstrap.servers": server, "group.id": "pricing", "log_level": 0})
    partitions = consumer.list_topics(_ORDERS, timeout=10).topics[_ORDERS].partitions
    consumer.assign([library.TopicPartition(_ORDERS, number, library.OFFSET_BEGINNING) for number in partitions])
    while not stop.is_set():
        message = consumer.poll(0.1)
        headers: dict[str, bytes] = {} if message is None or message.error() else dict(message.headers() or ())
        if message is None or not {"REQUEST_ID", "REPLY_TOPIC"} <= headers.keys():
            continue
        order = pydantic_core.from_json(message.value())
        priced = {"item": order["item"], "total": order["count"] * len(order["item"]), "currency": "EUR"}
        topic = headers["REPLY_TOPIC"].decode()
        producer.produce(topic, pydantic_core.to_json(priced), headers={"REQUEST_ID": headers["REQUEST_ID"]})
        producer.flush(5)
    consumer.close()
