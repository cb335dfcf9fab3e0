"""Routes that are answered without the web framework answer as they do with it, byte for byte."""

import asyncio
import gzip
import json
import logging
from collections.abc import Awaitable
from typing import Any

import pytest
from quart import Blueprint, Response
from tests.interfaces.doors import Answer, World, new_world, send
from tests.interfaces.http.listening import listening

from stoa.domain.metering.event import Status
from stoa.interfaces.wire.endpoints import Endpoints, HttpAnswer, HttpRequest

CALL = json.dumps({"arguments": {"a": 2, "b": 40}}).encode()
INVOKE = "/mcp/v1/tools/add/invoke"
EXPLAIN = "/mcp/v1/tools/add/explain"
REQUESTS: dict[str, dict[str, Any]] = {
    "a call": {"target": INVOKE, "body": CALL},
    "a call with ids": {"target": INVOKE, "body": CALL, "x-request-id": "mine", "x-consumer-id": "caf\xe9"},
    "a call with a trace": {
        "target": INVOKE,
        "body": CALL,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
    "a call for another tenant": {"target": f"{INVOKE}?tenant_id=beta", "body": CALL, "token": "admin"},
    "a call in chunks": {"target": INVOKE, "body": [CALL[:9], CALL[9:]], "transfer-encoding": "chunked"},
    "a call in gzip": {"target": INVOKE, "body": gzip.compress(CALL), "content-encoding": "gzip"},
    "a call in an unknown coding": {"target": INVOKE, "body": CALL, "content-encoding": "br"},
    "a call from a web page": {"target": INVOKE, "body": CALL, "origin": "https://app.example"},
    "a call without a body": {"target": INVOKE},
    "a call of no JSON": {"target": INVOKE, "body": b"{"},
    "a call of an array": {"target": INVOKE, "body": b"[1]"},
    "a call with too many values": {"target": INVOKE, "body": b'{"arguments":{"a":[' + b"1," * 300_000 + b"1]}}"},
    "a call with invalid arguments": {"target": INVOKE, "body": b'{"arguments":{"a":"x"}}'},
    "a call of an unknown tool": {"target": "/mcp/v1/tools/nothing/invoke", "body": CALL},
    "a call of a path": {"target": "/mcp/v1/tools/../invoke", "body": CALL},
    "a call that fails": {"target": "/mcp/v1/tools/down/invoke", "body": b"{}"},
    "a call that is not allowed": {"target": "/mcp/v1/tools/wipe/invoke", "token": "alpha-viewer"},
    "a call without a token": {"target": INVOKE, "body": CALL, "token": None},
    "a call with a wrong token": {"target": INVOKE, "body": CALL, "token": "nobody"},
    "a large call without a token": {"target": INVOKE, "body": b"x" * 20_000, "token": None},
    "a call that is too large": {"target": INVOKE, "content-length": "5000000", "body": b"x"},
    "an explanation": {"target": EXPLAIN, "body": CALL},
    "an explanation by GET": {"method": "GET", "target": EXPLAIN},
    "an explanation of too many values": {"target": EXPLAIN, "body": b'{"arguments":[' + b"1," * 300_000 + b"1]}"},
    "an explanation that is too large": {"target": EXPLAIN, "content-length": "5000000", "body": b"x"},
    "a list": {"method": "GET", "target": "/mcp/v1/tools?tag=basic&tags=math,notes&limit=3"},
    "a list with odd bytes": {"method": "GET", "target": "/mcp/v1/tools?search=%ff+a&cursor=%00&=&;"},
    "a list without a number": {"method": "GET", "target": "/mcp/v1/tools?limit=-1"},
    "a list without a token": {"method": "GET", "target": "/mcp/v1/tools", "token": None},
    "categories": {"method": "GET", "target": "/mcp/v1/tools/categories"},
    "a tool": {"method": "GET", "target": "/mcp/v1/tools/add"},
    "a prompt": {"target": "/mcp/v1/prompts/nothing", "body": CALL},
    "a resource": {"method": "GET", "target": "/mcp/v1/resources/read?uri=x://y"},
    "usage as CSV": {"method": "GET", "target": "/mcp/v1/usage?format=csv"},
    "budgets": {"method": "GET", "target": "/mcp/v1/budgets"},
    "the schema of events": {"method": "GET", "target": "/mcp/v1/usage/schema"},
    "a report as HTML": {"method": "GET", "target": "/mcp/v1/apis/x/report", "accept": "text/html"},
    "health": {"method": "GET", "target": "/health", "token": None},
    "readiness": {"method": "GET", "target": "/ready", "token": "admin"},
    "metrics": {"method": "GET", "target": "/metrics"},
    "metadata": {"method": "GET", "target": "/.well-known/oauth-protected-resource/mcp/"},
}


def with_framework(world: World) -> Any:
    """The same routes, known to the framework alone."""
    plain = Blueprint("framework", __name__)
    for blueprint in world.blueprints():
        plain.register_blueprint(blueprint)
    return world.app_of([plain])


def sent(app: Any, request: dict[str, Any]) -> Awaitable[Answer]:
    headers = {"content-type": "application/json"} | request
    method, target, body = headers.pop("method", "POST"), headers.pop("target"), headers.pop("body", b"")
    token = headers.pop("token", "alpha-admin")
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    if "transfer-encoding" not in headers:
        headers.setdefault("content-length", str(len(body)))
    return send(app, method, target, headers=headers, body=body)


@pytest.mark.parametrize("name", REQUESTS)
async def test_direct_endpoints_answer_as_the_framework_does(name: str) -> None:
    told: list[Any] = []
    for way in (lambda world: world.app, with_framework):
        world = new_world()
        answer = await sent(way(world), REQUESTS[name])
        assert len(answer.chunks) == (1 if way is not with_framework else 2), "went the other way"
        events = [event.model_dump(exclude={"event_id", "latency_ms"}) for event in world.events]
        told.append((answer.status, answer.headers, answer.body, events, world.audit_lines(), world.observer.counted))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        ("GET", "/nothing", 404, {"error": "not_found", "message": "Not Found"}),
        ("POST", "/mcp/v1/tools/add/fly", 404, {"error": "not_found", "message": "Not Found"}),
        ("DELETE", "/mcp/v1/tools", 405, {"error": "method_not_allowed", "message": "Method Not Allowed"}),
    ],
)
async def test_direct_refusal_of_a_request_that_no_route_takes(
    world: World, method: str, target: str, status: int, body: Any
) -> None:
    answer = await world.request(method, target)
    assert (answer.status, answer.json(), len(answer.chunks)) == (status, body, 1)
    assert answer.header("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 200)])
async def test_direct_endpoints_leave_other_methods_to_the_framework(world: World, method: str, status: int) -> None:
    answer = await world.request(method, "/mcp/v1/tools")
    assert (answer.status, answer.chunks[-1]) == (status, b"")


async def test_direct_endpoints_leave_redirects_to_the_framework(world: World) -> None:
    answer = await world.request("GET", "/mcp/v1")
    assert (answer.status, answer.header("location")) == (308, "http://localhost/mcp/v1/")


async def test_direct_endpoints_leave_other_routes_to_the_framework(world: World) -> None:
    further = Blueprint("further", __name__)

    @further.get("/mine/<name>")
    async def mine(name: str) -> Response:
        return Response(name)

    answer = await send(world.app_of([*world.blueprints(), further]), "GET", "/mine/x")
    assert (answer.status, answer.body) == (200, b"x")


async def test_direct_answer_to_a_defect_is_an_error_of_the_usual_form(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    routes = Endpoints("defective")

    @routes.on("GET", "/defect")
    async def defect(_: HttpRequest) -> HttpAnswer:
        raise RuntimeError("a defect")

    with caplog.at_level(logging.ERROR):
        answer = await send(world.app_of([routes]), "GET", "/defect")
    assert (answer.status, answer.json()["error"]) == (500, "internal_server_error")
    assert "a defect" not in answer.body.decode()
    assert "a defect" in caplog.text


async def test_direct_call_is_cancelled_when_its_client_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    world, called = new_world(), asyncio.Event()

    @world.gateway.tool
    async def slow() -> str:
        called.set()
        await asyncio.Event().wait()
        return "never"

    async with listening(world) as server:
        client = await server.connect()
        head = b"POST /mcp/v1/tools/slow/invoke HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer alpha-admin\r\n"
        await client.send(head + b"content-length: 2\r\n\r\n{}")
        await called.wait()
        client.close()
        await server.settle(lambda: world.events and not server.tasks)
    assert [(event.status, event.tool) for event in world.events] == [(Status.CANCELLED, "slow")]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
