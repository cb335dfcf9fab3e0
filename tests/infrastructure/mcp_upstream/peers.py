"""Upstream MCP servers on loopback sockets and pipes, and gateways that have them as upstreams."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pydantic_core
import uvicorn
from tests.infrastructure.rest.loopback import Answer, Seen, answer

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ClientChannel
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.infrastructure.mcp_upstream import McpBackend, McpSpecKind, McpUpstreams
from stoa.interfaces.asgi import mcp_app

ADMIN = Principal.of("ada", roles=["cpi-admin"])
BOB = Principal.of("bob", roles=["cpi-admin"])
VIEWER = Principal.of("vic", roles=["viewer"])
ALL = ClientCapabilities(
    sampling=True, sampling_tools=True, sampling_context=True, elicitation=True, elicitation_url=True, roots=True
)
OFFICIAL = str(Path(__file__).with_name("official_server.py"))
OFFICIAL_PROGRAM: dict[str, Any] = {"command": sys.executable, "args": [OFFICIAL]}


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """The origin at which an ASGI application is served. `options`: of uvicorn, for TLS."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="on", access_log=False, log_level="error", timeout_graceful_shutdown=1, **options
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            if serving.done():
                serving.result()
            await asyncio.sleep(0)
        yield f"{'https' if options else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def stoa_server(upstream: Gateway) -> AsyncIterator[str]:
    """The MCP endpoint of a second gateway, which anyone may call as a platform admin."""
    app = mcp_app(upstream, url="http://127.0.0.1/mcp", principal_of=lambda _: ADMIN)
    async with served(app) as origin:
        yield f"{origin}/mcp"


def tool_set(prefix: str = "", **mcp: Any) -> dict[str, Any]:
    """A ToolSet of this server."""
    spec = {"mcp": mcp, **({"naming": {"prefix": prefix}} if prefix else {})}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "upstream"}, "spec": spec}


@asynccontextmanager
async def gateway_with(
    *manifests: dict[str, Any], secrets: Mapping[str, Mapping[str, str]] | None = None, sink: Any = None, **options: Any
) -> AsyncIterator[Gateway]:
    """A gateway with these manifests. `options`: of McpUpstreams."""
    credentials = InMemoryCredentialSource()
    for name, entries in (secrets or {}).items():
        credentials.put(None, name, entries)
    upstreams = McpUpstreams(credentials, **options)
    gateway = Gateway(backends=[McpBackend(upstreams)], spec_kinds=[McpSpecKind(upstreams)], sink=sink)
    try:
        for manifest in manifests:
            await gateway.add_manifest(manifest)
        yield gateway
    finally:
        await gateway.close()


async def call(
    gateway: Gateway,
    operation: str,
    principal: Principal = ADMIN,
    channel: ClientChannel | None = None,
    kind: Any = "tool",
    **arguments: Any,
) -> Outcome:
    invocation = Invocation(credential=principal, name=operation, arguments=arguments, door="library", kind=kind)
    async with asyncio.timeout(30):
        return await gateway.invoke_operation.execute(invocation, channel)


def text_of(outcome: Outcome) -> str:
    assert outcome.result is not None, outcome.error
    return outcome.result.content[0].text


def message(seen: Seen) -> dict[str, Any]:
    return pydantic_core.from_json(seen.body) if seen.body else {}


def result(seen: Seen, **members: Any) -> bytes:
    """A response to the request that was seen, as JSON."""
    body = {"jsonrpc": "2.0", "id": message(seen).get("id"), "result": members}
    return answer(pydantic_core.to_json(body))


def fault(seen: Seen, code: int, text: str, *, status: str = "200 OK", data: Any = None) -> bytes:
    error = {"code": code, "message": text, **({} if data is None else {"data": data})}
    return answer(
        pydantic_core.to_json({"jsonrpc": "2.0", "id": message(seen).get("id"), "error": error}), status=status
    )


def events(*messages: Any, first_id: int | None = None, retry: int | None = None) -> bytes:
    """A stream of events; a message is an object, or bytes that stand for its JSON."""
    lines = [] if retry is None else [f"retry: {retry}\ndata:\n\n".encode()]
    for number, each in enumerate(messages):
        data = each if isinstance(each, bytes) else pydantic_core.to_json(each)
        identity = b"" if first_id is None else f"id: {first_id + number}\n".encode()
        lines.append(b"event: message\n" + identity + b"data: " + data + b"\n\n")
    return answer(b"".join(lines), media_type="text/event-stream")


def handshake(seen: Seen, *, session: str | None = None, capabilities: Any = None) -> Answer:
    """What a server of the handshake era answers before the first call; None: the request is another."""
    said = message(seen)
    match said.get("method"):
        case "server/discover":
            return fault(seen, -32601, "Method not found", status="400 Bad Request")
        case "initialize":
            more = "" if session is None else f"Mcp-Session-Id: {session}\r\n"
            members = {
                "protocolVersion": said["params"]["protocolVersion"],
                "capabilities": {"tools": {}} if capabilities is None else capabilities,
                "serverInfo": {"name": "raw", "version": "1"},
            }
            body = {"jsonrpc": "2.0", "id": said["id"], "result": members}
            return answer(pydantic_core.to_json(body), more=more)
        case "notifications/initialized" | "notifications/cancelled":
            return answer(b"", status="202 Accepted")
        case "tools/list":
            return result(seen, tools=[{"name": "echo", "inputSchema": {"type": "object"}}])
        case _:
            return answer(b"") if seen.method == "DELETE" else None
