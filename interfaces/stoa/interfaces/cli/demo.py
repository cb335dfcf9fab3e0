"""`stoa demo`: the gateway with two teams and a pet store behind it, ready to be called.

Everything runs in this process: a real upstream on a free loopback port, the gateway in front of it, and one call
through MCP as any client would make it.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from dishka import AsyncContainer
from rich.panel import Panel

from stoa.application.gateway import Gateway
from stoa.application.memory.ids import UuidFactory
from stoa.domain.access.identity import Principal
from stoa.domain.finding import Severity
from stoa.domain.metering.money import to_decimal
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.asgi import mcp_app
from stoa.interfaces.bootstrap import CommandLine, MeteringPart, build_container
from stoa.interfaces.cli.client_settings import TOKEN_VARIABLE, client_settings
from stoa.interfaces.cli.common import TOKEN_LIFETIME_SECONDS, console, development_token, listen, table
from stoa.interfaces.demo import orders, shipping
from stoa.interfaces.demo.catalogue_files import write_catalogue
from stoa.interfaces.demo.notes import notes_server, write_notes_manifest
from stoa.interfaces.demo.upstream import BILLING_API_KEY, build_upstream
from stoa.interfaces.http.guard import AsgiApp, Guard
from stoa.interfaces.http.server import GatewayServer, config_of
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire.revisions import CAPABILITIES_KEY, NEWEST, VERSION_KEY

_CALLERS = (
    ("cpi-admin", None),
    ("tenant-admin", "team-alpha"),
    ("devops", "team-beta"),
    ("viewer", "team-alpha"),
)
_READER = Principal.of("demo", roles=["viewer"])
"""Everyone, for the MCP server behind the gateway."""
_CALLER = _CALLERS[1]
"""Whose token the first call and the client's configuration use."""
_FURTHER_CALLS: dict[str, tuple[str, JsonObject]] = {
    "GraphQL": ("pets_reviews", {"minStars": 4}),
    "gRPC": ("Shipping_Track", {"number": "P-1001"}),
    "Kafka": ("request_orders", {"value": {"item": "leash", "count": 2}}),
    "MCP": ("notes_search", {"text": "refunds"}),
}
"""A call of each kind of back end besides HTTP APIs: tool and arguments."""
_BILLING_SECRET = "STOA_SECRET__TEAM_ALPHA__BILLING_API__APIKEY"  # noqa: S105  # the variable's name


async def demo(*, port: int | None = None, once: bool = False) -> int:
    """Start the gateway with demo tools, print how to connect, and make one call.

    Parameters
    ----------
    port
        Port of the gateway; replaces PORT (8080).
    once
        Stop after the call.
    """
    with tempfile.TemporaryDirectory(prefix="stoa-demo-") as catalogue:
        overrides: dict[str, Any] = {} if port is None else {"port": port}
        settings = Settings(catalogue_path=(catalogue,), **overrides)
        gateway_sockets = listen(settings.host, settings.port)
        settings = settings.model_copy(update={"port": gateway_sockets[0].getsockname()[1]})
        os.environ.setdefault(_BILLING_SECRET, BILLING_API_KEY)
        upstream_sockets, notes_sockets = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
        notes_url = f"http://127.0.0.1:{notes_sockets[0].getsockname()[1]}/mcp"
        async with AsyncExitStack() as upstreams:
            await upstreams.enter_async_context(_serving(build_upstream(), upstream_sockets, settings))  # type: ignore[arg-type]  # quart's names for the same shapes
            notes = mcp_app(notes_server(), url=notes_url, principal_of=lambda _: _READER)
            await upstreams.enter_async_context(_serving(notes, notes_sockets, settings))
            write_notes_manifest(Path(catalogue), notes_url)
            if shipping.is_installed():
                await upstreams.enter_async_context(shipping.serving_shipping(Path(catalogue)))
            if orders.is_installed():
                await upstreams.enter_async_context(orders.serving_orders(Path(catalogue)))
            write_catalogue(Path(catalogue), f"http://127.0.0.1:{upstream_sockets[0].getsockname()[1]}")
            container = build_container(settings, CommandLine())
            door = await container.get(Guard)
            async with _serving(door, gateway_sockets, settings) as server:
                await _introduce(container, settings)
                succeeded = await _make_one_call(container, settings)
                succeeded = await _call_further_kinds(container, settings) and succeeded
                if not once:
                    console().print(
                        f"The gateway is running; press Ctrl-C to stop it. In another terminal: {_command()} usage"
                    )
                    await server.wait_until_stopped()
    return 0 if succeeded else 1


class _Server(GatewayServer):
    """A server that leaves signals to the command, because several run in one process."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def wait_until_stopped(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        await stopped.wait()


@asynccontextmanager
async def _serving(app: AsgiApp, listeners: list[socket.socket], settings: Settings) -> AsyncGenerator[_Server]:
    config = config_of(app, settings.keep_alive_seconds)
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=listeners))
    try:
        await asyncio.wait([asyncio.create_task(server.is_up.wait()), running], return_when=asyncio.FIRST_COMPLETED)
        yield server
    finally:
        server.should_exit = True
        await running


async def _introduce(container: AsyncContainer, settings: Settings) -> None:
    """Prints the tools, the command for each role's token, and the client's configuration."""
    out = console()
    gateway = await container.get(Gateway)
    for finding in gateway.loader.findings:
        if finding.severity is Severity.ERROR:
            out.print(str(finding))
    listed = sorted(gateway.registry.catalogue.tools.values(), key=lambda tool: (tool.tenant or "", tool.name))
    rows = [[tool.tenant or "(every tenant)", tool.name, tool.access.value, tool.title or ""] for tool in listed]
    out.print(table("Tools", ["tenant", "tool", "needs", "what it does"], rows))

    command = _command()
    out.print("\nTokens, for development only", style="bold")
    for role, tenant in _CALLERS:
        who = f"{role} of {tenant}" if tenant else role
        out.print(f"  {who:<27} {_token_command(command, role, tenant)}", soft_wrap=True)

    out.print("\nConnect a client", style="bold")
    out.print(f"  export {TOKEN_VARIABLE}=$({_token_command(command, *_CALLER)})", soft_wrap=True)
    (_, claude_code), *_ = client_settings(f"{settings.url}/mcp", f"${TOKEN_VARIABLE}")
    out.print(f"  {claude_code}", soft_wrap=True)
    out.print("  docs/connect-a-client.md has the settings of other clients, curl among them.")


def _command() -> str:
    """The command line of the program, as a user in this folder would type it."""
    program = Path(sys.argv[0])
    if shutil.which(program.name) == str(program):
        return program.name
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)


def _token_command(command: str, role: str, tenant: str | None) -> str:
    return f"{command} token --role {role}" + (f" --tenant {tenant}" if tenant else "")


async def _call(settings: Settings, token: str, tool: str, arguments: JsonObject, request_id: str) -> httpx.Response:
    request: JsonObject = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": arguments,
            "_meta": {VERSION_KEY: NEWEST.name, CAPABILITIES_KEY: {}},
        },
    }
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": NEWEST.name,
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
        "X-Consumer-ID": "stoa-demo",
        "X-Request-ID": request_id,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{settings.url}/mcp", json=request, headers=headers)


async def _call_further_kinds(container: AsyncContainer, settings: Settings) -> bool:
    """Call one tool of each further kind of back end, a line each; true if all succeeded."""
    catalogue = (await container.get(Gateway)).registry.catalogue
    token = await development_token(container, *_CALLER, TOKEN_LIFETIME_SECONDS)
    succeeded = True
    for kind, (tool, arguments) in _FURTHER_CALLS.items():
        if all(each.name != tool for each in catalogue.tools.values()):
            continue  # its library is not installed
        answer = (await _call(settings, token, tool, arguments, UuidFactory().new_id())).json()
        result = answer.get("result", {"isError": True})
        is_error = bool(result.get("isError"))
        succeeded = succeeded and not is_error
        text = json.dumps(result.get("structuredContent", answer), ensure_ascii=False)
        console().print(f"{kind}  {tool}  {text}", soft_wrap=True)
    return succeeded


async def _make_one_call(container: AsyncContainer, settings: Settings) -> bool:
    """Call crm-search over the socket, and show the answer and what the gateway recorded; true if it succeeded."""
    token = await development_token(container, *_CALLER, TOKEN_LIFETIME_SECONDS)
    request_id = UuidFactory().new_id()
    response = await _call(settings, token, "crm-search", {"q": "weber", "limit": 1}, request_id)
    answer = response.json()
    out = console()
    out.print("\nThe first call: crm-search through MCP, as tenant-admin of team-alpha", style="bold")
    result = answer.get("result", answer)
    out.print(json.dumps(result.get("structuredContent", result), indent=2, ensure_ascii=False), soft_wrap=True)
    metering = await container.get(MeteringPart)
    event = next(event for event in metering.log.events() if event.request_id == request_id)
    out.print(
        Panel(
            f"decision  allowed by {event.metadata['rules']}\n"
            f"status    {event.status.value}\n"
            f"latency   {event.latency_ms} ms\n"
            f"cost      {to_decimal(event.cost_units):f} units\n"
            f"event     {event.event_id}",
            title="What the gateway recorded",
            expand=False,
        )
    )
    return response.status_code == 200 and "result" in answer and not answer["result"].get("isError")
