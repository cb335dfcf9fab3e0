"""KafkaUsageLog: reads back a whole topic of metering events.

A thread of its own runs the client's event loop, so that reading can be driven from any thread. No consumer group is
made and nothing is committed: reading leaves no trace on the broker.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Self, TypeVar

import pydantic_core
from aiokafka import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    AIOKafkaConsumer,
    TopicPartition,
    errors,
)
from aiokafka.admin import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    AIOKafkaAdminClient,
)

from stoa.application.ports.metering import UsageLog
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.domain.schema.json_value import is_object
from stoa.infrastructure.kafka.login import KafkaLogin

T = TypeVar("T")

_BATCH = 5000
_POLL_MS = 500


class KafkaUsageLog(UsageLog):
    """The events that are on the topic when the reading begins, partition by partition as they come. A message is an
    event's JSON, or a CloudEvent in the structured form with the event as `data`; anything else counts as damaged.

    `silence_seconds`: how long a broker may be silent.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        login: KafkaLogin = KafkaLogin(),
        silence_seconds: float = 30.0,
    ) -> None:
        self._topic = topic
        self._servers = servers
        self._silence_seconds = silence_seconds
        self._options = login.options(servers, "stoa-usage")
        self._damaged = 0
        self._total = 0

    @property
    def damaged(self) -> int:
        """Messages skipped since `events` was last called."""
        return self._damaged

    @property
    def total(self) -> int:
        """Upper bound on the messages of the last reading; 0 until it is known."""
        return self._total

    def events(self) -> Iterator[MeteringEvent]:
        self._damaged = self._total = 0
        return self._read()

    def _read(self) -> Iterator[MeteringEvent]:
        logger = logging.getLogger("aiokafka")
        if logger.level == logging.NOTSET:  # it logs an error for each attempt; the final one is raised
            logger.setLevel(logging.CRITICAL)
        with _LoopInAThread() as client_loop:
            partitions = client_loop.run(self._translated(self._partitions()))
            consumer = client_loop.run(self._open())
            try:
                ends = client_loop.run(self._translated(self._bounds(consumer, partitions)))
                while ends:
                    yield from self._parse(client_loop.run(self._translated(self._batch(consumer, ends))))
            finally:
                client_loop.run(consumer.stop())

    async def _partitions(self) -> list[Any]:
        """The partitions of the topic, from the metadata of all topics: asking for one topic would create it on brokers
        that create topics automatically."""
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await asyncio.wait_for(admin.start(), self._silence_seconds)
            topics = await admin.describe_topics()
        except ValueError as wrong:
            raise self._unreadable("write the broker as HOST:PORT") from wrong
        finally:
            await admin.close()
        partitions = [
            TopicPartition(self._topic, partition["partition"])
            for topic in topics
            if topic["topic"] == self._topic
            for partition in topic["partitions"]
        ]
        if not partitions:
            raise self._unreadable("there is no topic of that name there")
        return partitions

    async def _open(self) -> Any:
        consumer = AIOKafkaConsumer(**self._options, group_id=None, enable_auto_commit=False)
        try:
            await self._translated(asyncio.wait_for(consumer.start(), self._silence_seconds))
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _bounds(self, consumer: Any, partitions: list[Any]) -> dict[Any, int]:
        """The end offset of each partition with messages; positions all of them at their beginning."""
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        held = {partition: end for partition, end in ends.items() if end > begins[partition]}
        self._total = sum(end - begins[partition] for partition, end in held.items())
        consumer.assign(list(held))
        for partition in held:
            consumer.seek(partition, begins[partition])
        return held

    async def _batch(self, consumer: Any, ends: dict[Any, int]) -> list[bytes | None]:
        """The values of the next messages; removes partitions that are read to their end from `ends`."""
        values: list[bytes | None] = []
        deadline = asyncio.get_running_loop().time() + self._silence_seconds
        while not values and ends:
            before = [await consumer.position(partition) for partition in ends]
            fetched = await consumer.getmany(*ends, timeout_ms=_POLL_MS, max_records=_BATCH)
            for partition, messages in fetched.items():
                values += [message.value for message in messages if message.offset < ends[partition]]
            places = {partition: await consumer.position(partition) for partition in ends}
            for partition, place in places.items():
                if place >= ends[partition]:  # not by counting: compacted topics and transactions leave holes
                    del ends[partition]
                    consumer.pause(partition)
            if list(places.values()) != before:
                deadline = asyncio.get_running_loop().time() + self._silence_seconds
            elif asyncio.get_running_loop().time() > deadline:
                raise self._unreadable(f"nothing came for {self._silence_seconds:.0f} s")
        return values

    def _parse(self, values: list[bytes | None]) -> Iterator[MeteringEvent]:
        for value in values:
            try:
                event = event_of(value)
            except ValueError:
                self._damaged += 1
                continue
            yield event

    async def _translated(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except (errors.KafkaError, OSError, TimeoutError, AssertionError) as failure:  # it checks answers with assert
            why = f"no broker answers there as it should ({type(failure).__name__})"
            raise self._unreadable(why) from failure

    def _unreadable(self, why: str) -> MeteringUnavailable:
        return MeteringUnavailable(f"The topic {self._topic} at {self._servers} cannot be read: {why}")


def event_of(value: bytes | None) -> MeteringEvent:
    """The event in a message. Raises ValueError."""
    fields: Any = pydantic_core.from_json(value or b"")
    if is_object(fields) and "specversion" in fields:  # CloudEvents 1.0, section 3.1
        fields = fields.get("data")
    return MeteringEvent.from_fields(fields)


class _LoopInAThread:
    """A second event loop, in a thread of its own, for the duration of a `with`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka-usage-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
