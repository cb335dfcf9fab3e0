"""The short way of a plain POST /mcp answers as the ordinary way does, byte for byte."""

import asyncio
import json
from typing import Any

import pytest
from tests.interfaces.doors import World, modern, new_world
from tests.interfaces.http.listening import Listening, Response, listening

from stoa.domain.metering.event import Status
from stoa.interfaces.http.cycle import RequestCycle
from stoa.interfaces.http.guard import LOOPBACK_HOSTS, Guard
from stoa.interfaces.http.request_head import RequestHead
from stoa.interfaces.http.short_way import ShortWay

TOKEN = "Bearer alpha-admin"
ADD = {"name": "add", "arguments": {"a": 2, "b": 40}}
ORDINARY = {"content-type": "application/json; charset=utf-8"}
"""Makes a request go the ordinary way, and means the same."""


def legacy(method: str, params: Any = None, request_id: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}).encode()


def stateless(method: str, params: Any = None, **changed: str | None) -> tuple[bytes, dict[str, str | None]]:
    message, headers = modern(method, params)
    return json.dumps(message).encode(), {**headers, **{name.replace("_", "-"): text for name, text in changed.items()}}


REQUESTS: dict[str, tuple[bytes, dict[str, str | None]]] = {
    "a call": (legacy("tools/call", ADD), {}),
    "a stateless call": stateless("tools/call", ADD),
    "an event stream": (legacy("tools/call", ADD), {"accept": "text/event-stream"}),
    "a list": (legacy("tools/list"), {}),
    "a stateless list": stateless("tools/list"),
    "a notification": (json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode(), {}),
    "an unknown tool": (legacy("tools/call", {"name": "nothing", "arguments": {}}), {}),
    "invalid arguments": (legacy("tools/call", {"name": "add", "arguments": {"a": "x"}}), {}),
    "an unknown method": stateless("tools/fly"),
    "a batch": (b"[%b,%b]" % (legacy("ping"), legacy("ping", request_id=2)), {"mcp-protocol-version": "2025-03-26"}),
    "no token": (legacy("tools/call", ADD), {"authorization": None}),
    "a wrong token": (legacy("tools/call", ADD), {"authorization": "Bearer nobody"}),
    "another scheme": (legacy("tools/call", ADD), {"authorization": "Basic YTpi"}),
    "no JSON": (b"{", {}),
    "no body": (b"", {}),
    "a byte order mark": (b"\xef\xbb\xbf" + legacy("ping"), {}),
    "nothing is accepted": (legacy("ping"), {"accept": "image/png"}),
    "an unknown revision": (legacy("ping"), {"mcp-protocol-version": "1999-01-01"}),
    "a method header that differs": stateless("tools/call", ADD, mcp_method="tools/list"),
    "a name header that differs": stateless("tools/call", ADD, mcp_name="other"),
    "a name header in base64": stateless("tools/call", ADD, mcp_name="=?base64?YWRk?="),
    "a name header that only looks like base64": stateless("tools/call", ADD, mcp_name="=?base64?YWR?="),
    "white space around values": stateless("tools/call", ADD, mcp_name=" add \t ", mcp_method="\ttools/call  "),
    "bytes outside ASCII": (legacy("tools/call", ADD), {"x-consumer-id": "caf\xe9"}),
    "an unknown session": (legacy("ping"), {"mcp-session-id": "unknown"}),
    "the connection closes": (legacy("tools/call", ADD), {"connection": "close"}),
    "an unknown host": (legacy("ping"), {"host": "evil.example"}),
    "a request id": (legacy("tools/call", ADD), {"x-request-id": "mine", "x-consumer-id": "app"}),
}


def posted(body: bytes, headers: dict[str, str | None], **more: str) -> bytes:
    fields: dict[str, str | None] = {
        "host": "localhost",
        "authorization": TOKEN,
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(body)),
        **headers,
        **more,
    }
    lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items() if text is not None)
    return b"POST /mcp HTTP/1.1\r\n%b\r\n%b" % (lines.encode("latin-1"), body)


class Counted:
    """Counts the requests that go each way."""

    def __init__(self, protocol: Any) -> None:
        self._short_way = protocol._short_way
        self.short = self.ordinary = 0
        self.answer = self._short_way.answer
        protocol._short_way = self

    def body_of(self, cycle: RequestCycle) -> bytes | None:
        body = self._short_way.body_of(cycle)
        self.short += body is not None
        self.ordinary += body is None
        return body


async def answered(server: Listening, sent: bytes) -> tuple[Response | None, Counted]:
    client = await server.connect()
    await server.settle(lambda: len(server.protocols) == 1)
    counted = Counted(server.protocol)
    await client.send(sent)
    response = await client.response()
    if response is not None and "transfer-encoding" in response.headers:
        response = Response(response.status, response.headers, await client.until(b"\r\n0\r\n\r\n"))
    client.close()
    await server.settle(lambda: not server.protocols)
    return response, counted


@pytest.mark.parametrize("name", REQUESTS)
async def test_short_way_answers_as_the_ordinary_way(world: World, name: str) -> None:
    body, headers = REQUESTS[name]
    async with listening(world) as server:
        short, ways = await answered(server, posted(body, headers))
        ordinary, other_ways = await answered(server, posted(body, headers, **ORDINARY))
    is_short = name != "an unknown host"  # which the ordinary way refuses
    assert (ways.short, ways.ordinary) == (int(is_short), int(not is_short))
    assert (other_ways.short, other_ways.ordinary) == (0, 1)
    assert short is not None
    assert short == ordinary


async def test_short_way_and_ordinary_way_meter_alike(world: World) -> None:
    body, headers = stateless("tools/call", ADD)
    async with listening(world) as server:
        await answered(server, posted(body, headers))
        await answered(server, posted(body, headers, **ORDINARY))
    first, second = (
        event.model_dump(exclude={"event_id", "timestamp", "request_id", "latency_ms"}) for event in world.events
    )
    assert first == second


async def test_short_way_of_a_body_in_two_parts_is_the_ordinary_way(world: World) -> None:
    sent = posted(legacy("tools/call", ADD), {})
    async with listening(world) as server:
        client = await server.connect()
        await server.settle(lambda: len(server.protocols) == 1)
        counted = Counted(server.protocol)
        await client.send(sent[:-10])
        await server.settle(lambda: counted.ordinary == 1)
        await client.send(sent[-10:])
        response = await client.response()
    assert response is not None
    assert b"42" in response.body
    assert counted.short == 0


async def test_short_way_serves_pipelined_requests_in_their_order(world: World) -> None:
    requests = [posted(legacy("tools/call", ADD, request_id=number), {}) for number in range(5)]
    async with listening(world) as server:
        client = await server.connect()
        await client.send(b"".join(requests))
        responses = [await client.response() for _ in requests]
    assert [response.json()["id"] for response in responses if response is not None] == [0, 1, 2, 3, 4]


async def test_short_way_leaves_no_task_behind(world: World) -> None:
    async with listening(world) as server:
        await answered(server, posted(legacy("tools/call", ADD), {}))
        await server.settle(lambda: not server.tasks)
        await asyncio.sleep(0)
        assert not server.tasks


async def test_short_way_cancels_a_stateless_call_whose_client_goes_away() -> None:
    world, called = new_world(attend_after_seconds=0.001), asyncio.Event()

    @world.gateway.tool
    async def slow() -> str:
        called.set()
        await asyncio.Event().wait()
        return "never"

    body, headers = stateless("tools/call", {"name": "slow", "arguments": {}})
    async with listening(world) as server:
        client = await server.connect()
        await client.send(posted(body, headers))
        await called.wait()
        client.close()
        await server.settle(lambda: world.events)
    assert [(event.status, event.tool) for event in world.events] == [(Status.CANCELLED, "slow")]


async def test_short_way_streams_an_answer_that_is_late() -> None:
    world, is_pinged = new_world(late_seconds=0.001, attend_after_seconds=0.001), asyncio.Event()

    @world.gateway.tool
    async def slow() -> str:
        await is_pinged.wait()
        return "done"

    async with listening(world) as server:
        client = await server.connect()
        await client.send(posted(legacy("tools/call", {"name": "slow", "arguments": {}}), {}))
        await client.until(b": ping")
        is_pinged.set()
        received = await client.until(b"done")
    assert b"content-type: text/event-stream" in received


FIELDS = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"2")]
OTHERS = {
    "GET": ("method", b"GET"),
    "another path": ("target", b"/mcp/v1"),
    "a query": ("target", b"/mcp?tenant_id=a"),
    "absolute form": ("target", b"http://localhost/mcp"),
    "HTTP/1.0": ("version", "1.0"),
    "a web page": ("fields", [*FIELDS, (b"origin", b"http://localhost")]),
    "a coding": ("fields", [*FIELDS, (b"content-encoding", b"gzip")]),
    "chunks": ("fields", [*FIELDS[:2], (b"transfer-encoding", b"chunked")]),
    "a repeated field": ("fields", [*FIELDS, (b"mcp-name", b"a"), (b"mcp-name", b"a")]),
    "another media type": ("fields", [FIELDS[0], (b"content-type", b"text/plain"), FIELDS[2]]),
    "another host": ("fields", [(b"host", b"evil.example"), *FIELDS[1:]]),
    "expecting 100": ("expects_continue", True),
}


class _Connection:
    client = ("127.0.0.1", 1)
    outlet = flow = default_headers = json_head = None


@pytest.mark.parametrize("name", OTHERS)
def test_short_way_is_not_for_a_request_with(name: str) -> None:
    short_way = ShortWay(Guard(_unserved, hosts=LOOPBACK_HOSTS, origins=()), _unserved)
    plain = {"method": b"POST", "version": "1.1", "target": b"/mcp", "fields": FIELDS, "expects_continue": False}

    def body_of(values: dict[str, Any]) -> bytes | None:
        head = RequestHead(**values, by_name=dict(values["fields"]))
        cycle = RequestCycle(head, _Connection(), keep_alive=True)  # type: ignore[arg-type]
        cycle.add_body(b"{}")
        cycle.end_body()
        return short_way.body_of(cycle)

    member, value = OTHERS[name]
    assert body_of(plain) == b"{}"
    assert body_of({**plain, member: value}) is None


async def _unserved(*_: Any) -> None:
    raise AssertionError("nothing is asked of it")
