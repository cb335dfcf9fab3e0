"""Sessions that several replicas share: whatever arrives at one of them reaches what runs at another."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.interfaces.doors import Answer, World, new_world
from tests.interfaces.mcp.streams.test_sessions import NAME, Client, frames, opened, sent, until
from tests.live.servers import free_port
from tests.services import connections, wire

from stoa.application import Context
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.ports.session_store import SessionStore
from stoa.domain.errors import SharedStateUnavailable
from stoa.domain.metering.event import Status
from stoa.infrastructure.redis import RedisEventStore, RedisMessageBus, RedisSessionStore
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.testing.clock import ManualClock

Start = Callable[[], AbstractAsyncContextManager[World]]
"""Starts one more replica."""


def _add_tools(world: World) -> None:
    @world.gateway.tool
    async def greet(context: Context) -> str:
        answer = await context.elicit("Who?", NAME)
        return f"Hello, {answer.content['name']}"

    @world.gateway.tool
    async def count(context: Context, to: int) -> str:
        """Counts, waiting for an answer before each step."""
        for step in range(1, to + 1):
            await context.elicit("Go on?", NAME)
            await context.log("warning", step)
        return "done"


@pytest.fixture
async def start(shared_in: str | None) -> AsyncIterator[Start]:
    prefix, clock = secrets.token_hex(8), ManualClock()
    store, events, bus = InMemorySessionStore(clock), InMemoryEventStore(), InMemoryMessageBus()

    @asynccontextmanager
    async def one_more() -> AsyncGenerator[World]:
        async with AsyncExitStack() as stack:
            if shared_in is None:
                parts: tuple[SessionStore, Streams] = (store, Streams(events, bus, renew_seconds=0.02))
            else:
                (redis,) = await stack.enter_async_context(connections(shared_in, prefix=prefix))
                own_bus = RedisMessageBus(redis, retry_seconds=0.01)
                stack.push_async_callback(own_bus.close)
                streams = Streams(RedisEventStore(redis, clock), own_bus, renew_seconds=0.02)
                parts = (RedisSessionStore(redis, clock), streams)
            world = new_world(shared=lambda _: parts, ask_timeout_seconds=5)
            _add_tools(world)
            assert world.sessions is not None
            await world.sessions.open()
            stack.push_async_callback(world.sessions.close)
            yield world

    yield one_more


@pytest.fixture
async def pair(start: Start) -> AsyncIterator[tuple[World, World]]:
    async with start() as one, start() as two:
        yield one, two


Pair = tuple[World, World]


def at(client: Client, world: World) -> Client:
    """The same client, whose next requests arrive elsewhere."""
    moved = Client(world, client.token, client.revision)
    moved.id = client.id
    return moved


class Running:
    """A request on its way, and what came of it so far."""

    def __init__(self, work: Callable[..., Any], *arguments: Any, **rest: Any) -> None:
        self.so_far, self.gone = Answer(), asyncio.Event()
        self.task: asyncio.Task[Answer] = asyncio.create_task(
            work(*arguments, into=self.so_far, gone=self.gone, **rest)
        )

    async def has(self, count: int) -> list[Any]:
        await until(lambda: len(sent(self.so_far)) >= count)
        return sent(self.so_far)

    async def begun(self) -> "Running":
        await until(lambda: self.so_far.status == 200 and bool(self.so_far.chunks))
        return self

    async def leave(self) -> Answer:
        self.gone.set()
        return await self.task


def _answer(question: Any, name: str = "Ada") -> Any:
    return {"id": question["id"], "result": {"action": "accept", "content": {"name": name}}}


def _calls(world: World) -> list[Status]:
    """How each call ended; its questions leave events of their own."""
    return [event.status for event in world.events if not event.tool.startswith("elicitation:")]


async def test_a_session_is_known_on_every_replica_to_its_own_caller_only(pair: Pair) -> None:
    one, two = pair
    client = await opened(one)
    there = at(client, two)
    assert (await there.ask("logging/setLevel", {"level": "debug"})).json()["result"] == {}
    assert (await there.ask("tools/list")).status == 200
    unknown = at(client, two)
    unknown.id = secrets.token_urlsafe(32)
    for wrong, rest in ((there, {"token": "beta-viewer"}), (unknown, {})):
        for answer in (
            await wrong.ask("tools/list", **rest),
            await wrong.other("GET", **rest),
            await wrong.other("DELETE", **rest),
            await wrong.tell({"method": "notifications/cancelled", "params": {"requestId": 1}}, **rest),
        ):
            assert (answer.status, answer.json()["error"]["message"]) == (404, "Session not found")
    assert (await client.ask("ping")).status == 200


async def test_a_question_of_one_replica_is_answered_on_another(pair: Pair) -> None:
    client = await opened(pair[0])
    call = Running(client.ask, "tools/call", {"name": "greet"})
    (question,) = await call.has(1)
    there = at(client, pair[1])
    stranger = await opened(pair[1], token="beta-viewer")
    assert (await stranger.tell(_answer(question, "Eve"))).status == 202
    for wrong in ("server-0", 7, "x" * 2000, question["id"] + "0"):
        assert (await there.tell({**_answer(question, "Eve"), "id": wrong})).status == 202
    assert not call.task.done()
    assert (await there.tell(_answer(question))).status == 202
    assert sent(await call.task)[-1]["result"]["content"][0]["text"] == "Hello, Ada"
    assert _calls(pair[0]) == [Status.SUCCESS]


async def test_a_request_of_one_replica_is_cancelled_on_another(pair: Pair) -> None:
    client = await opened(pair[0])
    call = Running(client.ask, "tools/call", {"name": "greet"}, request_id=7)
    await call.has(1)
    note: Any = {"method": "notifications/cancelled", "params": {"requestId": 7}}
    there, other = at(client, pair[1]), await opened(pair[1])
    await other.tell(note)
    for wrong in ("7", True, 8, "x" * 2000):
        await there.tell({**note, "params": {"requestId": wrong}})
    assert (await there.tell(note)).status == 202
    assert sent(await call.task)[-1]["error"]["code"] == -32800
    assert _calls(pair[0]) == [Status.CANCELLED]


@pytest.mark.parametrize("left_after", [1, 2, 4])
async def test_a_stream_goes_on_where_the_client_comes_back_without_loss_or_duplicate(
    pair: Pair, left_after: int
) -> None:
    """Left after some messages, resumed on the other replica while more are made on the first."""
    client = await opened(pair[0])
    params = {"name": "count", "arguments": {"to": 3}}
    call = Running(client.ask, "tools/call", params)
    there = at(client, pair[1])
    for number in range(1, left_after + 1, 2):
        await there.tell(_answer((await call.has(number))[number - 1]))
    await call.has(left_after)
    last_seen = [event_id for event_id, message in frames(call.so_far) if message is not None][left_after - 1]
    seen = sent(call.so_far)[:left_after]
    call.gone.set()
    resumed = Running(there.other, "GET", headers={"last-event-id": last_seen})
    await resumed.begun()
    answered = {message["id"] for message in seen if "id" in message}
    async with asyncio.timeout(10):
        while not resumed.task.done():
            for message in sent(resumed.so_far):
                if "method" in message and message.get("id") not in {None, *answered}:
                    answered.add(message["id"])
                    await there.tell(_answer(message))
            await asyncio.sleep(0.001)
    whole = seen + sent(await resumed.task)
    kinds = [message.get("method", "result") for message in whole]
    assert kinds == ["elicitation/create", "notifications/message"] * 3 + ["result"]
    assert [message["params"]["data"] for message in whole if "data" in message.get("params", {})] == [1, 2, 3]
    ids = [event_id for event_id, message in frames(resumed.so_far) if message is not None]
    assert [int((event_id or "").rpartition(":")[2]) for event_id in ids] == list(range(left_after + 1, 8))
    await call.task


async def test_what_is_published_reaches_the_sessions_own_stream_wherever_it_is_open(pair: Pair) -> None:
    one, two = pair
    client = await opened(one)
    stream = await Running(at(client, two).other, "GET").begun()
    assert one.sessions is not None
    assert two.sessions is not None
    for number, world in enumerate((one, two, one)):
        await world.sessions.streams.publish(client.id, "s", b'{"number":%d}' % number)  # type: ignore[union-attr]
    assert await stream.has(3) == [{"number": number} for number in range(3)]
    two.gateway.tool(lambda: 1, name="one_more")
    assert (await stream.has(4))[-1]["method"] == "notifications/tools/list_changed"
    event_id = frames(stream.so_far)[-1][0] or ""
    await stream.leave()
    await one.sessions.streams.publish(client.id, "s", b'{"number":4}')
    again = await Running(client.other, "GET", headers={"last-event-id": event_id}).begun()
    assert await again.has(1) == [{"number": 4}]
    await again.leave()


async def test_a_newer_stream_on_another_replica_takes_the_place_of_an_older_one(pair: Pair) -> None:
    client = await opened(pair[0])
    older = await Running(client.other, "GET").begun()
    newer = await Running(at(client, pair[1]).other, "GET").begun()
    await older.task
    newest = await Running(client.other, "GET").begun()
    await newer.task
    assert not newest.task.done()
    await newest.leave()


async def test_a_session_that_is_deleted_on_one_replica_is_over_on_all(pair: Pair) -> None:
    client = await opened(pair[0])
    stream = await Running(client.other, "GET").begun()
    there = at(client, pair[1])
    assert (await there.other("DELETE")).status == 200
    await stream.task
    for gone in (await client.ask("ping"), await there.ask("ping"), await client.other("GET")):
        assert gone.status == 404


async def test_a_session_outlives_the_replica_that_began_it(start: Start) -> None:
    async with start() as first:
        client = await opened(first)
        call = Running(client.ask, "tools/call", {"name": "count", "arguments": {"to": 0}, "_meta": {}})
        await call.task
        await client.ask("logging/setLevel", {"level": "debug"})
        assert first.sessions is not None
        await first.sessions.streams.publish(client.id, "s", b'{"kept":1}')
    async with start() as second:
        there = at(client, second)
        assert (await there.ask("tools/list")).status == 200
        stream = await Running(there.other, "GET", headers={"last-event-id": "s:0"}).begun()
        assert await stream.has(1) == [{"kept": 1}]
        await stream.leave()
        call = Running(there.ask, "tools/call", {"name": "greet"})
        (question,) = await call.has(1)
        await there.tell(_answer(question))
        assert sent(await call.task)[-1]["result"]["content"][0]["text"] == "Hello, Ada"


async def test_an_answer_to_a_replica_that_is_gone_is_taken_and_nobody_gets_it(start: Start) -> None:
    async with start() as alive:
        async with start() as dead:
            client = await opened(dead)
            call = Running(client.ask, "tools/call", {"name": "greet"}, request_id=3)
            (question,) = await call.has(1)
            await client.tell({"method": "notifications/cancelled", "params": {"requestId": 3}})
            await call.task
        assert (await at(client, alive).tell(_answer(question))).status == 202


async def test_an_open_stream_keeps_its_session_alive_and_a_closed_one_does_not() -> None:
    finds: list[str] = []

    class Counting(InMemorySessionStore):
        async def find(self, session_id: str) -> Any:
            finds.append(session_id)
            return await super().find(session_id)

    def parts(clock: ManualClock) -> tuple[SessionStore, Streams]:
        return Counting(clock), Streams(InMemoryEventStore(), renew_seconds=0.001)

    world = new_world(shared=parts)
    client = await opened(world)
    stream = await Running(client.other, "GET").begun()
    for _ in range(3):
        world.clock.advance(1000)
        before = len(finds)
        await until(lambda: len(finds) > before + 1)  # noqa: B023  # awaited here
    assert (await client.ask("ping")).status == 200
    await stream.leave()
    world.clock.advance(1800)
    assert (await client.ask("ping")).status == 404


async def test_a_stream_ends_when_its_session_is_gone_though_nobody_said_so(pair: Pair) -> None:
    client = await opened(pair[0])
    stream = await Running(client.other, "GET").begun()
    sessions = pair[1].sessions
    assert sessions is not None
    await sessions._store.delete(client.id)
    await stream.task


async def test_without_the_store_sessions_are_refused_and_everything_else_is_served() -> None:
    async with connections(f"redis://127.0.0.1:{free_port()}/0") as (redis,):

        def parts(clock: ManualClock) -> tuple[SessionStore, Streams]:
            return RedisSessionStore(redis, clock), Streams(RedisEventStore(redis, clock), RedisMessageBus(redis))

        world = new_world(shared=parts)
        client = Client(world, "alpha-admin", "2025-11-25")
        client.id = "any"
        begun = await world.legacy(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c"}}
        )
        note = {"method": "notifications/initialized"}
        refused = (
            begun,
            await client.ask("tools/list"),
            await client.tell(note),
            await client.other("GET"),
            await client.other("DELETE"),
        )
        for answer in refused:
            assert answer.status == 503
            assert answer.json()["error"]["data"] == {"code": "shared_state_unavailable"}
            assert "127.0.0.1" not in answer.body.decode()
        assert (await world.legacy("tools/list")).status == 200
        assert (await world.modern("tools/list")).status == 200


async def test_who_is_still_connected_gets_an_answer_that_cannot_be_kept(in_process_redis: str) -> None:
    async with wire(in_process_redis) as way, connections(way.url, timeout_seconds=0.5) as (redis,):

        def parts(clock: ManualClock) -> tuple[SessionStore, Streams]:
            return RedisSessionStore(redis, clock), Streams(RedisEventStore(redis, clock), RedisMessageBus(redis))

        world = new_world(shared=parts)

        @world.gateway.tool
        async def told(context: Context) -> str:
            await context.log("warning", 1)
            way.cut()
            await context.log("warning", 2)
            await context.hang_up()
            way.mend()
            await context.log("warning", 3)
            return "done"

        client = await opened(world)
        answer = await client.ask("tools/call", {"name": "told"})
        assert [message.get("params", {}).get("data") for message in sent(answer)] == [1, 2, 3, None]
        assert [event_id is not None for event_id, message in frames(answer) if message] == [True, False, False, False]
        assert _calls(world) == [Status.SUCCESS]


async def test_a_stream_is_let_go_when_the_store_is_lost_and_its_client_may_come_back(in_process_redis: str) -> None:
    async with wire(in_process_redis) as way, connections(way.url, timeout_seconds=30) as (redis,):
        bus = RedisMessageBus(redis, retry_seconds=0.01)

        def parts(clock: ManualClock) -> tuple[SessionStore, Streams]:
            return RedisSessionStore(redis, clock), Streams(RedisEventStore(redis, clock), bus, renew_seconds=0.01)

        world = new_world(shared=parts)
        client = await opened(world)
        stream = await Running(client.other, "GET").begun()
        way.cut()
        await stream.task
        with pytest.raises(SharedStateUnavailable):
            await bus.publish("t", b"")
        # The bus has a connection of its own: until it knows that it has none, a client is refused and tries again.
        await until(lambda: bus.health().detail == "connection lost")
        way.mend()
        again = await Running(client.other, "GET", headers={"last-event-id": "s:0"}).begun()
        await again.leave()
        await bus.close()
