"""An idempotent producer (KIP-98) with acks=all, one lane for each partition.

A lane sends one batch at a time, with all records that waited meanwhile, so order is kept and a record that is sent
again for a lost answer is written once: the broker knows it by the lane's producer id and sequence number. A lane whose
callers have all gone gives its batch up instead of holding it until the broker is back, and goes on with a new producer
id, because it cannot know whether the old sequence number was used. Batches go out by `produce_queue`.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import errors as kafka  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.protocol.transaction import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    InitProducerIdRequest,
)
from aiokafka.record.default_records import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    DefaultRecordBatchBuilder,
)

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.infrastructure.kafka.cluster import Cluster
from stoa.infrastructure.kafka.problems import BrokerRefusal, NoBroker, WrongAnswer
from stoa.infrastructure.kafka.produce_queue import ProduceQueue, Written

Headers = Sequence[tuple[str, bytes]]
BATCH_BYTES = 512 * 1024
BACKOFF_SECONDS = 0.1
_NO_TRANSACTION: Any = None
_WRITTEN = {0, kafka.DuplicateSequenceNumber.errno}
_BEGIN_AGAIN = {kafka.OutOfOrderSequenceNumber.errno, kafka.UnknownProducerId.errno, kafka.InvalidProducerEpoch.errno}
_RECORD_OVERHEAD = 64


class Receipt(NamedTuple):
    """Where a record was written. `timestamp`: milliseconds since 1970."""

    partition: int
    offset: int
    timestamp: int


class _Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int
    receipt: asyncio.Future[Receipt]

    @property
    def size(self) -> int:
        headers = sum(len(name) + len(value) + 8 for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + _RECORD_OVERHEAD


class Producer:
    """Of one cluster, for all its topics. Belongs to the cluster's event loop."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._queues: dict[int, ProduceQueue] = {}
        """By broker."""

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, partition: int | None = None
    ) -> Receipt:
        """Returns when all replicas in sync have the record. Cancelled: the record may or may not have been written.
        Raises BrokerRefusal, NoBroker or WrongAnswer."""
        leaders = await self._cluster.leaders(topic)
        number = _partition_for(key, leaders) if partition is None else partition
        if number not in leaders:
            raise BrokerRefusal(kafka.UnknownTopicOrPartitionError.errno)
        lane = self._lanes.get((topic, number))
        if lane is None:
            lane = self._lanes[topic, number] = _Lane(self._cluster, self._queue, topic, number)
        return await lane.send(key, value, headers)

    async def close(self) -> None:
        lanes, queues, self._lanes, self._queues = [*self._lanes.values()], [*self._queues.values()], {}, {}
        for lane in lanes:
            await lane.close()
        for queue in queues:
            await queue.close()

    def _queue(self, node: int) -> ProduceQueue:
        queue = self._queues.get(node)
        if queue is None:
            queue = self._queues[node] = ProduceQueue(self._cluster, node)
        return queue


class _Lane:
    def __init__(self, cluster: Cluster, queue_of: Callable[[int], ProduceQueue], topic: str, partition: int) -> None:
        self._cluster = cluster
        self._queue_of = queue_of
        self._topic = topic
        self._partition = partition
        self._waiting: deque[_Record] = deque()
        self._task: asyncio.Task[None] | None = None
        self._producer: tuple[int, int] | None = None
        """Producer id and epoch; None: ask for them."""
        self._sequence = 0

    async def send(self, key: bytes | None, value: bytes | None, headers: Headers) -> Receipt:
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Record(key, value, headers, int(time.time() * 1000), receipt))
        if self._task is None:
            name = f"produce to {self._topic}/{self._partition}"
            self._task = asyncio.create_task(self._drain(), name=name)
        return await receipt

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def _drain(self) -> None:
        batch: list[_Record] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                if batch:
                    await self._deliver(batch)
        finally:
            self._refuse([*batch, *self._waiting], NoBroker(OSError("the gateway is shutting down"), was_sent=True))
            self._waiting.clear()
            self._task = None

    def _next_batch(self) -> list[_Record]:
        """The next records that are still waited for, as many as fit."""
        batch: list[_Record] = []
        size = 0
        while self._waiting:
            record = self._waiting[0]
            if not record.receipt.done():
                size += record.size
                if batch and size > BATCH_BYTES:
                    break
                batch.append(record)
            self._waiting.popleft()
        return batch

    async def _deliver(self, batch: list[_Record]) -> None:
        """Sends a batch until it is written or refused, or nobody waits for it any more."""
        attempts, was_sent = 0, False
        while any(not record.receipt.done() for record in batch):
            attempts += 1
            try:
                number, offset, timestamp = await self._once(batch)
            except (NoBroker, BrokerRefusal, WrongAnswer) as failure:
                was_sent = was_sent or (isinstance(failure, NoBroker) and failure.was_sent)
                self._cluster.forget(self._topic)
                # Once it was sent, another attempt can only tell whether it arrived. Before that, a second attempt is
                # for a leader that moved, and a third would keep the caller waiting.
                if isinstance(failure, NoBroker) and (was_sent or attempts == 1):
                    await asyncio.sleep(BACKOFF_SECONDS)
                    continue
                self._refuse(batch, failure)
                return
            if number in _WRITTEN:
                self._acknowledge(batch, offset, timestamp)
                return
            if number in _BEGIN_AGAIN and not was_sent:
                self._producer = None
            elif not kafka.for_code(number).retriable:
                if len(batch) == 1:
                    self._refuse(batch, BrokerRefusal(number))
                    return
                for record in batch:  # the others have nothing to do with the one that is refused
                    await self._deliver([record])
                return
            self._cluster.forget(self._topic)
            await asyncio.sleep(BACKOFF_SECONDS)
        self._producer = None

    async def _once(self, batch: list[_Record]) -> Written:
        leader = (await self._cluster.leaders(self._topic)).get(self._partition, -1)
        if leader < 0:
            return Written(kafka.LeaderNotAvailableError.errno, -1, -1)
        if self._producer is None:
            try:
                answer = await self._cluster.send(leader, InitProducerIdRequest(_NO_TRANSACTION, 60_000))
            except NoBroker as failure:
                raise failure.unsent() from failure
            if answer.error_code:
                return Written(answer.error_code, -1, -1)
            self._producer, self._sequence = (answer.producer_id, answer.producer_epoch), 0
        return await self._queue_of(leader).send(self._topic, self._partition, self._written(batch))

    def _written(self, batch: list[_Record]) -> bytes:
        producer_id, epoch = self._producer or (-1, -1)
        builder = DefaultRecordBatchBuilder(2, 0, 0, producer_id, epoch, self._sequence, 2**30)
        for number, record in enumerate(batch):
            builder.append(number, record.timestamp, record.key, record.value, [*record.headers])
        return bytes(builder.build())

    def _acknowledge(self, batch: list[_Record], offset: int, timestamp: int) -> None:
        self._sequence = (self._sequence + len(batch)) % 2**31
        for number, record in enumerate(batch):
            if not record.receipt.done():
                written_at = record.timestamp if timestamp < 0 else timestamp
                record.receipt.set_result(Receipt(self._partition, offset + number if offset >= 0 else -1, written_at))

    def _refuse(self, batch: list[_Record], failure: Exception) -> None:
        self._producer = None  # whether the sequence number was used is not known
        for record in batch:
            if not record.receipt.done():
                record.receipt.set_exception(failure)


def _partition_for(key: bytes | None, leaders: Mapping[int, int]) -> int:
    """As Java's clients choose it, so that records of one key stay together whoever writes them."""
    every = sorted(leaders)
    if key is None:
        return random.choice([number for number in every if leaders[number] >= 0] or every)  # noqa: S311  # no secret
    digest: int = murmur2(key)
    return every[(digest & 0x7FFFFFFF) % len(every)]
