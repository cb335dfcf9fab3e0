"""The service behind Kafka requests: it answers each record of the one topic on the other, with aiokafka.

python -m bench.kafka_responder BOOTSTRAP_SERVERS PORT
"""

import asyncio
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic_core import from_json, to_json

from bench.upstream import expected

REQUESTS, REPLIES = "items.requests", "items.replies"
CORRELATION = "kafka_correlationId"


async def reader(servers: str, topic: str) -> Any:
    """A started consumer of all partitions of a topic from their ends on, in no group."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers)
    await consumer.start()
    await consumer.seek_to_end()
    return consumer


async def writer(servers: str) -> Any:
    """A started producer with the guarantees that the gateway gives."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    await producer.start()
    return producer


async def respond(servers: str, port: int) -> None:
    """`port` is opened when requests are read, and says so."""
    producer, requests = await writer(servers), await reader(servers, REQUESTS)
    await asyncio.start_server(lambda _, connection: connection.close(), "127.0.0.1", port)
    async for record in requests:
        asked = from_json(record.value)
        headers = [(name, value) for name, value in record.headers if name == CORRELATION]
        await producer.send(REPLIES, to_json(expected(asked["id"], asked["q"])), headers=headers)


if __name__ == "__main__":
    asyncio.run(respond(sys.argv[1], int(sys.argv[2])))
