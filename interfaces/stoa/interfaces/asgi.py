"""MCP mounted in a Python web service: an ASGI application for the Gateway that the service embeds.

    mcp = mcp_app(gateway, url="https://api.example.com/mcp", principal_of=principal_of)
    app = Starlette(routes=[Route("/mcp", mcp)], lifespan=mcp.lifespan)

docs/embedding.md shows it in Starlette, FastAPI, Quart and plain ASGI, and what remains the service's own concern.
"""

import inspect
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pydantic_core

from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.gateway import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.ports.clock import Clock
from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import InvalidInput
from stoa.domain.policy.refusal import Refusal
from stoa.interfaces.http.addresses import Addresses
from stoa.interfaces.http.guard import LOOPBACK_HOSTS, AsgiApp, Guard, Receive, Scope, Send
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.engine.composition import build_engine
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.streams.session_ids import SealedSessionIds
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.transports.streamable_http import StreamableHttp
from stoa.interfaces.release import release
from stoa.interfaces.wire.challenge import ProtectedResource

__all__ = ["McpApp", "PrincipalOf", "Scope", "mcp_app"]

PrincipalOf = Callable[[Scope], Awaitable[Principal | None] | Principal | None]
"""The caller of a request as the service authenticated it; None: not authenticated, which is answered with 401."""

Message = MutableMapping[str, Any]

_METADATA = "/.well-known/oauth-protected-resource"
"""RFC 9728 section 3.1: the path of the resource follows."""
_PRINCIPAL = "stoa.principal"
"""Key of the request's scope: the Principal that `principal_of` returned."""
_LEAST_SECRET_BYTES = 32
_NOT_STARTED = (
    "the MCP application was not started: pass lifespan=mcp.lifespan to the framework, or wrap its application with "
    "mcp.within(app)"
)

_log = logging.getLogger(__name__)


def mcp_app(
    gateway: Gateway,
    *,
    url: str,
    principal_of: PrincipalOf | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    authorization_servers: Sequence[str] = (),
    secret: bytes | None = None,
    clock: Clock | None = None,
) -> "McpApp":
    """An ASGI application that serves `gateway` over MCP Streamable HTTP at `url`, the address that clients connect to.

    `principal_of`: the service's own authentication; without it the gateway's TokenVerifier reads the Authorization
    header. `hosts`: host names served in addition to that of `url`; a leading dot allows subdomains, `*` any name.
    `origins`: web origins that may call. `authorization_servers`: issuers that clients are told to get tokens from (RFC
    9728). `secret`: at least 32 random bytes, the same in all worker processes and kept over restarts; without it the
    sessions of one process end with it. `clock`: the one that the gateway has.

    Raises InvalidInput for a `url` that is not absolute and for a `secret` that is too short.
    """
    address = urlsplit(url)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise InvalidInput(f"mcp_app: url must be absolute, such as https://api.example.com/mcp, not {url!r}")
    if secret is not None and len(secret) < _LEAST_SECRET_BYTES:
        raise InvalidInput(f"mcp_app: secret must have {_LEAST_SECRET_BYTES} bytes or more, chosen at random")
    path = address.path or "/"
    clock, secret = clock or SystemClock(), secret or os.urandom(_LEAST_SECRET_BYTES)
    metadata_path = _METADATA + path.rstrip("/")
    metadata_url = f"{address.scheme}://{address.netloc}{metadata_path}"
    resource = ProtectedResource(url, metadata_url, tuple(authorization_servers))
    supervisor = Supervisor(clock)
    sessions = Sessions(
        InMemorySessionStore(clock),
        Streams(InMemoryEventStore(), report=supervisor.report),
        sealed_ids=SealedSessionIds(secret, clock, url),
    )
    engine = build_engine(
        gateway,
        resource,
        release(),
        states=RequestStates(secret, clock, url),
        sessions=sessions,
        clock=clock,
        report=supervisor.report,
    )
    address_of = Addresses().of
    answer: AsgiApp = StreamableHttp(
        engine, address_of=address_of, principal_of=None if principal_of is None else _principal_in
    )
    if principal_of is not None:
        answer = _authenticated_by(principal_of, answer)

    def refused(reason: RefusalReason, status: int, scope: Scope) -> None:
        gateway.refusals.tell(Refusal(reason, "http", status, address=address_of(scope)))

    # Host and Origin are checked before `principal_of` runs: a page in the user's browser sends their cookies.
    name = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
    served = LOOPBACK_HOSTS if name in LOOPBACK_HOSTS else (name,)
    guard = Guard(answer, hosts=(*served, *hosts), origins=origins, refused=refused)
    return McpApp(gateway, engine, supervisor, guard, path, resource, metadata_path)


class McpApp:
    """An ASGI application with a lifespan; `mcp_app` makes it.

    It answers MCP at every path that a framework routes to it, and the OAuth metadata at `metadata_path`. Its lifespan
    loads the catalogue and runs the gateway's background work. The Gateway is not closed here: its owner closes it.
    """

    def __init__(
        self,
        gateway: Gateway,
        engine: McpEngine,
        supervisor: Supervisor,
        guard: Guard,
        path: str,
        resource: ProtectedResource,
        metadata_path: str,
    ) -> None:
        self.metadata_path = metadata_path
        """Path of the metadata that names the authorization servers; route it here too if there are any."""
        self._gateway = gateway
        self._engine = engine
        self._supervisor = supervisor
        self._guard = guard
        self._metadata = Guard(_document(resource.metadata()), hosts=("*",), origins=())
        self._is_announced = bool(resource.authorization_servers)
        self._paths = frozenset({path, f"{path.rstrip('/')}/"})
        self._is_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers an HTTP request, or runs the lifespan if this is the server's whole application."""
        if scope["type"] == "lifespan":
            await self._speak_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif self._is_announced and scope["path"] == self.metadata_path:
            await self._metadata(scope, receive, send)
        elif not self._is_started:
            raise RuntimeError(_NOT_STARTED)
        else:
            await self._guard(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncGenerator[None]:  # noqa: ARG002  # frameworks pass themselves
        """The gateway's background work, from the first catalogue to the end of tasks; once per application.

        Frameworks take it as their lifespan; in one of the service's own, `async with mcp.lifespan():`.
        """
        await self._start()
        try:
            yield
        finally:
            await self._stop()

    async def _start(self) -> None:
        await self._gateway.loader.execute()
        await self._engine.open()
        self._supervisor.start({"catalogue": self._gateway.loader.watch, "tasks": self._engine.watch_tasks})
        self._is_started = True

    async def _stop(self) -> None:
        self._is_started = False
        self._engine.end_streams()
        await self._supervisor.stop()
        await self._engine.close()

    def within(self, app: AsgiApp) -> AsgiApp:
        """Returns `app` with MCP at the path of `url`: other requests go to `app`, and the lifespan to both."""

        async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await self._share_lifespan(app, scope, receive, send)
            elif scope["type"] == "http" and self._is_ours(scope["path"]):
                await self(scope, receive, send)
            else:
                await app(scope, receive, send)

        return mounted

    def _is_ours(self, path: str) -> bool:
        return path in self._paths or (self._is_announced and path == self.metadata_path)

    async def _share_lifespan(self, app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Starts after `app` and stops before it, so that everything `app` creates at its start outlives this
        application."""
        has_spoken = False

        async def received() -> Any:
            nonlocal has_spoken
            has_spoken = True
            message = await receive()
            if message["type"] == "lifespan.shutdown" and self._is_started:
                await self._stop()
            return message

        async def sent(message: Any) -> None:
            is_complete = message["type"] == "lifespan.startup.complete"
            await send(await self._startup() if is_complete else message)

        try:
            await app(scope, received, sent)
        except Exception:
            if has_spoken:
                raise
        if not has_spoken:  # an application without a lifespan may raise or return (ASGI, "Lifespan Protocol")
            await self._speak_lifespan(receive, send)

    async def _speak_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send(await self._startup())
        if self._is_started:
            await receive()
            await self._stop()
            await send({"type": "lifespan.shutdown.complete"})

    async def _startup(self) -> Message:
        """Starts and returns the lifespan's answer. An exception would tell the server that there is no lifespan, and
        it would serve without one."""
        try:
            await self._start()
        except Exception:  # noqa: BLE001  # after any error the server must not serve
            _log.exception("the MCP application cannot start")
            return {"type": "lifespan.startup.failed", "message": "stoa: MCP cannot start; the log says why"}
        return {"type": "lifespan.startup.complete"}


def _principal_in(scope: Scope) -> Principal | None:
    principal: Principal | None = scope[_PRINCIPAL]
    return principal


def _authenticated_by(principal_of: PrincipalOf, app: AsgiApp) -> AsgiApp:
    async def authenticated(scope: Scope, receive: Receive, send: Send) -> None:
        principal = principal_of(scope)
        if inspect.isawaitable(principal):
            principal = await principal
        await app({**scope, _PRINCIPAL: principal}, receive, send)

    return authenticated


def _document(content: Any) -> AsgiApp:
    body = pydantic_core.to_json(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"max-age=300"),
    ]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  # an ASGI application
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer
