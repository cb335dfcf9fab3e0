"""Replies to requests: one reader of each reply topic, for all calls of this process that wait there.

Each process reads the whole reply topic from the moment of its first request on and takes what bears one of its own
correlation ids, so any number of replicas share a topic. An id is random and is sent nowhere but with its request, so a
caller never gets another's reply. Of two replies to one request the first counts.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any, Literal, Protocol

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.infrastructure.kafka.cluster import Cluster
from stoa.infrastructure.kafka.problems import BrokerRefusal, NoBroker, WrongAnswer
from stoa.infrastructure.kafka.reader import PARTITION_BYTES, end_offsets, fetched
from stoa.infrastructure.kafka.records import FetchedRecords, UnreadableBatch, is_quickly_read

IDLE_SECONDS = 60.0
"""For which a reply topic is read on after the last request was answered."""
_POLL_MS = 500
_LEADERS_SECONDS = 30.0
_BACKOFF_SECONDS = 0.2
_REMEMBERED = 10_000
_RECORDS_OF_A_TURN = 250
"""Looked at before other calls have their turn; other producers write to the topic, too."""
_log = logging.getLogger(__name__)

ReplyFate = Literal["answered", "duplicate", "late"]
CountReply = Callable[[ReplyFate], None]


class IdInValue(Protocol):
    """Reads correlation ids from the values of replies. Equal ones read alike, so that a tool that is registered again
    does not have each reply read twice."""

    async def of(self, record: Any) -> bytes:
        """Empty: the value bears none."""
        ...


ReplyPlace = str | IdInValue
"""Place of the correlation id in a reply: a header's name, or a place in its value."""


class ReplyReader:
    """Reads one reply topic. `count`: hears of each reply to a request of this process."""

    def __init__(self, cluster: Cluster, topic: str, count: CountReply) -> None:
        self._cluster = cluster
        self._topic = topic
        self._count = count
        self._waiting: dict[bytes, tuple[ReplyPlace, asyncio.Future[Any]]] = {}
        self._fates: BoundedCache[bytes, ReplyFate] = BoundedCache(_REMEMBERED)
        """Fate of a further reply, by request that is over."""
        self._in_values: dict[IdInValue, None] = {}
        """Places of ids in values, of the tools that were called, for as long as the topic is read."""
        self._task: asyncio.Task[None] | None = None
        self._offsets: dict[int, int] = {}
        self._last_use = 0.0
        self._starting = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Requests without an answer so far."""
        return len(self._waiting)

    async def begin(self) -> None:
        """Returns once no reply to a request that is sent from now on can be missed. Raises BrokerRefusal, NoBroker or
        WrongAnswer."""
        self._last_use = time.monotonic()
        async with self._starting:
            if self._task is None:
                leaders = await self._cluster.leaders(self._topic)
                self._offsets = await end_offsets(self._cluster, self._topic, leaders)
                self._task = asyncio.create_task(self._run(), name=f"replies on {self._topic}")

    def expect(self, correlation_id: bytes, place: ReplyPlace) -> "asyncio.Future[Any]":
        """The record that will be the reply. Say `over` when nobody waits for it any more."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = (place, reply)
        if not isinstance(place, str):
            self._in_values[place] = None
        return reply

    def over(self, correlation_id: bytes) -> None:
        entry = self._waiting.pop(correlation_id, None)
        if entry is not None:
            self._fates.put(correlation_id, "duplicate" if entry[1].done() and not entry[1].cancelled() else "late")
        self._last_use = time.monotonic()

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def _run(self) -> None:
        try:
            while self._waiting or time.monotonic() - self._last_use < IDLE_SECONDS:
                try:
                    await self._follow()
                except (BrokerRefusal, NoBroker, WrongAnswer) as failure:
                    _log.info("a reply topic is read again from where it was: %s", type(failure).__name__)
                    self._cluster.forget(self._topic)
                    await asyncio.sleep(_BACKOFF_SECONDS)
        finally:
            self._task = None
            self._in_values.clear()
            self._cluster.hang_up(self._channel)

    @property
    def _channel(self) -> str:
        return f"replies:{self._topic}"

    async def _follow(self) -> None:
        """Reads from all leaders at once, until one fails or others may lead."""
        leaders = await self._cluster.leaders(self._topic)
        by_leader: dict[int, list[int]] = defaultdict(list)
        for number, leader in leaders.items():
            self._offsets.setdefault(number, 0)  # a partition that was added since: nothing of it was read
            if leader >= 0:  # one without a leader must not keep replies on the others from being read
                by_leader[leader].append(number)
        if not by_leader:
            raise NoBroker(OSError("the reply topic has no leader"))
        until = time.monotonic() + _LEADERS_SECONDS
        tasks = [
            asyncio.create_task(self._follow_leader(leader, partitions, until))
            for leader, partitions in by_leader.items()
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_leader(self, leader: int, partitions: list[int], until: float) -> None:
        while time.monotonic() < until and (self._waiting or time.monotonic() - self._last_use < IDLE_SECONDS):
            wanted = [(number, self._offsets[number], PARTITION_BYTES) for number in partitions]
            answers = await fetched(self._cluster, self._topic, leader, wanted, _POLL_MS, self._channel)
            if not answers:
                return  # another broker leads now
            for number, data, aborted in answers:
                if data:
                    await self._take_or_skip(number, data, aborted)

    async def _take_or_skip(self, number: int, data: bytes, aborted: Any) -> None:
        """A batch that cannot be read is passed over: all replies behind it would be waited for in vain."""
        try:
            await self._take(number, data, aborted)
        except UnreadableBatch as problem:
            _log.warning("a reply topic has a batch that is not read", extra={"topic": self._topic})
            self._offsets[number] = max(problem.next_offset, self._offsets[number] + 1)

    async def _take(self, number: int, data: bytes, aborted: Any) -> None:
        is_quick = is_quickly_read(data)
        place = (self._topic, number, data, self._offsets[number], aborted)
        records = FetchedRecords(*place) if is_quick else await asyncio.to_thread(FetchedRecords, *place)
        remaining = iter(records)

        def next_ones() -> list[tuple[Any, list[tuple[str, bytes]]]]:
            """With the headers that may be ids of this process: a record may have very many."""
            turn = islice(remaining, _RECORDS_OF_A_TURN)
            return [(record, [header for header in record.headers if self._is_own(header[1])]) for record in turn]

        while batch := next_ones() if is_quick else await asyncio.to_thread(next_ones):
            for record, headers in batch:
                for name, value in headers:
                    self._take_one(record, name, value)
                for in_value in [*self._in_values]:
                    self._take_one(record, in_value, await in_value.of(record))
            await asyncio.sleep(0)
        self._offsets[number] = records.next_offset

    def _is_own(self, correlation_id: bytes | None) -> bool:
        return correlation_id is not None and (
            correlation_id in self._waiting or self._fates.get(correlation_id) is not None
        )

    def _take_one(self, record: Any, place: ReplyPlace, correlation_id: bytes | None) -> None:
        if correlation_id in self._waiting:
            expected, reply = self._waiting[correlation_id]
            if place != expected:
                return
            self._count("duplicate" if reply.done() else "answered")
            if not reply.done():
                reply.set_result(record)
        elif correlation_id and (fate := self._fates.get(correlation_id)) is not None:
            self._count(fate)
