"""Batches of several partitions on their way to the broker that leads them, in one request.

A broker answers the requests of a connection one after another, so a second request would wait there for the first one.
Here the batches wait for it instead, and go out together.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.protocol.produce import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    ProduceRequest,
)

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.infrastructure.kafka.cluster import Cluster
from stoa.infrastructure.kafka.problems import BrokerRefusal, NoBroker, WrongAnswer, reading_response

REQUEST_BYTES = 4 * 1024 * 1024
_ACKNOWLEDGE_SECONDS = 25
_ALL_REPLICAS = -1


class Written(NamedTuple):
    """The leader's answer for one batch. `timestamp`: milliseconds since 1970; -1: the records have their own."""

    error_code: int
    offset: int
    timestamp: int


class _Batch(NamedTuple):
    topic: str
    partition: int
    data: bytes
    written: asyncio.Future[Written]


class ProduceQueue:
    """The records that wait for one broker, sent in batches of all its partitions."""

    def __init__(self, cluster: Cluster, node: int) -> None:
        self._cluster = cluster
        self._node = node
        self._waiting: deque[_Batch] = deque()
        self._task: asyncio.Task[None] | None = None

    async def send(self, topic: str, partition: int, data: bytes) -> Written:
        """At most one batch of a partition at a time. Raises NoBroker, BrokerRefusal or WrongAnswer."""
        written: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Batch(topic, partition, data, written))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name=f"produce to broker {self._node}")
        return await written

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def _drain(self) -> None:
        batches: list[_Batch] = []
        try:
            while self._waiting:
                batches = self._next()
                if batches:
                    await self._request(batches)
        finally:
            _fail([*batches, *self._waiting], NoBroker(OSError("the gateway is shutting down"), was_sent=True))
            self._waiting.clear()
            self._task = None

    def _next(self) -> list[_Batch]:
        """As many as fit, of those that are still waited for."""
        batches: list[_Batch] = []
        size = 0
        while self._waiting:
            size += len(self._waiting[0].data)
            if batches and size > REQUEST_BYTES:
                break
            batch = self._waiting.popleft()
            if not batch.written.done():
                batches.append(batch)
        return batches

    async def _request(self, batches: list[_Batch]) -> None:
        by_topic: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for batch in batches:
            by_topic[batch.topic].append((batch.partition, batch.data))
        request = ProduceRequest(None, _ALL_REPLICAS, _ACKNOWLEDGE_SECONDS * 1000, [*by_topic.items()])
        try:
            answers = _answers(await self._cluster.send(self._node, request))
        except (NoBroker, BrokerRefusal, WrongAnswer) as failure:
            _fail(batches, failure)
            return
        for batch in batches:
            answer = answers.get((batch.topic, batch.partition))
            if answer is None:
                _fail([batch], WrongAnswer("the broker did not say whether it wrote the record"))
            elif not batch.written.done():
                batch.written.set_result(answer)


def _answers(response: Any) -> dict[tuple[str, int], Written]:
    with reading_response():
        return {
            (topic, row[0]): Written(row[1], row[2], row[3] if len(row) > 3 else -1)
            for topic, partitions in response.topics
            for row in partitions
        }


def _fail(batches: Iterable[_Batch], failure: Exception) -> None:
    for batch in batches:
        if not batch.written.done():
            batch.written.set_exception(failure)
