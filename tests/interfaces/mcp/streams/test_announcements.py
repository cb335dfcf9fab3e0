"""What programs announce on one replica is told to watchers on all of them, once."""

import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pydantic_core
import pytest
from tests.interfaces.doors import World, new_world
from tests.interfaces.mcp.streams.test_sessions import until
from tests.interfaces.mcp.streams.test_watching import ERAS
from tests.services import connections, wire

from stoa.application import Context
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.ports import MessageBus
from stoa.infrastructure.redis import RedisMessageBus
from stoa.interfaces.mcp.streams.announcements import UPDATES_PER_MESSAGE

TOPIC = "announcements"
Start = Callable[[], AbstractAsyncContextManager[World]]
"""Starts one more replica."""


@asynccontextmanager
async def replica(bus: MessageBus) -> AsyncGenerator[World]:
    """One with sessions of its own: what is announced needs no others."""
    world = new_world(has_sessions=True, bus=bus)

    @world.gateway.tool
    async def save(context: Context, uri: str) -> str:
        context.resource_updated(uri)
        return "saved"

    await world.engine.open()
    try:
        yield world
    finally:
        await world.engine.close()


@pytest.fixture
async def start(shared_in: str | None) -> AsyncIterator[Start]:
    prefix, shared = secrets.token_hex(8), InMemoryMessageBus()

    @asynccontextmanager
    async def one_more() -> AsyncGenerator[World]:
        async with AsyncExitStack() as stack:
            bus: MessageBus = shared
            if shared_in is not None:
                (redis,) = await stack.enter_async_context(connections(shared_in, prefix=prefix))
                bus = own = RedisMessageBus(redis, retry_seconds=0.01)
                stack.push_async_callback(own.close)
            yield await stack.enter_async_context(replica(bus))

    yield one_more


@pytest.fixture
async def pair(start: Start) -> AsyncIterator[tuple[World, World]]:
    async with start() as one, start() as two:
        yield one, two


Pair = tuple[World, World]


@ERAS
async def test_announcement_reaches_watchers_on_all_replicas_once(pair: Pair, watch: Any) -> None:
    watched = ["memo://plain", "memo://items/to/1", "memo://items/fro/1"]
    watchers = [await watch(world, watched) for world in pair]
    expected: list[str] = []
    # Whatever the first announcement causes is done when one has gone to and fro after it: a bus keeps the order.
    for world, uri in zip((pair[0], pair[0], pair[1]), watched, strict=True):
        world.gateway.resource_updated(uri)
        expected.append(uri)
        for watcher in watchers:
            await until(lambda: len(watcher.told) >= len(expected))  # noqa: B023  # awaited here
            assert watcher.told == expected
    for watcher in watchers:
        await watcher.leave()


@ERAS
async def test_announcement_of_one_tenant_stays_with_that_tenant_on_other_replicas(pair: Pair, watch: Any) -> None:
    watched = ["memo://plain", "memo://items/last/1"]
    mine = await watch(pair[1], [*watched, "memo://alpha"])
    theirs = await watch(pair[1], watched, token="beta-viewer")
    pair[0].gateway.resource_updated("memo://alpha", tenant="alpha")
    await until(lambda: mine.told == ["memo://alpha"])
    await pair[0].modern("tools/call", {"name": "save", "arguments": {"uri": "memo://plain"}})
    await until(lambda: mine.told == ["memo://alpha", "memo://plain"])
    pair[0].gateway.resource_updated("memo://items/last/1")
    await until(lambda: len(theirs.told) > 0)
    assert theirs.told == ["memo://items/last/1"]
    for watcher in (mine, theirs):
        await watcher.leave()


@ERAS
async def test_announcement_bursts_are_passed_on_whole(pair: Pair, watch: Any) -> None:
    items = [f"memo://items/a/{number}" for number in range(2 * UPDATES_PER_MESSAGE + 1)]
    watcher = await watch(pair[1], [items[0], items[-1]])
    for item in items:
        pair[0].gateway.resource_updated(item)
    await until(lambda: sorted(watcher.told) == sorted([items[0], items[-1]]))
    await watcher.leave()


@ERAS
async def test_announcement_right_before_a_replica_stops_is_still_passed_on(start: Start, watch: Any) -> None:
    async with start() as staying:
        watcher = await watch(staying, ["memo://plain"])
        async with start() as stopping:
            stopping.gateway.resource_updated("memo://plain")
            await until(lambda: bool(stopping.engine.subscriptions._due_updates) or bool(watcher.told))
        await until(lambda: watcher.told == ["memo://plain"])
        await watcher.leave()


async def test_announcement_is_not_made_of_changes_in_the_catalogue() -> None:
    bus = InMemoryMessageBus()
    reader = await bus.subscribe(TOPIC)
    async with replica(bus) as world:
        world.gateway.tool(lambda: 1, name="one_more")
        world.gateway.resource_updated("memo://plain")
        kind, _, updates = pydantic_core.from_json(await reader.next() or b"")
    assert (kind, [update["uri"] for update in updates]) == ("updated", ["memo://plain"])
    await reader.close()


@ERAS
async def test_announcement_that_another_version_wrote_otherwise_is_dropped(watch: Any) -> None:
    bus = InMemoryMessageBus()
    async with replica(bus) as one, replica(bus) as two:
        watcher = await watch(two, ["memo://plain"])
        for strange in (b"{", b'["renamed"]', b'["updated", "x"]', b'["updated", "x", [{"uri": "memo://plain"}]]'):
            await bus.publish(TOPIC, strange)
        one.gateway.resource_updated("memo://plain")
        await until(lambda: watcher.told == ["memo://plain"])
        await watcher.leave()


@ERAS
async def test_announcement_without_the_bus_reaches_watchers_here_and_the_log_says_once_that_others_miss_it(
    in_process_redis: str, watch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "stoa.interfaces.mcp.streams.announcements")
    items = [f"memo://items/{number}/1" for number in range(4)]
    prefix = secrets.token_hex(8)
    async with (
        wire(in_process_redis) as way,
        connections(way.url, prefix=prefix, timeout_seconds=0.5) as (near,),
        connections(in_process_redis, prefix=prefix) as (far,),
    ):
        buses = [RedisMessageBus(redis, retry_seconds=0.01) for redis in (near, far)]
        async with replica(buses[0]) as one, replica(buses[1]) as two:
            here, there = await watch(one, items), await watch(two, items)
            way.cut()
            for number in (0, 1):
                one.gateway.resource_updated(items[number])
                await until(lambda: len(here.told) > number)  # noqa: B023  # awaited here
                announcements = one.engine.subscriptions._announcements
                assert announcements is not None
                await until(lambda: announcements._sending is None or announcements._sending.done())  # noqa: B023
            way.mend()
            one.gateway.resource_updated(items[2])
            await until(lambda: there.told == [items[2]])
            assert here.told == items[:3]
            for watcher in (here, there):
                await watcher.leave()
        for bus in buses:
            await bus.close()
    said = [record for record in caplog.records if record.name.endswith("announcements")]
    assert len(said) == 1
    assert in_process_redis not in caplog.text
