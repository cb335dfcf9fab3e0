"""Servers that answer subscriptions: ariadne's, over both transports, and one of aiohttp's WebSockets that says what a
test chooses."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import ariadne
from aiohttp import web
from aiohttp.test_utils import TestServer
from ariadne.asgi import GraphQL
from ariadne.asgi.handlers import GraphQLTransportWSHandler
from ariadne.contrib.sse import GraphQLHTTPSSEHandler
from tests.e2e.processes import asgi_upstream

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.graphql import GraphQlBackend
from stoa.infrastructure.graphql.converter import GraphQlConverter
from stoa.infrastructure.graphql.manifest import GraphQlSource

SDL = """
type Query { nothing: Int }
type Subscription {
  "Counts from one."
  count(to: Int!): Tick!
  "Sends one, and no more."
  stay: Tick
  fail(after: Int = 0): Tick
}
type Tick { number: Int, text: String }
"""
PROTOCOL = "graphql-transport-ws"


@dataclass
class Peer:
    url: str
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request that came, names in lower case."""
    payloads: list[Any] = field(default_factory=list)
    """Of each `connection_init`."""
    released: threading.Event = field(default_factory=threading.Event)
    """The generator of a subscription was ended by its server."""


@contextmanager
def ariadne_peer() -> Iterator[Peer]:
    peer = Peer("")
    subscription = ariadne.SubscriptionType()

    async def ticks(count: int) -> AsyncIterator[dict[str, Any]]:
        for number in range(1, count + 1):
            yield {"number": number, "text": "x"}

    async def stay(*_: Any) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"number": 1}
            await asyncio.get_running_loop().create_future()
        finally:
            peer.released.set()

    async def fail(*_: Any, after: int) -> AsyncIterator[dict[str, Any]]:
        for number in range(after):
            yield {"number": number}
        raise ValueError("out of ticks")

    subscription.set_source("count", lambda *_, to: ticks(to))
    subscription.set_source("stay", stay)
    subscription.set_source("fail", fail)
    for name in ("count", "stay", "fail"):
        subscription.set_field(name, lambda tick, *_, **__: tick)

    def connected(_: Any, payload: Any) -> None:
        peer.payloads.append(payload)

    schema = ariadne.make_executable_schema(SDL, subscription)
    served = GraphQL(
        schema,
        http_handler=GraphQLHTTPSSEHandler(ping_interval=1),
        websocket_handler=GraphQLTransportWSHandler(on_connect=connected),
        logger="tests.silent",
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            peer.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await served(scope, receive, send)

    with asgi_upstream(app, ws="wsproto") as url:
        peer.url = f"{url}/graphql"
        yield peer


@asynccontextmanager
async def speaking(
    handled: Callable[[web.WebSocketResponse], Awaitable[None]], protocol: str = PROTOCOL
) -> AsyncIterator[str]:
    """A WebSocket server whose every connection `handled` takes over. Yields its URL."""

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=(protocol,), autoping=False)
        await socket.prepare(request)
        await handled(socket)
        return socket

    app = web.Application()
    app.router.add_get("/graphql", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/graphql"))
    finally:
        await server.close()


def tools_at(endpoint: str, options: ConversionOptions | None = None, **source: Any) -> dict[str, Tool]:
    given = {"endpoint": endpoint, "subscriptions": True, "queries": False, **source}
    converter = GraphQlConverter(GraphQlSource.model_validate(given))
    return {tool.name: tool for tool in converter.convert(SpecDocument("t", SDL), options or ConversionOptions()).tools}


@asynccontextmanager
async def backend_of(credentials: InMemoryCredentialSource | None = None, **options: Any) -> AsyncIterator[Any]:
    backend = GraphQlBackend(credentials or InMemoryCredentialSource(), **options)
    try:
        yield backend
    finally:
        await backend.close()
