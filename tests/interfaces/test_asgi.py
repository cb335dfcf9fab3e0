"""MCP mounted in services of several frameworks, which authenticate their callers themselves."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageResult, TextContent
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.e2e.processes import asgi_upstream
from tests.interfaces.doors import Answer, modern, send

from stoa.application import Context, Gateway, Principal
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import InvalidInput, StoaError
from stoa.interfaces.asgi import McpApp, mcp_app
from stoa.interfaces.wire.bodies import BODY_LIMIT
from stoa.testing.clock import ManualClock
from stoa.testing.refusal_watcher import InMemoryRefusalWatcher

URL = "http://127.0.0.1/mcp"
ANN = Principal.of("ann", tenant="alpha", roles=["tenant-admin"])
BOB = Principal.of("bob", tenant="beta", roles=["viewer"])
SESSIONS = {"ann's cookie": ANN, "bob's cookie": BOB}
MODES = ["legacy", "2026-07-28"]
JSON = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]


async def session_of(scope: Any) -> Principal | None:
    """A service's own authentication: a cookie, looked up somewhere."""
    await asyncio.sleep(0)
    cookie = dict(scope["headers"]).get(b"cookie", b"").decode()
    return SESSIONS.get(cookie)


def gateway_with_tools(**parts: Any) -> Gateway:
    gateway = Gateway(**parts)

    @gateway.tool
    async def who(context: Context) -> str:
        return f"{context.principal.subject} of {context.principal.tenant}"

    @gateway.tool(tenant="alpha")
    async def long(context: Context) -> str:
        await context.progress(1, 2, "half")
        return "done"

    @gateway.tool(tenant="alpha")
    async def draft(context: Context) -> str:
        return (await context.sample("Write a line", max_tokens=10)).text

    return gateway


Lines = list[str]


def in_starlette(mcp: McpApp, _: Lines) -> Any:
    routes = [Route("/mcp", mcp), Route("/own", lambda _: PlainTextResponse("own"))]
    return Starlette(routes=routes, lifespan=mcp.lifespan)


def in_fastapi(mcp: McpApp, lines: Lines) -> Any:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[None]:
        lines.append("own start")
        async with mcp.lifespan():
            yield
        lines.append("own end")

    app = FastAPI(lifespan=lifespan)
    app.add_route("/mcp", mcp)

    @app.get("/own")
    async def own() -> str:
        return "own"

    return app


def in_quart(mcp: McpApp, lines: Lines) -> Any:
    app = Quart(__name__)
    app.asgi_app = mcp.within(app.asgi_app)

    @app.before_serving
    async def start() -> None:
        lines.append("own start")

    @app.after_serving
    async def end() -> None:
        lines.append("own end")

    @app.get("/own")
    async def own() -> str:
        return "own"

    return app


async def plain_application(scope: Any, receive: Any, emit: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await emit({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await emit({"type": "http.response.body", "body": b"own"})


async def silent_application(scope: Any, receive: Any, emit: Any) -> None:
    if scope["type"] == "http":
        await plain_application(scope, receive, emit)


def in_plain_asgi(mcp: McpApp, _: Lines) -> Any:
    return mcp.within(plain_application)


SERVICES = {"starlette": in_starlette, "fastapi": in_fastapi, "quart": in_quart, "plain": in_plain_asgi}


@pytest.fixture(params=list(SERVICES))
def service(request: pytest.FixtureRequest) -> Callable[[McpApp, Lines], Any]:
    return SERVICES[request.param]


@asynccontextmanager
async def connected(url: str, mode: str, headers: dict[str, str], **callbacks: Any) -> AsyncGenerator[Client]:
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=20, **callbacks) as client:
            yield client


def text_of(result: Any) -> str:
    assert not result.is_error, result.content
    return str(result.content[0].text)


async def test_mounting_serves_the_official_client_as_the_caller_that_the_service_authenticated(service):
    sink = InMemoryMeteringSink()
    mcp = mcp_app(gateway_with_tools(sink=sink), url=URL, principal_of=session_of)
    with asgi_upstream(service(mcp, [])) as url:
        for mode in MODES:
            async with connected(url, mode, {"cookie": "ann's cookie"}) as client:
                assert "long" in {tool.name for tool in (await client.list_tools()).tools}
                assert text_of(await client.call_tool("who", {})) == "ann of alpha"
            async with connected(url, mode, {"cookie": "bob's cookie"}) as client:
                assert "long" not in {tool.name for tool in (await client.list_tools()).tools}
                assert text_of(await client.call_tool("who", {})) == "bob of beta"
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert "own" in (await http.get(f"{url}/own")).text
    assert {(event.tenant, event.user_id, event.tool) for event in sink.events()} == {
        ("alpha", "ann", "who"),
        ("beta", "bob", "who"),
    }


@pytest.mark.parametrize("mode", MODES)
async def test_mounting_lets_tools_stream_progress_and_ask_the_client(service, mode):
    async def sampled(_: Any, __: Any) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="a line"), model="m")

    seen: list[float] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    mcp = mcp_app(gateway_with_tools(), url=URL, principal_of=session_of)
    with asgi_upstream(service(mcp, [])) as url:
        async with connected(url, mode, {"cookie": "ann's cookie"}, sampling_callback=sampled) as client:
            assert text_of(await client.call_tool("long", {}, progress_callback=progressed)) == "done"
            assert text_of(await client.call_tool("draft", {})) == "a line"
    assert seen == [1]


@pytest.mark.parametrize("name", ["fastapi", "quart"])
async def test_mounting_keeps_the_lifespan_of_the_service(name):
    lines: Lines = []
    mcp = mcp_app(gateway_with_tools(), url=URL, principal_of=session_of)
    with asgi_upstream(SERVICES[name](mcp, lines)) as url:
        async with connected(url, "legacy", {"cookie": "ann's cookie"}):
            assert lines == ["own start"]
    assert lines == ["own start", "own end"]


class Server:
    """Drives an application's lifespan by hand, and sends it requests."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.create_task(app({"type": "lifespan"}, self._inbox.get, self._outbox.put))

    async def lifespan(self, event: str) -> str:
        self._inbox.put_nowait({"type": f"lifespan.{event}"})
        message = await asyncio.wait_for(self._outbox.get(), 20)
        return str(message["type"]).removeprefix("lifespan.")

    async def end(self) -> None:
        await asyncio.wait_for(self._task, 20)

    async def request(self, method: str, path: str, headers: Any = (), body: bytes = b"") -> Answer:
        return await send(self.app, method, path, headers=headers, body=body)

    async def call(self, tool: str, headers: Any = (), **arguments: Any) -> Answer:
        message, given = modern("tools/call", {"name": tool, "arguments": arguments})
        pairs = [*JSON, *headers, *((name, value) for name, value in given.items() if value is not None)]
        return await self.request("POST", "/mcp", pairs, json.dumps(message).encode())


@asynccontextmanager
async def started(mcp: McpApp) -> AsyncGenerator[Server]:
    server = Server(mcp)
    assert await server.lifespan("startup") == "startup.complete"
    yield server
    assert await server.lifespan("shutdown") == "shutdown.complete"
    await server.end()


COOKIE = [("cookie", "ann's cookie")]


async def test_mounting_refuses_whom_the_service_does_not_know_whatever_token_it_brings():
    verifier = InMemoryTokenVerifier({"good": ANN}, ManualClock())
    async with started(mcp_app(gateway_with_tools(verifier=verifier), url=URL, principal_of=session_of)) as server:
        assert (await server.call("who")).status == 401
        assert (await server.call("who", [("authorization", "Bearer good")])).status == 401
        assert (await server.call("who", COOKIE)).status == 200
        assert (await server.request("GET", "/mcp", [("accept", "text/event-stream")])).status == 401


async def test_mounting_without_principal_of_verifies_tokens_as_the_gateway_does():
    verifier = InMemoryTokenVerifier({"good": ANN}, ManualClock())
    async with started(mcp_app(gateway_with_tools(verifier=verifier), url=URL)) as server:
        assert (await server.call("who", [("authorization", "Bearer bad")])).status == 401
        assert (await server.call("who", COOKIE)).status == 401
        answer = await server.call("who", [("authorization", "Bearer good")])
        assert answer.json()["result"]["content"][0]["text"] == "ann of alpha"


async def test_mounting_takes_a_principal_from_a_key_of_the_scope():
    mcp = mcp_app(gateway_with_tools(), url=URL, principal_of=lambda scope: scope.get("principal"))

    def authenticating(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, emit: Any) -> None:
            await app(scope | {"principal": BOB}, receive, emit)

        return middleware

    app = Starlette(routes=[Route("/mcp", mcp)], lifespan=mcp.lifespan, middleware=[Middleware(authenticating)])
    with asgi_upstream(app) as url:
        async with connected(url, "legacy", {}) as client:
            assert text_of(await client.call_tool("who", {})) == "bob of beta"


async def test_mounting_guards_host_and_origin_before_the_service_is_asked_who_calls():
    asked: list[str] = []
    watcher = InMemoryRefusalWatcher()

    def principal_of(scope: Any) -> Principal:
        asked.append(scope["path"])
        return ANN

    gateway = gateway_with_tools(refusal_watchers=[watcher])
    mcp = mcp_app(gateway, url="https://api.example/mcp", principal_of=principal_of, origins=["https://ui.example"])
    async with started(mcp) as server:
        for headers, status in (
            ([("host", "evil.example")], 421),
            ([("host", "localhost")], 421),
            ([("host", "api.example"), ("origin", "https://evil.example")], 403),
        ):
            assert (await server.call("who", headers)).status == status
        assert asked == []
        assert [refusal.reason for refusal in watcher.seen] == [
            RefusalReason.HOST,
            RefusalReason.HOST,
            RefusalReason.ORIGIN,
        ]
        allowed = await server.call("who", [("host", "api.example:443"), ("origin", "https://ui.example")])
        assert allowed.status == 200
        assert allowed.header("access-control-allow-origin") == "https://ui.example"


async def test_mounting_bounds_bodies():
    async with started(mcp_app(gateway_with_tools(), url=URL, principal_of=session_of)) as server:
        answer = await server.request("POST", "/mcp", [*JSON, *COOKIE], b"[" * (BODY_LIMIT + 1))
        assert answer.status == 413


async def test_mounting_lets_a_session_outlive_the_process_with_the_same_secret():
    async def begun(secret: bytes | None) -> tuple[McpApp, str]:
        first = mcp_app(gateway_with_tools(), url=URL, principal_of=session_of, secret=secret)
        async with started(first) as server:
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
            answer = await server.request("POST", "/mcp", [*JSON, *COOKIE], json.dumps(message).encode())
            session = answer.header("mcp-session-id")
            assert session is not None
        return mcp_app(gateway_with_tools(), url=URL, principal_of=session_of, secret=secret), session

    for secret, status in ((bytes(32), 200), (None, 404)):
        second, session = await begun(secret)
        async with started(second) as server:
            headers = [*JSON, *COOKIE, ("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")]
            ping = b'{"jsonrpc": "2.0", "id": 2, "method": "ping"}'
            assert (await server.request("POST", "/mcp", headers, ping)).status == status


def prompt_manifest(name: str) -> dict[str, Any]:
    spec = {"messages": [{"role": "user", "text": "Hello"}]}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Prompt", "metadata": {"name": name}, "spec": spec}


class FollowedSource(InMemoryToolSource):
    """`is_followed` is set when somebody begins to follow its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_followed = asyncio.Event()

    def changes(self) -> Any:
        self.is_followed.set()
        return super().changes()


async def test_mounting_loads_the_catalogue_when_the_service_starts_and_follows_it():
    source, changed = FollowedSource(), asyncio.Event()
    source.put("first", prompt_manifest("first"))
    gateway = Gateway(sources=[source])
    async with started(mcp_app(gateway, url=URL, principal_of=session_of)):
        assert gateway.catalogue.find(None, "first", "prompt") is not None
        gateway.registry.subscribe(lambda _: changed.set())
        await asyncio.wait_for(source.is_followed.wait(), 20)
        source.put("second", prompt_manifest("second"))
        await asyncio.wait_for(changed.wait(), 20)
        assert gateway.catalogue.find(None, "second", "prompt") is not None


async def test_mounting_fails_loudly_where_the_lifespan_was_forgotten():
    mcp = mcp_app(gateway_with_tools(), url=URL, principal_of=session_of)
    with pytest.raises(RuntimeError, match=r"lifespan=mcp\.lifespan"):
        await send(mcp, "POST", "/mcp")


class BrokenSource(InMemoryToolSource):
    async def read(self) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "wrap", [lambda mcp: mcp, lambda mcp: mcp.within(plain_application), lambda mcp: in_quart(mcp, [])]
)
async def test_mounting_fails_the_start_of_the_server_when_it_cannot_start(wrap):
    gateway = Gateway(sources=[BrokenSource()])
    server = Server(wrap(mcp_app(gateway, url=URL)))
    assert await server.lifespan("startup") == "startup.failed"


@pytest.mark.parametrize("app", [plain_application, silent_application])
async def test_mounting_runs_its_lifespan_where_the_application_around_it_has_none(app):
    mcp = mcp_app(gateway_with_tools(), url=URL, principal_of=session_of)
    server = Server(mcp.within(app))
    assert await server.lifespan("startup") == "startup.complete"
    assert (await server.call("who", COOKIE)).status == 200
    assert (await server.request("GET", "/elsewhere")).body == b"own"
    assert await server.lifespan("shutdown") == "shutdown.complete"
    await server.end()


async def test_mounting_passes_on_that_the_start_of_the_service_failed():
    async def failing(scope: Any, receive: Any, emit: Any) -> None:
        await receive()
        raise StoaError("no database")

    mcp = mcp_app(gateway_with_tools(), url=URL)
    with pytest.raises(StoaError, match="no database"):
        await mcp.within(failing)({"type": "lifespan"}, _startup, _ignored)


async def _startup() -> Any:
    return {"type": "lifespan.startup"}


async def _ignored(message: Any) -> None:
    pass


async def test_mounting_announces_the_authorization_servers_of_the_service():
    url = "https://api.example/tools/mcp"
    mcp = mcp_app(gateway_with_tools(), url=url, authorization_servers=["https://login.example"])
    assert mcp.metadata_path == "/.well-known/oauth-protected-resource/tools/mcp"
    async with started(mcp) as server:
        refused = await server.call("who", [("host", "api.example")])
        assert f"https://api.example{mcp.metadata_path}" in (refused.header("www-authenticate") or "")
        document = await server.request("GET", mcp.metadata_path)
        assert document.json()["authorization_servers"] == ["https://login.example"]
        assert document.json()["resource"] == url
    async with started(mcp_app(gateway_with_tools(), url=url)) as server:
        assert (await server.request("GET", mcp.metadata_path, [("host", "api.example")])).status == 401


@pytest.mark.parametrize("options", [{"url": "/mcp"}, {"url": "mcp.example"}, {"url": URL, "secret": b"short"}])
def test_mounting_refuses_what_it_cannot_use(options):
    with pytest.raises(InvalidInput, match="mcp_app"):
        mcp_app(Gateway(), **options)
