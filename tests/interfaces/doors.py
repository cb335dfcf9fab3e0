"""The doors without a network: a gateway with in-memory adapters and Python functions as tools, and an ASGI caller."""

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mcp.shared.inbound import encode_header_value
from quart import Blueprint

from stoa.application.gateway import Gateway
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.message_bus import MessageBus
from stoa.application.ports.session_store import SessionStore
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.domain.operations.tool import LocalBinding, ToolAnnotations
from stoa.domain.policy.refusal import Refusal
from stoa.domain.results.result import (
    AudioContent,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    ToolResult,
)
from stoa.infrastructure.observability.audit_log import AuditLog
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.infrastructure.observability.refusal_log import RefusalLog
from stoa.interfaces.http.app import Lifespan, build_app
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.http.metadata import metadata_blueprint
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.engine.composition import PAGE_SIZE, build_engine
from stoa.interfaces.mcp.streams.session_ids import SealedSessionIds
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.transports.streamable_http import StreamableHttp
from stoa.interfaces.mcp.transports.streamable_response import ATTEND_AFTER_SECONDS
from stoa.interfaces.rest.operations import operations_blueprint
from stoa.interfaces.rest.routes import rest_blueprint
from stoa.interfaces.wire.bodies import Bodies
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.endpoints import Endpoints
from stoa.testing.clock import ManualClock
from stoa.testing.gateway_harness import UNLIMITED, GatewayHarness

STATELESS_REVISIONS = "2026-07-28"
HANDSHAKE_REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
URL = "https://gw.example/mcp"
METADATA_URL = "https://gw.example/.well-known/oauth-protected-resource/mcp"
RESOURCE = ProtectedResource(URL, METADATA_URL, ("https://issuer.example",))
SECRET = "s3cr3t-text-of-an-exception"

PRINCIPALS = {
    "admin": Principal.of("root", roles=["cpi-admin"], client="console"),
    "alpha-admin": Principal.of("ann", tenant="alpha", roles=["tenant-admin"]),
    "alpha-viewer": Principal.of("vic", tenant="alpha", roles=["viewer"]),
    "beta-admin": Principal.of("bob", tenant="beta", roles=["tenant-admin"]),
    "beta-viewer": Principal.of("bea", tenant="beta", roles=["viewer"]),
    "alpha-reading": Principal.of("ann", tenant="alpha", roles=["tenant-admin"], token_scopes=["stoa:read"]),
    "root-reading": Principal.of("root", tenant="alpha", roles=["cpi-admin"], token_scopes=["stoa:read"]),
    "roleless": Principal.of("nobody", tenant="alpha"),
}
"""Tokens and whose they are."""

JSON_TYPES = "application/json, text/event-stream"


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The messages of an event stream."""
        assert self.header("content-type") == "text/event-stream"
        blocks = self.body.decode().split("\n\n")
        assert blocks.pop() == "", "the last event is not complete"
        kept = [block for block in blocks if block != ": ping"]
        assert all(block.startswith("event: message\ndata: ") for block in kept)
        return [json.loads(block.partition("data: ")[2]) for block in kept]


async def send(
    app: Any,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes | Sequence[bytes] = b"",
    gone: asyncio.Event | None = None,
    into: Answer | None = None,
) -> Answer:
    """One HTTP exchange with an ASGI application. `body` as a list is sent in chunks; `gone` closes the connection;
    `into` shows what came so far."""
    path, _, query = target.partition("?")
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.append(("host", "localhost"))
    chunks = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }
    answer, state = Answer() if into is None else into, {"complete": False}

    async def receive() -> dict[str, Any]:
        if chunks:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def emit(message: Mapping[str, Any]) -> None:
        assert not state["complete"], "something was sent after the end of the response"
        await asyncio.sleep(0)
        if message["type"] == "http.response.start":
            assert answer.status == 0, "the response began twice"
            answer.status = message["status"]
            answer.headers = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in message["headers"]]
        else:
            assert answer.status, "a body without a start"
            answer.chunks.append(bytes(message.get("body", b"")))
            answer.body += answer.chunks[-1]
            state["complete"] = not message.get("more_body", False)

    await asyncio.wait_for(app(scope, receive, emit), 20)
    assert state["complete"] or gone is not None, "the response has no end"
    return answer


class NotLoaded(HealthProbe):
    """A part whose health a test sets."""

    name = "part"

    def __init__(self) -> None:
        self.now = Health(True, "fine")

    def health(self) -> Health:
        return self.now


class World(GatewayHarness):
    """A gateway, what it recorded, and its HTTP door."""

    def __init__(
        self,
        *,
        page_size: int = PAGE_SIZE,
        late_seconds: float = 15.0,
        attend_after_seconds: float = ATTEND_AFTER_SECONDS,
        heartbeat_seconds: float = 15.0,
        has_sessions: bool = False,
        has_sealed_ids: bool = False,
        shared: Callable[[ManualClock], tuple[SessionStore, Streams]] | None = None,
        bus: MessageBus | None = None,
        ask_timeout_seconds: float = 10.0,
        principals: Mapping[str, Principal] = PRINCIPALS,
        caller_limits: Mapping[str, RateLimit] | None = None,
        anonymous: Principal | None = None,
        clock: ManualClock | None = None,
        tick_seconds: float = 0.005,
        bodies: Bodies | None = None,
        **parts: Any,
    ) -> None:
        self.audit_stream = io.BytesIO()
        self.audit = AuditLog(self.audit_stream)
        clock = clock or ManualClock()
        self.metrics, self.refusal_log = PrometheusObserver(), RefusalLog(clock)
        super().__init__(
            principals=principals,
            clock=clock,
            limits=UNLIMITED if caller_limits is None else CallerLimits(roles=caller_limits),
            observers=[self.audit],
            refusal_watchers=[self.metrics, self.refusal_log],
            anonymous=anonymous,
            **parts,
        )
        self.probe = NotLoaded()
        self.states = RequestStates(bytes(32), self.clock, URL)
        self.sessions: Sessions | None = None
        self.store: SessionStore | None = None
        if has_sessions:
            store = self.store = InMemorySessionStore(self.clock, capacity=50)
            streams, ids = Streams(InMemoryEventStore()), None
            if has_sealed_ids:
                ids = SealedSessionIds(bytes(32), self.clock, URL)
            self.sessions = Sessions(store, streams, ask_timeout_seconds=ask_timeout_seconds, sealed_ids=ids)
        elif shared is not None:
            self.sessions = Sessions(*shared(self.clock), ask_timeout_seconds=ask_timeout_seconds)
        self.engine = build_engine(
            self.gateway,
            RESOURCE,
            "1.2.3",
            page_size=page_size,
            states=self.states,
            sessions=self.sessions,
            bus=bus,
            clock=self.clock,
            debounce_seconds=0.001,
            tick_seconds=tick_seconds,
            heartbeat_seconds=heartbeat_seconds,
        )
        self.mcp = StreamableHttp(
            self.engine,
            late_seconds=late_seconds,
            bodies=bodies,
            address_of=_address,
            attend_after_seconds=attend_after_seconds,
        )
        self.resource = None if anonymous else RESOURCE
        self.bodies = bodies
        self.app = self.app_of(self.blueprints())

    def blueprints(self) -> list[Endpoints]:
        """All routes but that of MCP."""
        return [
            operations_blueprint(
                [self.gateway.loader, RulesPolicyEngine(), self.probe],
                lambda: b"m 1\n",
                "1.2.3",
                self.gateway.callers,
                self.gateway.strangers,
            ),
            metadata_blueprint(self.resource, None),
            rest_blueprint(self.gateway, RESOURCE, "1.2.3", SummariseUsage(self.sink), _address),
        ]

    def app_of(self, blueprints: Sequence[Blueprint]) -> Guard:
        return build_app(
            mcp=self.mcp,
            blueprints=blueprints,
            lifespan=Lifespan(_nothing, _nothing),
            hosts=("localhost", "127.0.0.1", "[::1]", ".gw.example", "named.example"),
            origins=("https://app.example",),
            authenticate=lambda _, credential: self.gateway.callers.authenticate(credential),
            bodies=self.bodies,
            refused=lambda reason, status, scope: self.gateway.refusals.tell(
                Refusal(reason, "http", status, address=_address(scope))
            ),
        )

    def audit_lines(self) -> list[Any]:
        self.audit.flush()
        return [json.loads(line) for line in self.audit_stream.getvalue().splitlines()]

    def forget(self) -> None:
        """As the harness's, and the audit trail."""
        super().forget()
        self.audit.flush()
        self.audit_stream.seek(0)
        self.audit_stream.truncate()

    async def request(self, method: str, target: str, *, token: str | None = "alpha-admin", **rest: Any) -> Answer:
        headers = rest.pop("headers", {})
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if token is not None:
            pairs.append(("authorization", f"Bearer {token}"))
        return await send(self.app, method, target, headers=pairs, **rest)

    async def post(
        self,
        message: Any,
        *,
        token: str | None = "alpha-admin",
        headers: Mapping[str, str | None] | None = None,
        version: str | None = None,
        query: str = "",
        **rest: Any,
    ) -> Answer:
        """A POST to /mcp; a header of None is left out, bytes go out as they are."""
        sent: dict[str, str | None] = {
            "content-type": "application/json",
            "accept": JSON_TYPES,
            "mcp-protocol-version": version,
        }
        sent.update({name.lower(): value for name, value in (headers or {}).items()})
        pairs = [(name, value) for name, value in sent.items() if value is not None]
        body = rest.pop("body", None)
        if body is None:
            body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.request("POST", f"/mcp{query}", token=token, headers=pairs, body=body, **rest)

    async def legacy(
        self, method: str, params: Any = None, *, version: str | None = "2025-11-25", request_id: Any = 1, **rest: Any
    ) -> Answer:
        """A request of the handshake era."""
        message = {"jsonrpc": "2.0", "id": request_id, "method": method}
        if params is not None:
            message["params"] = params
        return await self.post(message, version=version, **rest)

    async def modern(
        self, method: str, params: Mapping[str, Any] | None = None, *, request_id: Any = 1, **rest: Any
    ) -> Answer:
        """A well-formed request of the stateless era; `headers` change what goes out."""
        message, headers = modern(method, params, request_id=request_id)
        return await self.post(message, headers=headers | dict(rest.pop("headers", {})), **rest)

    async def rest(self, method: str, path: str, body: Any = None, **rest: Any) -> Answer:
        """A request below /mcp/v1."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return await self.request(method, f"/mcp/v1{path}", body=body or b"", **rest)


def modern(
    method: str, params: Mapping[str, Any] | None = None, *, request_id: Any = 1
) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The message and the headers of a stateless request."""
    params = dict(params or {})
    params.setdefault("_meta", envelope())
    headers: dict[str, str | None] = {"mcp-protocol-version": STATELESS_REVISIONS, "mcp-method": method}
    named = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
    name = params.get("taskId" if method.startswith("tasks/") else named.get(method, ""))
    if isinstance(name, str):
        headers["mcp-name"] = encode_header_value(name)
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}, headers


def envelope(version: Any = STATELESS_REVISIONS) -> dict[str, Any]:
    return {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }


def _address(scope: Any) -> str | None:
    return scope["client"][0]


async def _nothing() -> None:
    pass


READ = ToolAnnotations(read_only_hint=True)
WRITE = ToolAnnotations(read_only_hint=False)
DESTROY = ToolAnnotations(read_only_hint=False, destructive_hint=True)


def add_tools(gateway: Gateway) -> None:
    """One tool of each kind. Global ones, and some of the tenants alpha and beta."""

    @gateway.tool(annotations=READ, tags=["math", "basic"], category="numbers", title="Add", version="2")
    async def add(a: int, b: int = 1) -> int:
        "Add two numbers."
        return a + b

    @gateway.tool(annotations=READ, tags=["basic"], category="numbers")
    async def echo(value: dict[str, Any]) -> dict[str, Any]:
        "Give back an object."
        return value

    @gateway.tool(annotations=READ, output_schema={"type": "object", "properties": {"n": {"type": "integer"}}})
    async def table() -> dict[str, Any]:
        return {"n": 1, "rows": [1, 2]}

    @gateway.tool
    async def listing() -> list[int]:
        return [1, 2, 3]

    _add_troublesome_tools(gateway)
    _add_tenants_tools(gateway)

    @gateway.tool
    async def media() -> ToolResult:
        return ToolResult(
            (
                TextContent("hello"),
                ImageContent("aW1n", "image/png"),
                AudioContent("c25k", "audio/wav"),
                EmbeddedResource("stoa://r/1", "text/csv", text="a,b"),
                EmbeddedResource("stoa://r/2", blob="AAE="),
            )
        )


def _add_troublesome_tools(gateway: Gateway) -> None:
    @gateway.tool
    async def refuses() -> ToolResult:
        return ToolResult((TextContent("no such customer"),), {"status": 404}, is_error=True)

    @gateway.tool
    async def crash() -> None:
        raise RuntimeError(SECRET)

    @gateway.tool
    async def down() -> None:
        raise BackendUnavailable("The back end cannot be reached")

    @gateway.tool
    async def late() -> None:
        raise BackendTimedOut("No answer within 1 s")

    @gateway.tool
    async def nonsense() -> None:
        raise BackendProtocolError("The answer is no HTTP")


def _add_tenants_tools(gateway: Gateway) -> None:
    @gateway.tool(tenant="alpha", annotations=WRITE, tags=["notes"], category="text")
    async def note(text: str) -> str:
        "Write a note down."
        return f"noted {len(text)} characters"

    @gateway.tool(tenant="alpha", annotations=DESTROY)
    async def wipe() -> str:
        return "gone"

    @gateway.tool(tenant="alpha", rate_limit=RateLimit(requests_per_minute=1, burst=1))
    async def rare() -> str:
        return "once a minute"

    @gateway.tool(tenant="beta", annotations=READ, tags=["beta-only"], category="hidden")
    async def private() -> str:
        return "of beta"


def add_contents(gateway: Gateway) -> None:
    """Resources and prompts: global ones, and some of the tenants alpha and beta."""

    @gateway.resource("memo://plain", name="plain", title="Plain", mime_type="text/plain", size=5)
    def plain() -> str:
        "Five letters."
        return "hello"

    @gateway.resource("memo://bytes", mime_type="application/octet-stream")
    def octets() -> bytes:
        return b"\x00\x01"

    @gateway.resource("memo://items/{item}/{count}", mime_type="application/json")
    async def item(item: str, count: int) -> str:
        return json.dumps({"item": item, "count": count})

    @gateway.resource("memo://down")
    def down_resource() -> str:
        raise BackendUnavailable("The back end cannot be reached")

    @gateway.resource("memo://alpha", tenant="alpha", rate_limit=RateLimit(requests_per_minute=1, burst=1))
    def of_alpha() -> str:
        return "of alpha"

    @gateway.resource("memo://beta", tenant="beta")
    def of_beta() -> str:
        return "of beta"

    @gateway.resource("memo://secret", tags=["stoa:admin"])
    def secret() -> str:
        return "for admins"

    @gateway.prompt(title="Greeting", completions={"name": ["Ann", "anton", "Bob"]})
    def greet(name: str, times: int = 1) -> str:
        "Greets somebody."
        return f"Greet {name} {times} times"

    @gateway.prompt(tenant="beta")
    def of_beta_prompt() -> list[PromptMessage]:
        return [PromptMessage("assistant", AudioContent("c25k", "audio/wav"))]

    @gateway.prompt
    def media_prompt() -> list[PromptMessage]:
        return [
            PromptMessage("user", ImageContent("aW1n", "image/png")),
            PromptMessage("assistant", AudioContent("c25k", "audio/wav")),
            PromptMessage("user", EmbeddedResource("memo://plain", "text/plain", text="hello")),
        ]


@cache
def _first() -> Gateway:
    gateway = World().gateway
    add_tools(gateway)
    add_contents(gateway)
    return gateway


def new_world(**options: Any) -> World:
    """With all tools and contents. What is made of their functions is made once, and registered in one step: there are
    thousands of worlds."""
    world, first = World(**options), _first()
    world.gateway._local._functions.update(first._local._functions)
    world.gateway.add(*(one for one in first.catalogue.operations.values() if isinstance(one.binding, LocalBinding)))
    return world


def violations_of(validate: Callable[[], None]) -> str:
    """What the official models have against an answer; empty when nothing."""
    try:
        validate()
    except ValueError as wrong:
        return str(wrong)
    return ""
