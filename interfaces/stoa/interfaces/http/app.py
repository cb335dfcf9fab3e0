"""The HTTP application: Quart for everything but `/mcp`, which goes to its ASGI callable with no framework between."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pydantic_core
from quart import Blueprint, Quart, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from stoa.interfaces.http.guard import AsgiApp, Guard, Receive, Scope, Send
from stoa.interfaces.mcp.streamable_http import BODY_LIMIT

_QUERY = "".join(map(chr, range(0x21, 0x7F)))
"""What is left as it is when a query is mended: everything that a URL can carry."""


@dataclass(frozen=True, slots=True)
class Lifespan:
    """What happens when the server starts and stops."""

    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


def build_app(
    *, mcp: AsgiApp, blueprints: Sequence[Blueprint], lifespan: Lifespan, hosts: Sequence[str], origins: Sequence[str]
) -> Guard:
    """The whole door as one ASGI application."""
    quart = Quart(__name__, static_folder=None)
    quart.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    quart.register_error_handler(HTTPException, _problem)
    for blueprint in blueprints:
        quart.register_blueprint(blueprint)
    quart.before_serving(lifespan.start)
    quart.after_serving(lifespan.stop)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/mcp":
            await mcp(scope, receive, send)
        else:
            if scope["type"] == "http" and not scope["query_string"].isascii():
                # No URL has such bytes (RFC 3986), and quart fails on them before any of our handlers is asked.
                scope = {**scope, "query_string": quote(scope["query_string"], safe=_QUERY).encode()}
            await quart.asgi_app(scope, receive, send)  # type: ignore[arg-type]  # hypercorn's names for the same shapes

    return Guard(route, hosts=hosts, origins=origins)


async def _problem(error: HTTPException) -> Response:
    """What the framework refuses, and defects of ours, in the shape of every other error: never its HTML pages."""
    headers = {"Allow": ", ".join(sorted(error.valid_methods or ()))} if isinstance(error, MethodNotAllowed) else {}
    body = {"error": error.name.lower().replace(" ", "_"), "message": error.name}
    return Response(pydantic_core.to_json(body), error.code, headers, content_type="application/json")
