"""The laws of MessageBus, for every adapter."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from tests.live.servers import free_port
from tests.services import Wire, connections, wire

from stoa.application.concurrency.cancellation import AGAIN_SECONDS
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.ports import MessageBus, Subscription
from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.redis import RedisMessageBus

Pair = tuple[MessageBus, MessageBus]
Open = Callable[[], AbstractAsyncContextManager[Pair]]
"""Opens a bus, as two replicas see it."""


@asynccontextmanager
async def _in_redis(
    *urls: str, heartbeat_seconds: float = 10, **options: Any
) -> AsyncGenerator[tuple[RedisMessageBus, ...]]:
    async with connections(*urls, **options) as made:
        buses = tuple(RedisMessageBus(redis, retry_seconds=0.01, heartbeat_seconds=heartbeat_seconds) for redis in made)
        try:
            yield buses
        finally:
            for bus in buses:
                await bus.close()


@pytest.fixture
def open_buses(shared_in: str | None) -> Open:
    @asynccontextmanager
    async def in_memory() -> AsyncGenerator[Pair]:
        bus = InMemoryMessageBus()
        yield bus, bus

    @asynccontextmanager
    async def in_redis() -> AsyncGenerator[Pair]:
        async with _in_redis(shared_in or "", shared_in or "") as (one, two):
            yield one, two

    return in_memory if shared_in is None else in_redis


async def _take(subscription: Subscription, count: int) -> list[bytes | None]:
    async with asyncio.timeout(10):
        return [await subscription.next() for _ in range(count)]


async def _until(subscription: Subscription, last: bytes) -> list[bytes | None]:
    taken = await _take(subscription, 1)
    while taken[-1] != last:
        taken += await _take(subscription, 1)
    return taken


async def test_a_message_reaches_everybody_who_subscribed_before_once_and_in_order(open_buses: Open) -> None:
    async with open_buses() as (here, there):
        await here.publish("t", b"too early")
        readers = [await here.subscribe("t"), await there.subscribe("t", "u"), await there.subscribe("t", "t")]
        expected = [b"%d" % number for number in range(50)]
        for message in expected:
            await here.publish("t", message)
        late = await there.subscribe("t")
        await here.publish("t", b"end")
        for reader in readers:
            assert await _take(reader, 51) == [*expected, b"end"]
        assert b"too early" not in await _until(late, b"end")


async def test_it_can_be_closed_at_any_moment_of_connecting(in_process_redis: str) -> None:
    for steps in range(60):
        async with _in_redis(in_process_redis) as (bus,):
            subscribing = asyncio.create_task(bus.subscribe("t"))
            for _ in range(steps):
                await asyncio.sleep(0)
            async with asyncio.timeout(AGAIN_SECONDS):  # one cancellation has to do; the next would come only then
                await bus.close()
            subscribing.cancel()
            await asyncio.wait({subscribing})


async def test_a_message_is_for_its_topic_only(open_buses: Open) -> None:
    async with open_buses() as (here, there):
        one, both = await there.subscribe("one"), await there.subscribe("one", "two")
        await here.publish("two", b"\x00\r\n\xff")
        await here.publish("other", b"x")
        await here.publish("one", b"")
        assert await _take(one, 1) == [b""]
        assert await _take(both, 2) == [b"\x00\r\n\xff", b""]


async def test_all_see_one_order_however_many_publish(open_buses: Open) -> None:
    async with open_buses() as buses:
        readers = [await buses[0].subscribe("t"), await buses[1].subscribe("t")]
        await asyncio.gather(*(buses[number % 2].publish("t", b"%d" % number) for number in range(20)))
        first, second = [await _take(reader, 20) for reader in readers]
        assert first == second
        assert len(set(first)) == 20


async def test_a_closed_subscription_gets_nothing_more_and_takes_nothing_from_others(open_buses: Open) -> None:
    async with open_buses() as (here, there):
        closed, other = await there.subscribe("t"), await there.subscribe("t")
        await closed.close()
        await closed.close()
        await here.publish("t", b"1")
        assert await _take(other, 1) == [b"1"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await closed.next()
        await other.close()
        again = await there.subscribe("t")
        await here.publish("t", b"2")
        assert await _take(again, 1) == [b"2"]


async def test_waiting_for_a_message_may_be_given_up_and_loses_none(open_buses: Open) -> None:
    async with open_buses() as (here, there):
        reader = await there.subscribe("t")
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await here.publish("t", b"1")
        assert await _take(reader, 1) == [b"1"]


async def test_a_reader_that_is_too_slow_is_told_that_it_missed_something() -> None:
    bus = InMemoryMessageBus(limit=2)
    reader = await bus.subscribe("t")
    for number in range(3):
        await bus.publish("t", b"%d" % number)
    await bus.publish("t", b"next")
    assert await _take(reader, 2) == [None, b"next"]


async def _hears(bus: MessageBus, reader: Subscription) -> None:
    """The reader is told of the gap; from then on it gets every message."""
    assert await _take(reader, 1) == [None]
    await bus.publish("t", b"again")
    assert await _take(reader, 1) == [b"again"]


@asynccontextmanager
async def _wired(url: str) -> AsyncGenerator[tuple[Wire, RedisMessageBus, RedisMessageBus]]:
    """A bus over a wire, and one that is not disturbed."""
    async with wire(url) as way, _in_redis(way.url, url) as (over, beside):
        yield way, over, beside


async def test_a_lost_connection_is_made_again_and_each_subscription_is_told(in_process_redis: str) -> None:
    async with _wired(in_process_redis) as (way, over, beside):
        first, second = await over.subscribe("t"), await over.subscribe("t", "u")
        way.drop()
        await _hears(beside, first)
        assert [message for message in await _take(second, 2) if message is not None] == [b"again"]


async def test_while_the_server_is_away_nothing_is_published_or_subscribed_and_operators_see_why(
    in_process_redis: str,
) -> None:
    async with _wired(in_process_redis) as (way, over, beside):
        assert not over.health().is_ready, "a wrong REDIS_URL must not go live"
        reader = await over.subscribe("t")
        assert over.health().is_ready
        assert over.health().findings == ()
        way.cut()
        async with asyncio.timeout(10):
            while not over.health().findings:
                await asyncio.sleep(0.001)
        assert over.health().is_ready, "calls without a session go on"
        assert "REDIS_URL" in over.health().findings[0]
        with pytest.raises(SharedStateUnavailable):
            await over.publish("t", b"1")
        way.mend()
        await _hears(beside, reader)
        assert over.health().findings == ()
        other = await over.subscribe("u")
        await beside.publish("u", b"1")
        assert await _take(other, 1) == [b"1"]


async def test_a_server_that_was_never_there_is_told_and_found_when_it_comes(in_process_redis: str) -> None:
    async with wire(in_process_redis) as way:
        way.cut()
        async with _in_redis(way.url, timeout_seconds=0.2) as (bus,):
            with pytest.raises(SharedStateUnavailable):
                await bus.subscribe("t")
            assert not bus.health().is_ready
            assert "REDIS_URL" in bus.health().detail
            way.mend()
            async with asyncio.timeout(10):
                while not bus.health().is_ready:
                    await asyncio.sleep(0.001)
            reader = await bus.subscribe("t")
            await bus.publish("t", b"1")
            assert await _take(reader, 1) == [b"1"]


async def test_a_connection_that_only_looks_alive_counts_as_lost() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says yes to everything but a PING."""
        while line := await reader.readline():
            if line.strip().upper() == b"SUBSCRIBE":
                await reader.readline()
                channel = (await reader.readline()).strip()
                writer.write(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(channel), channel))
            elif line.strip().upper() == b"CLIENT":
                writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with (
        server,
        _in_redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", heartbeat_seconds=0.02) as (bus,),
    ):
        reader = await bus.subscribe("t")
        assert await _take(reader, 1) == [None]


async def test_no_server_no_message() -> None:
    async with _in_redis(f"redis://127.0.0.1:{free_port()}/0") as (bus,):
        with pytest.raises(SharedStateUnavailable):
            await bus.publish("t", b"1")
