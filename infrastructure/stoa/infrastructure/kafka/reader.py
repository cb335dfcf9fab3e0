"""Reading a topic within bounds: no consumer group is joined, nothing is committed."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from aiokafka import errors as kafka  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from aiokafka.protocol.fetch import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    FetchRequest,
)
from aiokafka.protocol.offset import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    OffsetRequest,
)

from stoa.domain.operations.binding import StreamBounds
from stoa.infrastructure.kafka.cluster import CALLS, Cluster
from stoa.infrastructure.kafka.problems import BrokerRefusal, NoBroker, reading_response
from stoa.infrastructure.kafka.records import FetchedRecords, is_quickly_read

EARLIEST, LATEST = -2, -1
PARTITION_BYTES = 256 * 1024
FETCH_BYTES = 1024 * 1024
SCANNED_BYTES = 64 * 1024 * 1024
"""Bytes of the records that one call looks at, once unpacked."""
ATTEMPTS = 3
_READ_COMMITTED = 1
_WAIT_MS = 500
_NEVER = 2**63
_PAUSE_SECONDS = 0.02
_BACKOFF_SECONDS = 0.1

End = Literal["completed", "maxMessages", "maxBytes", "maxDuration"]


class Selection(NamedTuple):
    """Which records a call asks for. Without `offsets` and `since_ms`: the last ones."""

    limit: int
    partition: int | None = None
    offsets: Mapping[int, int] | None = None
    """Where to begin in each partition; those that are not named are not read."""
    since_ms: int | None = None
    is_wanted: Callable[[Any], bool] | None = None
    """A filter; takes aiokafka's ConsumerRecord."""
    wait_seconds: float = 0.0
    """How long to wait for a record if there is none from the beginning on."""


class ReadResult(NamedTuple):
    records: list[Any]
    """ConsumerRecords, by time."""
    end: End
    next_offsets: dict[int, int]
    """By partition: where to go on after these records."""


class _Cursor:
    """What is left to be read of one partition: forwards from `at` to `stop`; for the last records, in windows that go
    back from the end, each larger than the one before."""

    def __init__(self, begin: int, end: int, limit: int, *, is_backwards: bool) -> None:
        self.begin = begin
        self.end = end
        self.stop = end
        self._limit = limit
        self._is_backwards = is_backwards
        self._window = limit
        self._low = max(begin, end - limit) if is_backwards else begin
        self.at = self._low
        self.found: deque[Any] = deque(maxlen=limit if is_backwards else None)
        """Of the window that is being read."""
        self._later: list[Any] = []
        """Of the windows before."""

    @property
    def records(self) -> list[Any]:
        return [*self.found, *self._later]

    def is_open(self) -> bool:
        """True while the partition is to be read on; begins the next window where one had too few."""
        if not self._is_backwards:
            return self.at < self.stop and len(self.found) < self._limit
        while self.at >= self.stop:
            self._later = self.records
            self.found.clear()
            if len(self._later) >= self._limit or self._low <= self.begin:
                return False
            self._window *= 4
            self.stop, self._low = self._low, max(self.begin, self._low - self._window)
            self.at = self._low
        return True

    def take(self, record: Any) -> bool:
        """False: no further record is wanted."""
        self.found.append(record)
        return self._is_backwards or len(self.found) < self._limit


async def read(cluster: Cluster, topic: str, selection: Selection, bounds: StreamBounds, channel: str) -> ReadResult:
    """`channel`: for connections that wait, not shared with any other call. Raises BrokerRefusal, NoBroker or
    WrongAnswer."""
    reading = _Reading(cluster, topic, selection, bounds, channel)
    end: End | None = None
    try:
        async with asyncio.timeout(bounds.max_seconds):
            end = await reading.run()
    except TimeoutError:
        if not reading.cursors:
            raise NoBroker(TimeoutError("no offsets within the bounds"), was_sent=True) from None
        end = "maxDuration"
    except NoBroker as failure:
        failure.was_sent = failure.was_sent or bool(reading.cursors)
        raise
    return reading.result(end)


async def end_offsets(cluster: Cluster, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Where each partition ends now."""
    return await _offsets(cluster, topic, dict.fromkeys(partitions, LATEST))


class _Reading:
    def __init__(self, cluster: Cluster, topic: str, selection: Selection, bounds: StreamBounds, channel: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._selection = selection
        self._bounds = bounds
        self._channel = channel
        self._scanned = 0
        self.cursors: dict[int, _Cursor] = {}

    @property
    def _takes_last(self) -> bool:
        selection = self._selection
        return selection.offsets is None and selection.since_ms is None and not selection.wait_seconds

    async def run(self) -> End | None:
        """None: nothing is left to be read. An end: a bound was reached before."""
        await self._begin()
        while wanted := [number for number, cursor in self.cursors.items() if cursor.is_open()]:
            if self._scanned >= SCANNED_BYTES:
                return "maxBytes"
            if not await self._fetch(wanted):
                await asyncio.sleep(_PAUSE_SECONDS)
        if self._selection.wait_seconds and not any(cursor.found for cursor in self.cursors.values()):
            await self._wait()
        return None

    def result(self, end: End | None) -> ReadResult:
        limit = self._selection.limit
        every = [record for cursor in self.cursors.values() for record in cursor.records]
        every.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
        chosen = every[-limit:] if self._takes_last else every[:limit]
        size, count = 0, 0
        for record in reversed(chosen) if self._takes_last else chosen:  # the newest, or the first, are worth most
            size += record_size(record)
            if size > self._bounds.max_bytes and count:
                end = "maxBytes"
                break
            count += 1
        chosen = (chosen[-count:] if self._takes_last else chosen[:count]) if count else []
        if end is None:
            end = "maxMessages" if len(chosen) == limit else "completed"
        return ReadResult(chosen, end, self._next_offsets(every, chosen))

    def _next_offsets(self, every: list[Any], chosen: list[Any]) -> dict[int, int]:
        """After the chosen records; before those that were read and not chosen."""
        following = {number: cursor.end if self._takes_last else cursor.at for number, cursor in self.cursors.items()}
        if not self._takes_last:
            shown = {(record.partition, record.offset) for record in chosen}
            for record in every:
                if (record.partition, record.offset) not in shown:
                    following[record.partition] = min(following[record.partition], record.offset)
        return following

    async def _begin(self) -> None:
        """Finds where to begin and to end in each partition."""
        selection, cluster, topic = self._selection, self._cluster, self._topic
        leaders = await cluster.leaders(topic)
        wanted = [*leaders] if selection.partition is None else [selection.partition]
        if selection.offsets is not None:
            wanted = [*selection.offsets]
        if any(number not in leaders for number in wanted):
            raise BrokerRefusal(kafka.UnknownTopicOrPartitionError.errno)
        first, last = await asyncio.gather(
            _offsets(cluster, topic, dict.fromkeys(wanted, EARLIEST)),
            _offsets(cluster, topic, dict.fromkeys(wanted, LATEST)),
        )
        begins = first
        if selection.offsets is not None:
            begins = {number: max(offset, first[number]) for number, offset in selection.offsets.items()}
        elif selection.since_ms is not None:
            found = await _offsets(cluster, topic, dict.fromkeys(wanted, selection.since_ms))
            begins = {number: offset if offset >= 0 else last[number] for number, offset in found.items()}
        elif selection.wait_seconds:
            begins = last
        for number in wanted:
            self.cursors[number] = _Cursor(begins[number], last[number], selection.limit, is_backwards=self._takes_last)

    async def _wait(self) -> None:
        """Until a record comes, or the time is over."""
        for cursor in self.cursors.values():
            cursor.stop = _NEVER
        try:
            async with asyncio.timeout(self._selection.wait_seconds):
                while not any(cursor.found for cursor in self.cursors.values()):
                    await self._fetch([*self.cursors], _WAIT_MS, self._channel)
        except TimeoutError:
            pass
        finally:
            self._cluster.hang_up(self._channel)

    async def _fetch(self, partitions: list[int], wait_ms: int = 0, channel: str = CALLS) -> bool:
        """One round: each leader is asked once for all partitions that it leads. True: a partition was read on."""
        before = [self.cursors[number].at for number in partitions]
        leaders = await self._cluster.leaders(self._topic)
        by_leader: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for number in partitions:
            by_leader[leaders.get(number, -1)].append((number, self.cursors[number].at, PARTITION_BYTES))
        await asyncio.gather(*(self._fetch_from(*asked, wait_ms, channel) for asked in by_leader.items()))
        return before != [self.cursors[number].at for number in partitions]

    async def _fetch_from(self, leader: int, wanted: list[tuple[int, int, int]], wait_ms: int, channel: str) -> None:
        for number, data, aborted in await fetched(self._cluster, self._topic, leader, wanted, wait_ms, channel):
            if not data or self._scanned >= SCANNED_BYTES:
                continue
            if is_quickly_read(data):
                self._take(number, data, aborted)
            else:
                await asyncio.to_thread(self._take, number, data, aborted)

    def _take(self, number: int, data: bytes, aborted: Any) -> None:
        cursor, is_wanted = self.cursors[number], self._selection.is_wanted
        records = FetchedRecords(self._topic, number, data, cursor.at, aborted)
        self._scanned += records.unpacked_bytes
        for record in records:
            if record.offset >= cursor.stop:
                cursor.at = cursor.stop
                return
            if (is_wanted is None or is_wanted(record)) and not cursor.take(record):
                cursor.at = record.offset + 1
                return
        cursor.at = records.next_offset


async def fetched(
    cluster: Cluster, topic: str, leader: int, wanted: list[tuple[int, int, int]], wait_ms: int, channel: str
) -> list[tuple[int, bytes, Any]]:
    """Partition, batches and aborted transactions from one leader. `wanted`: partition, offset and bytes of each.
    Empty where another broker leads now: the leaders are asked for again. Raises BrokerRefusal, NoBroker."""
    if leader < 0:
        raise NoBroker(OSError("a partition has no leader"))
    request = FetchRequest(wait_ms, 1, FETCH_BYTES, _READ_COMMITTED, [(topic, wanted)])
    response = await cluster.send(leader, request, channel)
    answers: list[tuple[int, bytes, Any]] = []
    asked = {number for number, _, _ in wanted}
    with reading_response():
        for row in (row for name, rows in response.topics if name == topic for row in rows if row[0] in asked):
            if not row[1]:
                aborted = row[4] if response.API_VERSION == 4 else row[5]
                answers.append((row[0], bytes(row[-1] or b""), aborted))
            elif kafka.for_code(row[1]).retriable:
                cluster.forget(topic)
            else:
                raise BrokerRefusal(row[1])
    return answers


async def _offsets(cluster: Cluster, topic: str, times: Mapping[int, int]) -> dict[int, int]:
    """The first offset with at least this time, by partition; -1: there is none."""
    for attempt in range(ATTEMPTS):
        leaders = await cluster.leaders(topic)
        by_leader: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, when in times.items():
            by_leader[leaders.get(number, -1)].append((number, when))
        try:
            found = await asyncio.gather(
                *(_offsets_from(cluster, topic, leader, asked) for leader, asked in by_leader.items())
            )
        except NoBroker:
            cluster.forget(topic)
            if attempt + 1 == ATTEMPTS:
                raise
        else:
            merged = {number: offset for part in found for number, offset in part.items()}
            if len(merged) == len(times):
                return merged
            cluster.forget(topic)
        await asyncio.sleep(_BACKOFF_SECONDS)
    raise NoBroker(OSError("a partition has no leader"))


async def _offsets_from(cluster: Cluster, topic: str, leader: int, asked: list[tuple[int, int]]) -> dict[int, int]:
    if leader < 0:
        return {}
    response = await cluster.send(leader, OffsetRequest(-1, _READ_COMMITTED, [(topic, asked)]))
    found: dict[int, int] = {}
    with reading_response():
        for row in (row for name, rows in response.topics if name == topic for row in rows):
            if row[1] and not kafka.for_code(row[1]).retriable:
                raise BrokerRefusal(row[1])
            if not row[1]:
                found[row[0]] = row[3]
    return found


def record_size(record: Any) -> int:
    """Bytes of key, value and headers."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
