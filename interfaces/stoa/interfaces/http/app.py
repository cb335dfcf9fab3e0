"""The HTTP application: Quart for everything but `/mcp`, which goes to its ASGI callable with no framework between."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from quart import Blueprint, Quart

from stoa.interfaces.http.guard import AsgiApp, Guard, Receive, Scope, Send


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
    for blueprint in blueprints:
        quart.register_blueprint(blueprint)
    quart.before_serving(lifespan.start)
    quart.after_serving(lifespan.stop)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/mcp":
            await mcp(scope, receive, send)
        else:
            await quart.asgi_app(scope, receive, send)  # type: ignore[arg-type]  # hypercorn's names for the same shapes

    return Guard(route, hosts=hosts, origins=origins)
