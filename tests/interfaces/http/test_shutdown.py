"""The end of a server: what still comes is served, what is under way is answered, and nothing goes unrecorded."""

import asyncio
import json
import logging
from typing import Any

import pytest
from tests.interfaces.doors import STATELESS_REVISIONS, World, modern, new_world
from tests.interfaces.http.listening import Client, Listening, listening
from tests.interfaces.http.test_framing import DOORS, HOST, TOKEN, TYPE, request, sized
from tests.interfaces.mcp.streams.test_sessions import opened

from stoa.domain.metering.event import Status

WAITING = (
    (b"/mcp", b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"waiting"}}'),
    (b"/mcp/v1/tools/waiting/invoke", b"{}"),
)
WAITS = pytest.mark.parametrize(("path", "body"), WAITING, ids=["mcp", "rest"])


class Waiting:
    """A tool that tells that it was called, and waits."""

    def __init__(self, world: World) -> None:
        self.called, self.may_end = asyncio.Event(), asyncio.Event()

        @world.gateway.tool(name="waiting", tenant="alpha")
        async def waiting() -> str:
            self.called.set()
            await self.may_end.wait()
            return "done"


@pytest.fixture
def world() -> World:
    return new_world(has_sessions=True)


@pytest.fixture
def waiting(world: World) -> Waiting:
    return Waiting(world)


async def _closing(client: Client) -> int:
    """The status of the next answer, which says that it is the last, and is."""
    one = await client.response()
    assert one is not None and one.headers["connection"] == "close"
    assert await client.response() is None
    return one.status


async def _closed_to_newcomers(server: Listening) -> None:
    await server.settle(lambda: server.server.servers and not server.server.servers[0].sockets)
    with pytest.raises(ConnectionError):
        await server.connect()


@DOORS
async def test_drain_serves_what_comes_and_keeps_no_connection(world: World, path: bytes, body: bytes) -> None:
    async with listening(world) as server:
        idle, new = await server.connect(), None
        await idle.send(sized(path, body))
        first = await idle.response()
        assert first is not None and "connection" not in first.headers
        server.lifecycle.drain()
        assert not server.lifecycle.health().is_ready
        new = await server.connect()
        for client in (idle, new):
            await client.send(sized(path, body))
            assert await _closing(client) == 200


@WAITS
async def test_shutdown_answers_a_call_under_way(world: World, waiting: Waiting, path: bytes, body: bytes) -> None:
    async with listening(world, grace_seconds=60) as server:
        client = await server.connect()
        await client.send(sized(path, body))
        await waiting.called.wait()
        ending = asyncio.create_task(server.end())
        await _closed_to_newcomers(server)
        waiting.may_end.set()
        assert await _closing(client) == 200
        await ending
    assert [event.status for event in world.events] == [Status.SUCCESS]


@WAITS
async def test_shutdown_tells_a_call_that_does_not_end_and_meters_it(
    world: World, waiting: Waiting, caplog: pytest.LogCaptureFixture, path: bytes, body: bytes
) -> None:
    async with listening(world, grace_seconds=0) as server:
        client = await server.connect()
        await client.send(sized(path, body))
        await waiting.called.wait()
        _, answer = await asyncio.gather(server.end(), client.response())
    assert answer is not None
    told = answer.json()
    if path == b"/mcp":
        assert (told["id"], told["error"]["code"], told["error"]["data"]["code"]) == (7, 5030, "shutting_down")
        message = told["error"]["message"]
    else:
        assert (answer.status, told["error"]) == (503, "shutting_down")
        message = told["message"]
    assert "shutting down" in message
    (event,) = world.events
    assert event.status is Status.CANCELLED
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def test_shutdown_tells_a_stateless_call_on_its_stream(world: World, waiting: Waiting) -> None:
    message, headers = modern("tools/call", {"name": "waiting", "arguments": {}})
    body = json.dumps(message).encode()
    fields = [f"{name}: {value}".encode() for name, value in headers.items()]
    async with listening(world, grace_seconds=0) as server:
        client = await server.connect()
        sent = sized(b"/mcp", body, *fields).replace(b"Accept: application/json", b"Accept: text/event-stream")
        await client.send(sent)
        await waiting.called.wait()
        await server.end()
        stream = await _rest(client)
    assert b'"code":"shutting_down"' in stream and stream.endswith(b"0\r\n\r\n")
    assert STATELESS_REVISIONS.encode() not in stream


async def test_shutdown_ends_streams_with_their_last_event(world: World) -> None:
    session = await opened(world)
    listen, headers = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, request_id="L")
    async with listening(world, grace_seconds=60) as server:
        following, subscribed = await server.connect(), await server.connect()
        await following.send(
            b"GET /mcp HTTP/1.1\r\n%b%bAccept: text/event-stream\r\nMcp-Session-Id: %b\r\n\r\n"
            % (HOST, TOKEN, session.id.encode())
        )
        fields = [f"{name}: {value}".encode() for name, value in headers.items()]
        sent = sized(b"/mcp", json.dumps(listen).encode(), *fields)
        await subscribed.send(sent.replace(TYPE, TYPE.replace(b"Accept: ", b"Accept: text/event-stream, ")))
        await server.settle(lambda: world.sessions is not None and world.sessions.streams.listening())
        await server.settle(lambda: world.engine.subscriptions._listeners)
        await server.end()
        begun, _, ended = (await _rest(following)).partition(b": open\n\n")
        assert begun.startswith(b"HTTP/1.1 200")
        assert ended.count(b"id: s:0\nretry: 1000\ndata: \n\n") == 2, "as it began, so that the client comes back"
        assert ended.endswith(b"0\r\n\r\n")
        last = await _rest(subscribed)
    assert b'"id":"L","result":{"resultType":"complete"' in last and last.endswith(b"0\r\n\r\n")


async def test_shutdown_serves_a_request_whose_head_has_begun(world: World) -> None:
    whole = request(b"/mcp/v1/tools/add/invoke", b'{"arguments":{"a":1}}', b"Content-Length: 21")
    async with listening(world, grace_seconds=60) as server:
        client, idle = await server.connect(), await server.connect()
        await client.send(whole[:30])
        await server.settle(lambda: any(one._has_begun for one in server.protocols))
        ending = asyncio.create_task(server.end())
        assert await idle.response() is None
        await client.send(whole[30:])
        assert await _closing(client) == 200
        await ending


async def test_shutdown_does_not_wait_for_a_client_that_sends_no_more(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(world, grace_seconds=0) as server:
        server.server.cut_seconds = 0.0
        client = await server.connect()
        await client.send(request(b"/mcp", b"{", b"Content-Length: 20"))
        await server.settle(lambda: server.tasks)
        await server.end()
        assert await client.response() is None
    assert not [record for record in caplog.records if record.exc_info]


async def test_shutdown_sends_nothing_to_a_back_end_after_the_cut(world: World) -> None:
    world.gateway.invoke_operation.running.cut()
    answer = await world.legacy("tools/call", {"name": "add", "arguments": {"a": 1}})
    assert answer.json()["error"]["data"]["code"] == "shutting_down"
    assert [event.cost_units for event in world.events] == [0]


async def test_a_call_that_its_client_cancelled_as_well_stays_cancelled(world: World, waiting: Waiting) -> None:
    message, headers = modern("tools/call", {"name": "waiting", "arguments": {}})
    gone = asyncio.Event()
    call: asyncio.Task[Any] = asyncio.create_task(world.post(message, headers=headers, gone=gone))
    await waiting.called.wait()
    call.cancel()
    world.gateway.invoke_operation.running.cut()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [event.status for event in world.events] == [Status.CANCELLED]
    assert not len(world.gateway.invoke_operation.running)


async def test_reload_reads_what_it_can(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(world) as server:
        read: list[str] = []

        async def broken() -> None:
            raise OSError

        async def fine() -> None:
            read.append("fine")

        server.lifecycle._reloads.update(broken=broken, fine=fine)
        server.server.reload()
        await server.settle(lambda: read)
    assert "broken: cannot be read again" in caplog.text


async def _rest(client: Client) -> bytes:
    """All that comes until the connection is closed."""
    found = b""
    while data := await client._more():
        found += data
    return found
