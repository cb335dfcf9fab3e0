"""The stdio transport without a process: bytes in, lines out, in both eras."""

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import PRINCIPALS, STATELESS_REVISIONS, World, envelope, modern, new_world

from stoa.application import Context, Principal
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.metering.event import Status
from stoa.interfaces.mcp.transports.stdio import LINE_LIMIT, MAX_AT_ONCE, Lines, StdioDoor

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ALL = {"sampling": {}, "elicitation": {}, "roots": {}}


class Client:
    """The program that started the gateway."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.token = "alpha-admin"
        self.lines: list[bytes] = []
        self.reads = True
        self._bytes: asyncio.Queue[bytes] = asyncio.Queue()
        self._changed = asyncio.Event()
        self.door = StdioDoor(world.engine, self._send, self._credential, **options)
        self.serving = asyncio.create_task(self.door.serve(self._bytes.get))

    async def _send(self, data: bytes) -> None:
        if not self.reads:
            raise BrokenPipeError
        self.lines.append(data)
        self._changed.set()

    async def _credential(self) -> BearerToken | None:
        return BearerToken(self.token) if self.token else None

    def write(self, data: bytes) -> None:
        self._bytes.put_nowait(data)

    def tell(self, message: Any) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def begin(self, request_id: Any, method: str, params: Any = None) -> None:
        self.tell({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}})

    @property
    def messages(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]

    async def until(self, holds: Callable[[Any], bool]) -> Any:
        """The first message of which this holds."""
        async with asyncio.timeout(10):
            while True:
                single = (message for message in self.messages if isinstance(message, dict))
                found = next(filter(holds, single), None)
                if found is not None:
                    return found
                self._changed.clear()
                await self._changed.wait()

    async def ask(self, request_id: Any, method: str, params: Any = None) -> Any:
        self.begin(request_id, method, params)
        return await self.until(lambda message: message.get("id") == request_id and "method" not in message)

    async def open(self, revision: str = "2025-11-25", can: Any = ALL) -> Any:
        offer = {"protocolVersion": revision, "capabilities": can, "clientInfo": {"name": "c", "version": "1"}}
        answer = await self.ask("open", "initialize", offer)
        self.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    async def modern(self, request_id: Any, method: str, params: Any = None, can: Any = None) -> Any:
        meta = {**envelope(), "io.modelcontextprotocol/clientCapabilities": can or {}}
        return await self.ask(request_id, method, {"_meta": meta, **(params or {})})

    async def end(self) -> None:
        self.write(b"")
        await asyncio.wait_for(self.serving, 10)


@asynccontextmanager
async def connected(world: World, **options: Any) -> AsyncGenerator[Client]:
    client = Client(world, **options)
    try:
        yield client
    finally:
        client.serving.cancel()
        await asyncio.wait({client.serving})


class Gate:
    """A tool that waits until it may go on."""

    def __init__(self, world: World) -> None:
        self.began, self.open = asyncio.Event(), asyncio.Event()

        @world.gateway.tool
        async def waits() -> str:
            self.began.set()
            await self.open.wait()
            return "waited"


@pytest.fixture
def world() -> World:
    world = new_world(has_sessions=True, ask_timeout_seconds=5)

    @world.gateway.tool
    async def greet(context: Context) -> str:
        await context.progress(1, 2, "asking")
        answer = await context.elicit("Who?", NAME, key="who")
        return f"Hello, {answer.content['name']}"

    return world


async def test_stdio_handshake_opens_the_one_session_of_the_connection(world: World) -> None:
    async with connected(world) as client:
        opened = await client.open()
        assert opened["result"]["protocolVersion"] == "2025-11-25"
        assert opened["result"]["capabilities"]["logging"] == {}
        assert (await client.ask(1, "logging/setLevel", {"level": "debug"}))["result"] == {}
        again = await client.ask(2, "initialize", {"protocolVersion": "2025-11-25"})
        assert "initialized already" in again["error"]["message"]


async def test_stdio_stateless_request_needs_its_envelope_and_no_headers(world: World) -> None:
    async with connected(world) as client:
        found = await client.modern(1, "server/discover")
        assert found["result"]["supportedVersions"] == [STATELESS_REVISIONS]
        called = await client.modern("x", "tools/call", {"name": "add", "arguments": {"a": 1}})
        assert called["result"]["content"] == [{"type": "text", "text": "2"}]
        unknown = await client.ask(2, "server/discover", {"_meta": envelope("2030-01-01")})
        assert unknown["error"]["code"] == -32022


async def test_stdio_line_is_one_message_without_line_feeds_inside(world: World) -> None:
    async with connected(world) as client:
        await client.ask(1, "tools/call", {"name": "echo", "arguments": {"value": {"text": "one\ntwo\r\n"}}})
        await client.ask(2, "tools/list")
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in client.lines)


async def test_stdio_client_requests_and_notifications_share_the_connection(world: World) -> None:
    async with connected(world) as client:
        await client.open()
        client.begin(1, "tools/call", {"name": "greet", "_meta": {"progressToken": "p"}})
        question = await client.until(lambda message: message.get("method") == "elicitation/create")
        accepted = {"action": "accept", "content": {"name": "Ann"}}
        client.tell({"jsonrpc": "2.0", "id": question["id"], "result": accepted})
        answer = await client.until(lambda message: message.get("id") == 1)
        assert answer["result"]["content"][0]["text"] == "Hello, Ann"
        told = [message["params"] for message in client.messages if message.get("method") == "notifications/progress"]
        assert told == [{"progressToken": "p", "progress": 1.0, "total": 2.0, "message": "asking"}]


async def test_stdio_stateless_call_asks_in_rounds(world: World) -> None:
    can = {"elicitation": {}}
    async with connected(world) as client:
        first = (await client.modern(1, "tools/call", {"name": "greet"}, can))["result"]
        assert first["resultType"] == "input_required"
        more = {
            "name": "greet",
            "requestState": first["requestState"],
            "inputResponses": {"who": {"action": "accept", "content": {"name": "Ann"}}},
        }
        second = await client.modern(2, "tools/call", more, can)
        assert second["result"]["content"][0]["text"] == "Hello, Ann"


@pytest.mark.parametrize("is_stateless", [False, True])
async def test_stdio_cancelled_request_gets_no_answer_and_is_metered(world: World, is_stateless: bool) -> None:
    gate = Gate(world)
    params: dict[str, Any] = {"name": "waits"}
    async with connected(world) as client:
        if is_stateless:
            params["_meta"] = envelope()
        else:
            await client.open()
        client.begin(7, "tools/call", params)
        await asyncio.wait_for(gate.began.wait(), 10)
        client.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        await client.ask(8, "ping") if not is_stateless else await client.modern(8, "server/discover")
        await client.end()
        assert [message for message in client.messages if message.get("id") == 7] == []
    assert [event.status for event in world.events] == [Status.CANCELLED]


async def test_stdio_cancellation_of_a_request_that_is_over_changes_nothing(world: World) -> None:
    async with connected(world) as client:
        for request_id in (1, "1", None, True, [], 1.5):
            client.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}})
        assert (await client.ask(1, "ping"))["result"] == {}


async def test_stdio_requests_run_side_by_side(world: World) -> None:
    gate = Gate(world)
    async with connected(world) as client:
        client.begin(1, "tools/call", {"name": "waits"})
        await asyncio.wait_for(gate.began.wait(), 10)
        assert (await client.ask(2, "ping"))["result"] == {}
        gate.open.set()
        assert (await client.until(lambda message: message.get("id") == 1))["result"]["content"][0]["text"] == "waited"


async def test_stdio_requests_above_the_bound_are_refused_one_by_one(world: World) -> None:
    gate = Gate(world)
    async with connected(world) as client:
        for request_id in range(MAX_AT_ONCE + 1):
            client.begin(request_id, "tools/call", {"name": "waits"})
        refused = await client.until(lambda message: "error" in message)
        assert (refused["id"], refused["error"]["code"]) == (MAX_AT_ONCE, 5030)
        gate.open.set()
        await client.end()
    assert len(client.lines) == MAX_AT_ONCE + 1


async def test_stdio_request_id_in_use_is_refused_in_an_answer_without_id(world: World) -> None:
    gate = Gate(world)
    async with connected(world) as client:
        client.begin(1, "tools/call", {"name": "waits"})
        client.begin(1, "ping")
        refused = await client.until(lambda message: "error" in message)
        assert "id" not in refused
        assert (await client.ask("1", "ping"))["result"] == {}
        gate.open.set()
        assert "result" in await client.until(lambda message: message.get("id") == 1)


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[1", b'{"a":NaN}', b"nonsense"])
async def test_stdio_bytes_that_are_no_json_are_a_parse_error(world: World, line: bytes) -> None:
    async with connected(world) as client:
        client.write(line + b"\n")
        refused = await client.until(lambda message: "error" in message)
        assert (refused["error"]["code"], "id" in refused) == (-32700, False)
        assert (await client.ask(1, "ping"))["result"] == {}


async def test_stdio_line_that_is_too_long_is_refused_and_the_next_one_served(world: World) -> None:
    async with connected(world) as client:
        for _ in range(LINE_LIMIT // 2**20 + 2):
            client.write(b"x" * 2**20)
        refused = await client.until(lambda message: "error" in message)
        assert refused["error"]["code"] == -32600
        client.write(b"still the same line\n")
        assert (await client.ask(1, "ping"))["result"] == {}
        assert len(client.lines) == 2


async def test_stdio_blank_lines_notifications_and_stray_answers_get_no_answer(world: World) -> None:
    async with connected(world) as client:
        client.write(b"\n \r\n")
        client.tell({"jsonrpc": "2.0", "method": "notifications/whatever"})
        client.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"_meta": envelope()}})
        client.tell({"jsonrpc": "2.0", "id": 99, "result": {}})
        await client.ask(1, "ping")
        assert len(client.lines) == 1


@functools.cache
def _world() -> World:
    return new_world(has_sessions=True)


@settings(max_examples=50)
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), inner)
            ),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_stdio_connection_survives_every_message(values: list[Any]) -> None:
    async def send_all() -> None:
        async with connected(_world()) as client:
            for value in values:
                client.tell(value)
            assert (await client.ask("the last", "ping"))["result"] == {}

    asyncio.run(send_all())


async def test_stdio_connection_survives_a_defect_which_is_an_internal_error(world: World) -> None:
    class Broken(InMemoryTokenVerifier):
        async def verify(self, token: str) -> Principal:
            if token == "broken":
                raise RuntimeError("a defect")
            return await super().verify(token)

    world = new_world(has_sessions=True, verifier=Broken(PRINCIPALS, world.clock))
    async with connected(world) as client:
        client.token = "broken"
        refused = await client.ask(1, "ping")
        assert (refused["error"]["code"], refused["error"]["message"]) == (-32603, "Internal error")
        client.token = "alpha-admin"
        assert (await client.ask(2, "ping"))["result"] == {}


async def test_stdio_messages_are_authenticated_one_by_one(world: World) -> None:
    async with connected(world) as client:
        client.token = "forged"
        refused = await client.ask(1, "tools/call", {"name": "add", "arguments": {"a": 1}})
        assert refused["error"]["data"]["code"] == "not_authenticated"
        client.token = ""
        assert (await client.ask(2, "ping"))["error"]["data"]["code"] == "not_authenticated"
        client.token = "alpha-admin"
        assert (await client.ask(3, "ping"))["result"] == {}
    await world.gateway.flush_refusals()
    assert [(event.status, event.calls) for event in world.events] == [(Status.UNAUTHORIZED, 2)]


async def test_stdio_token_that_expires_ends_what_the_connection_may_do() -> None:
    soon = World().clock.now() + timedelta(seconds=60)
    world = new_world(has_sessions=True, principals={"t": Principal.of("x", roles=["viewer"], expires_at=soon)})
    async with connected(world) as client:
        client.token = "t"
        await client.open()
        world.clock.advance(60)
        assert (await client.ask(1, "tools/list"))["error"]["data"]["code"] == "not_authenticated"


async def test_stdio_keeps_the_tenant_rules_of_every_door(world: World) -> None:
    async with connected(world) as client:
        client.token = "alpha-viewer"
        listed = {tool["name"] for tool in (await client.ask(1, "tools/list"))["result"]["tools"]}
        assert "private" not in listed
        assert "note" not in listed
        denied = await client.ask(2, "tools/call", {"name": "private"})
        assert denied["error"]["message"] == "Unknown tool: private"
        await client.ask(3, "tools/call", {"name": "add", "arguments": {"a": 1}})
    assert [event.metadata["door"] for event in world.events] == ["mcp", "mcp"]
    assert {event.consumer for event in world.events} == {"stdio"}


async def test_stdio_notifications_of_changes_are_lines(world: World) -> None:
    async with connected(world) as client:
        await client.open()
        await client.ask(1, "resources/subscribe", {"uri": "memo://plain"})
        world.gateway.resource("memo://new")(lambda: "new")
        await client.until(lambda message: message.get("method") == "notifications/resources/list_changed")


async def test_stdio_listen_stream_is_lines_until_it_is_cancelled(world: World) -> None:
    async with connected(world) as client:
        wanted = {"_meta": envelope(), "notifications": {"toolsListChanged": True}}
        client.begin("l", "subscriptions/listen", wanted)
        acknowledged = await client.until(lambda message: "acknowledged" in message.get("method", ""))
        assert acknowledged["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "l"}
        world.gateway.tool(name="fresh")(lambda: "new")
        await client.until(lambda message: message.get("method") == "notifications/tools/list_changed")
        client.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l"}})
        await client.modern(1, "server/discover")
        before = len(client.lines)
        world.gateway.tool(name="fresher")(lambda: "newer")
        await client.end()
        assert len(client.lines) == before


async def test_stdio_end_lets_running_requests_be_answered(world: World) -> None:
    gate = Gate(world)
    async with connected(world) as client:
        await client.open()  # its news have no end of their own, and must not hold up the process
        client.write(json.dumps(modern("tools/call", {"name": "waits"})[0]).encode())  # not even a line feed follows
        client.write(b"")
        await asyncio.wait_for(gate.began.wait(), 10)
        gate.open.set()
        await asyncio.wait_for(client.serving, 10)
    assert client.messages[-1]["result"]["content"][0]["text"] == "waited"


async def test_stdio_end_cancels_requests_that_take_too_long(world: World) -> None:
    gate = Gate(world)
    async with connected(world, grace_seconds=0) as client:
        client.begin(1, "tools/call", {"name": "waits"})
        await asyncio.wait_for(gate.began.wait(), 10)
        await client.end()
    assert (client.lines, [event.status for event in world.events]) == ([], [Status.CANCELLED])


async def test_stdio_ends_when_its_client_reads_no_more(world: World) -> None:
    gate = Gate(world)
    async with connected(world) as client:
        client.begin(1, "tools/call", {"name": "waits"})
        await asyncio.wait_for(gate.began.wait(), 10)
        client.reads = False
        client.begin(2, "ping")
        await asyncio.wait_for(client.serving, 10)
    assert [event.status for event in world.events] == [Status.CANCELLED]


async def test_stdio_batches_are_answered_in_the_revisions_that_have_them(world: World) -> None:
    async with connected(world) as client:
        await client.open("2025-03-26")
        client.tell([{"jsonrpc": "2.0", "id": n, "method": "ping"} for n in (1, 2)])
        while not any(isinstance(message, list) for message in client.messages):
            await asyncio.sleep(0)
        (answered,) = (message for message in client.messages if isinstance(message, list))
        assert [one["id"] for one in answered] == [1, 2]


@given(st.binary(max_size=60), st.lists(st.integers(1, 10), max_size=30))
def test_stdio_lines_are_the_same_however_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    lines, found, rest = Lines(limit=8), list[bytes | None](), data
    for cut in cuts:
        found += lines.feed(rest[:cut])
        rest = rest[cut:]
    found += [*lines.feed(rest), *lines.end()]
    expected = [line if len(line) <= 8 else None for line in data.split(b"\n") if line]
    assert found == expected
