"""What is answered over stdio before the gateway is there, and what the gateway then finds."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World, envelope, new_world
from tests.interfaces.mcp.transports.test_stdio import Client

from stoa.domain.calls.invocation import BearerToken
from stoa.interfaces.mcp.exchange import Exchange
from stoa.interfaces.mcp.transports.front import HELD_LIMIT, Front, ReceivedInput, ReceivedLine
from stoa.interfaces.mcp.wire.introduction import Introduction

VERSION = "1.2.3"


def line(request_id: Any, method: str, params: Any = None, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}, **more}).encode()


def hello(request_id: Any = "open", version: Any = "2025-11-25") -> bytes:
    return line(request_id, "initialize", {"protocolVersion": version, "capabilities": {"roots": {}}})


def discover(request_id: Any = "who", version: str = STATELESS_REVISIONS) -> bytes:
    return line(request_id, "server/discover", {"_meta": envelope(version)})


INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class Greeted:
    """A front that was sent these lines before the gateway took over."""

    def __init__(self, *lines: bytes, rest: bytes = b"") -> None:
        self.sent: list[bytes] = []
        self.front = Front(Introduction(VERSION, has_sessions=True), self.sent.append)
        chunks = iter([b"".join(one + b"\n" for one in lines) + rest, b""])
        self.end = self.front.serve(lambda: next(chunks))

    @property
    def answers(self) -> list[Any]:
        return [json.loads(one) for one in self.sent]


@pytest.fixture
def world() -> World:
    return new_world(has_sessions=True)


@pytest.mark.parametrize(
    "message",
    [
        *(hello(version=version) for version in (*HANDSHAKE_REVISIONS, STATELESS_REVISIONS, "1.0")),
        line(7, "ping"),
        discover(),
    ],
    ids=lambda message: json.loads(message)["params"].get("protocolVersion", json.loads(message)["method"]),
)
async def test_stdio_front_answers_in_the_gateways_words(world: World, message: bytes) -> None:
    reply = await world.engine.answer(Exchange(BearerToken("alpha-admin"), json.loads(message)))
    assert Greeted(message).sent == [reply.body + b"\n"]


@pytest.mark.parametrize(
    "message",
    [
        hello(version=5),
        line(1, "initialize"),
        line(1, "initialize", {"protocolVersion": "2025-11-25", "_meta": envelope()}),
        line(True, "ping"),
        line(1, "ping", {"_meta": envelope()}),
        line(1, "server/discover"),
        discover(version="2030-01-01"),
        line(1, "tools/list"),
        b"nonsense",
        b"[" + hello() + b"]",
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    ],
)
def test_stdio_front_leaves_refusals_to_the_gateway(message: bytes) -> None:
    greeted = Greeted(message)
    assert (greeted.sent, greeted.front.hand_over().messages) == ([], [ReceivedLine(message)])


def test_stdio_front_holds_messages_in_order_and_the_one_that_began_the_session() -> None:
    messages = [line(0, "tools/list"), hello(), INITIALIZED, line(1, "ping"), line(2, "tools/list"), hello("again")]
    greeted = Greeted(*messages, rest=b'{"jsonrpc"')
    assert [answer["id"] for answer in greeted.answers] == ["open", 1]
    waiting = greeted.front.hand_over()
    assert waiting.messages == [
        ReceivedLine(messages[0]),
        ReceivedLine(messages[1], is_answered=True),
        ReceivedLine(INITIALIZED),
        ReceivedLine(messages[4]),
        ReceivedLine(messages[5]),
    ]
    assert list(waiting.lines.end()) == [b'{"jsonrpc"']


def test_stdio_front_refuses_held_requests_when_the_gateway_does_not_start() -> None:
    greeted = Greeted(hello(), INITIALIZED, line(1, "tools/list"), b"nonsense", line("two", "tools/call"))
    greeted.sent.clear()
    greeted.front.give_up("no such catalogue")
    assert [(answer["id"], answer["error"]["code"]) for answer in greeted.answers] == [(1, -32603), ("two", -32603)]
    assert all("no such catalogue" in answer["error"]["message"] for answer in greeted.answers)


def test_stdio_front_refuses_nothing_that_the_gateway_took_over() -> None:
    greeted = Greeted(line(1, "tools/list"))
    greeted.front.hand_over()
    greeted.front.give_up("too late")
    assert greeted.sent == []


def test_stdio_front_goes_on_when_its_client_is_gone() -> None:
    def send(_: bytes) -> None:
        raise BrokenPipeError

    chunks = iter([hello() + b"\n", b""])
    front = Front(Introduction(VERSION, has_sessions=True), send)
    assert front.serve(lambda: next(chunks)) == b""
    assert front.hand_over().messages == [ReceivedLine(hello())]  # the gateway finds out when it answers


def test_stdio_front_reads_no_more_than_it_may_hold_until_the_gateway_takes_over() -> None:
    read, front = 0, Front(Introduction(VERSION, has_sessions=True), lambda _: None)
    one = line(1, "tools/call", {"name": "x" * 60_000}) + b"\n"
    is_waiting = threading.Event()

    def chunks() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += len(one)
            if read > HELD_LIMIT:
                is_waiting.set()
            yield one

    endless, left = chunks(), list[bytes]()
    serving = threading.Thread(target=lambda: left.append(front.serve(lambda: next(endless))), daemon=True)
    serving.start()
    assert is_waiting.wait(10)
    kept = front.hand_over().messages
    serving.join(10)
    assert read <= HELD_LIMIT + 2 * len(one)
    assert len(kept) * len(one) + len(left[0]) == read


MESSAGES = st.sampled_from(
    [hello(), hello("again"), INITIALIZED, line(1, "ping"), discover(), line(2, "tools/list"), b"x"]
)


@given(st.lists(MESSAGES), st.lists(st.integers(1, 200)), st.integers(0, 30))
def test_stdio_front_answers_every_message_or_hands_it_over_in_order(
    sent: list[bytes], sizes: list[int], relieved_after: int
) -> None:
    stream = b"".join(one + b"\n" for one in sent)
    chunks, at = list[bytes](), 0
    for size in [*sizes, len(stream)]:
        chunks.append(stream[at : at + size])
        at += size
    chunks = [chunk for chunk in chunks if chunk]
    answers: list[bytes] = []
    front = Front(Introduction(VERSION, has_sessions=True), answers.append)
    waiting, left, reads = ReceivedInput(), list(chunks), 0

    def read() -> bytes:
        nonlocal waiting, reads
        if reads == relieved_after:
            waiting = front.hand_over()
        reads += 1
        return left.pop(0) if left else b""

    first = front.serve(read)
    if reads <= relieved_after:
        waiting = front.hand_over()
    passed = [kept.line for kept in waiting.messages]
    for chunk in (first, *left):
        passed += waiting.lines.feed(chunk)
    unkept = [one for one in sent if one in {line(1, "ping"), discover()}]
    assert [one for one in passed if one not in unkept] == [one for one in sent if one not in unkept]
    answered = sum(kept.is_answered for kept in waiting.messages)
    assert answered <= 1
    assert len(answers) == answered + len(unkept) - sum(one in unkept for one in passed)


async def _served(client: Client, waiting: ReceivedInput) -> None:
    client.serving.cancel()
    await asyncio.wait({client.serving})
    client.serving = asyncio.create_task(client.door.serve(client._bytes.get, waiting))


async def test_stdio_greeting_begins_the_session_and_is_answered_once(world: World) -> None:
    greeted = Greeted(hello(), INITIALIZED, line(1, "tools/list"))
    client = Client(world)
    await _served(client, greeted.front.hand_over())
    listed = await client.until(lambda message: message.get("id") == 1)
    assert listed["result"]["tools"]
    assert (await client.ask(2, "logging/setLevel", {"level": "debug"}))["result"] == {}  # which needs a session
    again = await client.ask(3, "initialize", {"protocolVersion": "2025-11-25"})
    assert "initialized already" in again["error"]["message"]
    await client.end()
    assert {message.get("id") for message in client.messages} == {1, 2, 3}


async def test_stdio_greeting_without_a_valid_token_is_all_that_a_client_gets(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    greeted = Greeted(hello(), INITIALIZED, line(1, "tools/list"))
    client = Client(world)
    client.token = "forged"
    await _served(client, greeted.front.hand_over())
    refused = await client.until(lambda message: message.get("id") == 1)
    assert refused["error"]["data"]["code"] == "not_authenticated"
    assert (await client.ask(2, "ping"))["error"]
    await client.end()
    assert "no session can begin" in caplog.text
    assert "forged" not in caplog.text


async def test_stdio_request_that_was_cancelled_while_it_was_held_gets_no_answer(world: World) -> None:
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    greeted = Greeted(hello(), line(1, "tools/list"), json.dumps(cancelled).encode(), line(2, "tools/list"))
    client = Client(world)
    await _served(client, greeted.front.hand_over())
    await client.until(lambda message: message.get("id") == 2)
    await client.end()
    assert [message["id"] for message in client.messages] == [2]
