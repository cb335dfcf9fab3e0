"""The official Python client starts `stoa stdio` and examples/everything.py and talks to them over their pipes."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.e2e import forkserver
from tests.e2e.answering import CALLBACKS, text_of
from tests.e2e.processes import STOA, GatewayProcess, asgi_upstream

from stoa.interfaces.demo.catalogue_files import write_catalogue
from stoa.interfaces.demo.upstream import BILLING_API_KEY, build_upstream

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "everything.py"
MODES = ["legacy", "auto", "2026-07-28"]
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}\n'
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
LIST = b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n'
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Its folders and settings; nothing is served over HTTP."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("stdio"))
    with asgi_upstream(build_upstream()) as upstream_url:
        write_catalogue(gateway.catalogue, upstream_url)
        yield gateway


@asynccontextmanager
async def connected(command: list[str], home: Path, mode: str, **options: Any) -> AsyncGenerator[Client]:
    environment = {"DATA_DIR": str(home / "data"), "STOA_SECRET__TEAM_ALPHA__BILLING_API__APIKEY": BILLING_API_KEY}
    environment |= options.pop("environment", {})
    server = StdioServerParameters(command=command[0], args=command[1:], env=environment, cwd=home)
    with (home / "stderr").open("a") as log:
        transport = stdio_client(server, errlog=log)
        async with Client(transport, mode=mode, read_timeout_seconds=30, **options) as client:
            yield client


def stoa(gateway: GatewayProcess, *arguments: str) -> list[str]:
    return forkserver.command(STOA, "stdio", "--catalogue", str(gateway.catalogue), *arguments)


def everything() -> list[str]:
    return forkserver.command(str(EXAMPLE), "--stdio")


@pytest.mark.parametrize("mode", MODES)
async def test_a_role_sees_and_calls_what_it_may(gateway: GatewayProcess, mode: str) -> None:
    command = stoa(gateway, "--role", "tenant-admin", "--tenant", "team-alpha")
    async with connected(command, gateway.home, mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"crm-search", "listPets"} <= names
        assert "deletePet" not in names
        found = await client.call_tool("crm-search", {"q": "weber", "limit": 5})
        assert found.structured_content is not None
        assert [customer["id"] for customer in found.structured_content["customers"]] == ["CUS-1002", "CUS-1007"]
    event = gateway.events()[-1]
    assert (event.tool, event.tenant, event.consumer, event.metadata["door"]) == (
        "crm-search",
        "team-alpha",
        "stdio",
        "mcp",
    )


async def test_the_token_in_the_environment_counts(gateway: GatewayProcess) -> None:
    token = {"STOA_TOKEN": gateway.token("viewer", "team-beta")}
    async with connected(stoa(gateway), gateway.home, "legacy", environment=token) as client:
        assert "crm-search" not in {tool.name for tool in (await client.list_tools()).tools}
    async with connected(stoa(gateway), gateway.home, "2026-07-28", environment={"STOA_TOKEN": "forged"}) as client:
        with pytest.raises(MCPError, match="token"):
            await client.list_tools()


@pytest.mark.parametrize("mode", MODES)
async def test_tools_tell_and_ask_over_the_pipes(tmp_path: Path, mode: str) -> None:
    seen: list[tuple[float, float | None]] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    async with connected(everything(), tmp_path, mode, **CALLBACKS) as client:
        assert await text_of(client, "test_sampling", prompt="hi") == "LLM response: HI"
        assert "my username" in await text_of(client, "test_elicitation", message="Who?")
        several = await text_of(client, "test_input_required_result_multiple_inputs")
        assert several == "answered: client_roots, greeting, user_name"
        assert "my color" in await text_of(client, "test_input_required_result_multi_round")
        await client.call_tool("test_tool_with_progress", {}, progress_callback=progressed)
        assert seen == [(0, 100), (50, 100), (100, 100)]


def run(
    gateway: GatewayProcess, sent: bytes, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[bytes]":
    inherited = {"PATH": os.environ["PATH"], "DATA_DIR": str(gateway.data), **environment}
    return subprocess.run(
        stoa(gateway, *arguments), input=sent, env=inherited, capture_output=True, timeout=30, check=False
    )


def test_the_end_of_input_ends_the_process_with_success(gateway: GatewayProcess) -> None:
    done = run(gateway, PING + b"nonsense\n" + PING.rstrip(), "--role", "viewer", LOG_LEVEL="debug")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer.get("error", {}).get("code", 0) for answer in answers) == [-32700, 0, 0]


def test_nobody_to_vouch_for_is_told_at_once_and_not_on_stdout(gateway: GatewayProcess) -> None:
    done = run(gateway, PING)
    assert (done.returncode, done.stdout) == (65, b"")
    assert b"set STOA_TOKEN, or pass --role" in done.stderr


def test_a_client_is_greeted_before_the_gateway_is_there(gateway: GatewayProcess) -> None:
    with subprocess.Popen(
        [STOA, "stdio", "--catalogue", str(gateway.catalogue), "--role", "viewer"],
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(gateway.data)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(HELLO)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["protocolVersion"] == "2025-11-25"
        spent = sum(map(_cpu_seconds, Path(f"/proc/{process.pid}/task").glob("*/schedstat")))
        print(f"greeted after {spent:.3f} s of CPU")
        assert spent < 1.0
        process.stdin.write(LIST)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"]["tools"]
        process.stdin.close()
        assert process.wait(15) == 0


def _cpu_seconds(schedstat: Path) -> float:
    return int(schedstat.read_text(encoding="ascii").split()[0]) / 1e9


@pytest.mark.parametrize(
    ("environment", "exit_code", "reason"),
    [({"PORT": "no"}, 78, "PORT"), ({"CATALOGUE_PATH": "/nowhere"}, 65, "no such catalogue file or folder: /nowhere")],
)
def test_a_gateway_that_cannot_start_tells_those_who_wait_for_it(
    gateway: GatewayProcess, environment: dict[str, str], exit_code: int, reason: str
) -> None:
    done = subprocess.run(
        forkserver.command(STOA, "stdio", "--role", "viewer"),
        input=HELLO + INITIALIZED + LIST,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(gateway.data), **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == exit_code
    greeted, refused = map(json.loads, done.stdout.splitlines())
    assert greeted["result"]["serverInfo"]["name"] == "stoa-mcp-gateway"
    assert refused["id"] == 2
    assert reason in refused["error"]["message"]
    assert [reason in line.decode() for line in done.stderr.splitlines()] == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_success(gateway: GatewayProcess, number: signal.Signals) -> None:
    process = subprocess.Popen(
        stoa(gateway, "--role", "viewer"),
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(gateway.data)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(PING)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["result"] == {}
        process.send_signal(number)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.communicate()


def test_what_a_tool_prints_does_not_get_into_the_protocol(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import asyncio, os, sys
sys.path.insert(0, {str(EXAMPLE.parent)!r})
import everything
from stoa.application import Gateway
from stoa.interfaces.bootstrap import serve_stdio

async def main():
    container = await everything.everything(8080)
    gateway = await container.get(Gateway)

    @gateway.tool
    def prints() -> str:
        print("from print", flush=True)
        os.system("echo from a child; cat")
        return "done"

    await serve_stdio(container)
    await container.close()

asyncio.run(main())
""")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "prints"}}
    done = subprocess.run(
        forkserver.command(str(program)),
        input=json.dumps(call).encode() + b"\n",
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["result"]["content"][0]["text"] == "done"
    assert b"from print" in done.stderr
    assert b"from a child" in done.stderr
