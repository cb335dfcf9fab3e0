"""The HTTP application: Quart for everything but `/mcp`, which goes to its ASGI callable with no framework between."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pydantic_core
from quart import Blueprint, Quart, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.interfaces.http.guard import AsgiApp, Guard, Receive, Scope, Send
from stoa.interfaces.http.request_bodies import Authenticate, RestBodies
from stoa.interfaces.wire.bodies import BODY_LIMIT, Bodies
from stoa.interfaces.wire.errors import REASONS_BY_STATUS

_MCP_PATHS = frozenset({"/mcp", "/mcp/"})
"""The second is how some clients and proxies write the first."""
_QUERY = "".join(map(chr, range(0x21, 0x7F)))
"""What is left as it is when a query is mended: everything that a URL can carry."""


@dataclass(frozen=True, slots=True)
class Lifespan:
    """What happens when the server starts and stops."""

    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


def build_app(
    *,
    mcp: AsgiApp,
    blueprints: Sequence[Blueprint],
    lifespan: Lifespan,
    hosts: Sequence[str],
    origins: Sequence[str],
    authenticate: Authenticate,
    bodies: Bodies | None = None,
    state: Mapping[str, Any] = MappingProxyType({}),
    refused: Callable[[RefusalReason, int, Scope], None] = lambda _, __, ___: None,
) -> Guard:
    """The whole door as one ASGI application. `authenticate` vouches for callers before their bodies are read, within
    `bodies`. `state` is put into the server's own state when it starts. `refused` is told of what is refused before a
    route or the MCP door has it."""
    quart = Quart(__name__, static_folder=None)
    quart.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT

    async def problem(error: HTTPException) -> Response:
        status = error.code or 500
        refused(REASONS_BY_STATUS.get(status, RefusalReason.BAD_REQUEST), status, request.scope)  # type: ignore[arg-type]  # hypercorn's name for the same shape
        return await _problem(error)

    quart.register_error_handler(HTTPException, problem)
    for blueprint in blueprints:
        quart.register_blueprint(blueprint)
    quart.before_serving(lifespan.start)
    quart.after_serving(lifespan.stop)

    rest = RestBodies(quart.asgi_app, authenticate, bodies or Bodies())  # type: ignore[arg-type]  # hypercorn's names for the same shapes

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in _MCP_PATHS:
            await mcp(scope, receive, send)
        else:
            if scope["type"] == "http" and not scope["query_string"].isascii():
                # No URL has such bytes (RFC 3986), and quart fails on them before any of our handlers is asked.
                scope = {**scope, "query_string": quote(scope["query_string"], safe=_QUERY).encode()}
            if scope["type"] == "lifespan":
                scope.setdefault("state", {}).update(state)
            await rest(scope, receive, send)

    return Guard(route, hosts=hosts, origins=origins, refused=refused)


async def _problem(error: HTTPException) -> Response:
    """What the framework refuses, and defects of ours, in the shape of every other error: never its HTML pages."""
    headers = {"Allow": ", ".join(sorted(error.valid_methods or ()))} if isinstance(error, MethodNotAllowed) else {}
    message = error.description if isinstance(error, RequestEntityTooLarge) and error.description else error.name
    body = {"error": error.name.lower().replace(" ", "_"), "message": message}
    return Response(pydantic_core.to_json(body), error.code, headers, content_type="application/json")
