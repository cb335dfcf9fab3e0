"""The seam between what was kept and what comes: however slow the store and lossy the bus, each message comes once."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.mailbox import Mailbox
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.ports import EventStore, MessageBus, Replay, Subscription
from stoa.domain.access.fair_share import Holder
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import NO_CAPABILITIES
from stoa.interfaces.mcp.streams.event_queue import Event
from stoa.interfaces.mcp.streams.streams import Streams

SESSION = Session("s", "who", "2025-06-18", NO_CAPABILITIES)


async def _pause(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass
class Slow(EventStore):
    """Takes its time before and after it does what it is asked for."""

    before: int
    after: int
    kept: InMemoryEventStore = field(default_factory=InMemoryEventStore)

    async def begin(self, session_id: str, stream: str, holder: Holder | None = None) -> int:
        return await self.kept.begin(session_id, stream, holder)

    async def append(
        self, session_id: str, stream: str, message: bytes, *, is_last: bool = False, holder: Holder | None = None
    ) -> int:
        await _pause(self.before)
        number = await self.kept.append(session_id, stream, message, is_last=is_last, holder=holder)
        await _pause(self.after)
        return number

    async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
        await _pause(self.before)
        replay = await self.kept.replay(session_id, stream, after)
        await _pause(self.after)
        return replay

    async def forget(self, session_id: str) -> None:
        await self.kept.forget(session_id)


class Lossy(MessageBus):
    """Loses some messages: of those its subscribers are told (by a None), or not."""

    def __init__(self, lost: frozenset[int], silently_lost: frozenset[int]) -> None:
        self._bus = InMemoryMessageBus()
        self._lost, self._silently_lost = lost, silently_lost
        self._readers: list[Mailbox] = []

    async def publish(self, topic: str, message: bytes) -> None:
        head = message.partition(b":")[0].rstrip(b"!")
        number = int(head) if head.isdigit() else -1
        if number in self._lost:
            for reader in self._readers:
                reader.lose()
        elif number not in self._silently_lost:
            await self._bus.publish(topic, message)

    async def subscribe(self, *topics: str) -> Subscription:
        reader = await self._bus.subscribe(*topics)
        assert isinstance(reader, Mailbox)
        self._readers.append(reader)
        return reader


numbers = st.frozensets(st.integers(1, 10), max_size=4)
few = st.integers(0, 3)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=10),
    st.integers(0, 9),
    st.integers(0, 9),
    few,
    few,
    numbers,
    numbers,
)
@settings(max_examples=150, deadline=None)
async def test_stream_follower_gets_each_message_after_its_last_one_once_and_in_order(
    pauses: list[int], published: int, seen: int, before: int, after: int, lost: frozenset[int], silent: frozenset[int]
) -> None:
    streams = Streams(Slow(before, after), Lossy(lost, silent), renew_seconds=0.01)
    published = min(published, len(pauses) - 1)
    seen = min(seen, published)
    is_time = asyncio.Event()

    async def publish() -> None:
        for number, pause in enumerate(pauses, 1):
            await _pause(pause)
            if number == published + 1:
                is_time.set()
            await streams.publish("s", "t", b"%d" % number, is_last=number == len(pauses))

    async def lives() -> bool:
        return True

    publishing = asyncio.create_task(publish())
    async with asyncio.timeout(10):
        await is_time.wait()
        if published == 0:
            await streams._events.begin("s", "t")
        feed = await streams.follow(SESSION, f"t:{seen}", lives)
        got: list[Event] = []
        while (item := await feed.next()) is not None:
            got.append(item)
        await publishing
    feed.close()
    expected = [Event(b"%d" % n, f"t:{n}") for n in range(seen + 1, len(pauses) + 1)]
    assert got == expected
