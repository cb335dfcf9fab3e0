"""The yardstick for Kafka: the least that turns a tools/call into a request on a topic and its reply into a result,
with aiokafka's producer and consumer; no governance.

    BENCH_UPSTREAM=127.0.0.1:9092 uvicorn bench.kafka_passthrough:app ...
"""

import asyncio
import os
import uuid
from typing import Any

from pydantic_core import from_json, to_json

from bench.kafka_responder import CORRELATION, REPLIES, REQUESTS, reader, writer
from bench.passthrough import Message, PassThrough


class KafkaPassThrough(PassThrough):
    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._producer: Any = None
        self._replies: Any = None
        self._following: asyncio.Task[None] | None = None
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}

    async def _open(self) -> None:
        self._producer, self._replies = await writer(self._upstream), await reader(self._upstream, REPLIES)
        self._following = asyncio.create_task(self._follow())

    async def _close(self) -> None:
        if self._following is not None:
            self._following.cancel()
        await self._producer.stop()
        await self._replies.stop()

    async def _follow(self) -> None:
        async for record in self._replies:
            for name, value in record.headers:
                if name == CORRELATION and (reply := self._waiting.pop(value, None)) is not None:
                    reply.set_result(record.value)

    async def _call(self, arguments: Message) -> Message:
        correlation_id = str(uuid.uuid4()).encode()
        reply = self._waiting[correlation_id] = asyncio.get_running_loop().create_future()
        headers = [(CORRELATION, correlation_id)]
        await self._producer.send_and_wait(REQUESTS, to_json(arguments["value"]), headers=headers)
        text = await reply
        content = from_json(text)
        return {"content": [{"type": "text", "text": text.decode()}], "isError": False, "structuredContent": content}


app = KafkaPassThrough(os.environ["BENCH_UPSTREAM"])
