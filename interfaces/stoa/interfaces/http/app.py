"""The HTTP application: `/mcp` goes to its ASGI callable, and the routes of `Endpoints` go to their handlers, with no
framework between. Quart has the routing, and everything else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import quote

import pydantic_core
from quart import Blueprint, Quart, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import StoaError
from stoa.interfaces.http.cycle import RequestCycle
from stoa.interfaces.http.direct import DirectEndpoints
from stoa.interfaces.http.guard import Guard, Receive, Scope, Send
from stoa.interfaces.http.request_bodies import Authenticate, RestBodies
from stoa.interfaces.http.short_way import SHORT_WAY_KEY, ShortWay
from stoa.interfaces.wire.bodies import BODY_LIMIT, Bodies
from stoa.interfaces.wire.endpoints import Endpoints, Handler, HttpAnswer, as_response
from stoa.interfaces.wire.errors import REASONS_BY_STATUS

_MCP_PATHS = frozenset({"/mcp", "/mcp/"})
"""Paths of the MCP endpoint; some clients and proxies add the slash."""
_QUERY = "".join(map(chr, range(0x21, 0x7F)))
"""Characters kept when a query is repaired: all that a URL may hold."""


@dataclass(frozen=True, slots=True)
class Lifespan:
    """Startup and shutdown of the application."""

    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


class McpDoor(Protocol):
    """The MCP endpoint, as an ASGI application and for requests that came whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def answer_whole(self, post: RequestCycle, body: bytes) -> None: ...


def build_app(
    *,
    mcp: McpDoor,
    blueprints: Sequence[Blueprint],
    lifespan: Lifespan,
    hosts: Sequence[str],
    origins: Sequence[str],
    authenticate: Authenticate,
    bodies: Bodies | None = None,
    state: Mapping[str, Any] = MappingProxyType({}),
    refused: Callable[[RefusalReason, int, Scope], None] = lambda _, __, ___: None,
) -> Guard:
    """Builds the HTTP door as one ASGI application. `authenticate` runs before a body is read, within the bounds of
    `bodies`. `state` is put into the server's lifespan state at its start. `refused` is called with refusals that come
    before a route or the MCP door."""
    quart = Quart(__name__, static_folder=None)
    quart.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT

    def problem(error: HTTPException, scope: Scope) -> HttpAnswer:
        status = error.code or 500
        refused(REASONS_BY_STATUS.get(status, RefusalReason.BAD_REQUEST), status, scope)
        return _problem(error)

    async def respond_problem(error: HTTPException) -> Response:
        return as_response(problem(error, request.scope))  # type: ignore[arg-type]  # hypercorn's name for the same shape

    quart.register_error_handler(HTTPException, respond_problem)
    handlers: dict[str, Handler] = {}
    for blueprint in blueprints:
        quart.register_blueprint(blueprint)
        if isinstance(blueprint, Endpoints):
            handlers |= blueprint.handlers
    refused_start: list[StoaError] = []

    async def start() -> None:
        try:
            await lifespan.start()
        except StoaError as reason:
            refused_start.append(reason)  # raised here, quart would log its traceback, as of a defect

    quart.before_serving(start)
    quart.after_serving(lifespan.stop)

    direct = DirectEndpoints(quart.asgi_app, quart.url_map, handlers, problem)  # type: ignore[arg-type]  # hypercorn's names for the same shapes
    rest = RestBodies(direct, authenticate, bodies or Bodies())

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in _MCP_PATHS:
            await mcp(scope, receive, send)
        else:
            if scope["type"] == "http" and not scope["query_string"].isascii():
                # No URL has such bytes (RFC 3986), and quart fails on them before any of our handlers runs.
                scope = {**scope, "query_string": quote(scope["query_string"], safe=_QUERY).encode()}
            if scope["type"] == "lifespan":
                scope.setdefault("state", {}).update({**state, SHORT_WAY_KEY: short_way})
                await rest(scope, receive, partial(_send_of_lifespan, send, refused_start))
            else:
                await rest(scope, receive, send)

    guard = Guard(route, hosts=hosts, origins=origins, refused=refused)
    short_way = ShortWay(guard, mcp.answer_whole)
    return guard


async def _send_of_lifespan(send: Send, refused_start: Sequence[StoaError], message: Any) -> None:
    if refused_start and message["type"] == "lifespan.startup.complete":
        message = {"type": "lifespan.startup.failed", "message": f"stoa: {refused_start[0].message}"}
    await send(message)


def _problem(error: HTTPException) -> HttpAnswer:
    """Writes the framework's errors, and defects of the gateway, in the form of all other errors instead of HTML
    pages."""
    headers = {"Allow": ", ".join(sorted(error.valid_methods or ()))} if isinstance(error, MethodNotAllowed) else {}
    message = error.description if isinstance(error, RequestEntityTooLarge) and error.description else error.name
    body = {"error": error.name.lower().replace(" ", "_"), "message": message}
    return HttpAnswer(pydantic_core.to_json(body), error.code or 500, headers)
