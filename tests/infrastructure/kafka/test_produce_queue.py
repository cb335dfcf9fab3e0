"""ProduceQueue: batches that wait go out in one request, and each hears what became of it alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from stoa.infrastructure.kafka.problems import NoBroker, WrongAnswer
from stoa.infrastructure.kafka.produce_queue import REQUEST_BYTES, ProduceQueue, Written


@dataclass
class HeldCluster:
    """A cluster whose broker answers each request when the test lets it."""

    sent: list[dict[tuple[str, int], bytes]] = field(default_factory=list)
    answers: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, node: int, request: Any) -> Any:  # there is but one
        topics = request._topics
        self.sent.append({(topic, number): data for topic, batches in topics for number, data in batches})
        self.came.set()
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer(self.sent[-1])

    async def until_sent(self, count: int) -> None:
        while len(self.sent) < count:
            self.came.clear()
            await self.came.wait()


def written(asked: dict[tuple[str, int], bytes]) -> Any:
    """Each batch at the offset that is the number of its partition."""
    rows = {topic: [(number, 0, number, -1) for name, number in asked if name == topic] for topic, _ in asked}
    return SimpleNamespace(topics=[*rows.items()])


@pytest.fixture
async def cluster() -> AsyncIterator[HeldCluster]:
    async with asyncio.timeout(20):
        yield HeldCluster()


async def test_kafka_produce_sends_the_batches_of_several_partitions_in_one_request(cluster: HeldCluster) -> None:
    queue = ProduceQueue(cluster, 1)  # type: ignore[arg-type]
    first = asyncio.create_task(queue.send("a", 0, b"0"))
    await cluster.until_sent(1)
    others = [asyncio.create_task(queue.send(topic, number, b"x")) for topic, number in (("a", 1), ("a", 2), ("b", 0))]
    await asyncio.sleep(0)
    cluster.answers.put_nowait(written)
    cluster.answers.put_nowait(written)
    assert [await task for task in (first, *others)] == [Written(0, n, -1) for n in (0, 1, 2, 0)]
    assert [sorted(request) for request in cluster.sent] == [[("a", 0)], [("a", 1), ("a", 2), ("b", 0)]]


async def test_kafka_produce_divides_batches_that_are_large_together(cluster: HeldCluster) -> None:
    queue = ProduceQueue(cluster, 1)  # type: ignore[arg-type]
    for _ in range(2):
        cluster.answers.put_nowait(written)
    half = b"x" * (REQUEST_BYTES // 2 + 1)
    await asyncio.gather(queue.send("a", 0, half), queue.send("a", 1, half))
    assert [len(request) for request in cluster.sent] == [1, 1]


async def test_kafka_produce_does_not_send_a_batch_that_was_given_up(cluster: HeldCluster) -> None:
    queue = ProduceQueue(cluster, 1)  # type: ignore[arg-type]
    first = asyncio.create_task(queue.send("a", 0, b"0"))
    await cluster.until_sent(1)
    second = asyncio.create_task(queue.send("a", 1, b"1"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    cluster.answers.put_nowait(written)
    await first
    await asyncio.sleep(0)
    assert [sorted(request) for request in cluster.sent] == [[("a", 0)]]


async def test_kafka_produce_tells_the_failure_of_a_request_to_each_of_its_batches(cluster: HeldCluster) -> None:
    queue = ProduceQueue(cluster, 1)  # type: ignore[arg-type]
    cluster.answers.put_nowait(NoBroker(TimeoutError(), was_sent=True))
    results = await asyncio.gather(queue.send("a", 0, b"0"), queue.send("b", 0, b"1"), return_exceptions=True)
    assert [type(result) for result in results] == [NoBroker, NoBroker]


async def test_kafka_produce_refuses_an_answer_that_leaves_a_batch_out(cluster: HeldCluster) -> None:
    queue = ProduceQueue(cluster, 1)  # type: ignore[arg-type]
    cluster.answers.put_nowait(lambda asked: written({place: b"" for place in asked if place[0] == "a"}))
    kept, lost = await asyncio.gather(queue.send("a", 0, b"0"), queue.send("b", 0, b"1"), return_exceptions=True)
    assert kept == Written(0, 0, -1)
    assert isinstance(lost, WrongAnswer)


async def test_kafka_produce_that_is_closed_ends_what_waits(cluster: HeldCluster) -> None:
    queue = ProduceQueue(cluster, 1)  # type: ignore[arg-type]
    waiting = asyncio.create_task(queue.send("a", 0, b"0"))
    await cluster.until_sent(1)
    await queue.close()
    with pytest.raises(NoBroker) as closed:
        await waiting
    assert closed.value.was_sent
