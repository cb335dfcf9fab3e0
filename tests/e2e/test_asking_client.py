"""The official Python client is told and asked by the tools of examples/everything.py, in both eras of the protocol."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)
from tests.e2e.processes import free_port, until

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "everything.py"
MODES = ["legacy", "auto", "2026-07-28"]

pytestmark = pytest.mark.xdist_group("e2e-asking-client")


def is_live(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home, port = tmp_path_factory.mktemp("everything"), free_port()
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, EXAMPLE, str(port)],
            env={**environment, "DATA_DIR": str(home / "data")},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: is_live(port), within=30)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        server.wait(10)


async def _sampled(_: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
    (message,) = params.messages
    assert isinstance(message.content, TextContent)
    return CreateMessageResult(
        role="assistant", content=TextContent(type="text", text=message.content.text.upper()), model="m"
    )


async def _filled_in(_: Any, params: ElicitRequestParams) -> ElicitResult:
    fields = params.requested_schema["properties"]  # type: ignore[union-attr]
    return ElicitResult(action="accept", content={name: f"my {name}" for name in fields})


async def _roots(_: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///work", name="work")])  # type: ignore[arg-type]


@asynccontextmanager
async def connected(url: str, mode: str, *, keeps_connections: bool = True, **callbacks: Any) -> AsyncGenerator[Client]:
    limits = httpx2.Limits(max_keepalive_connections=None if keeps_connections else 0)
    async with httpx2.AsyncClient(trust_env=False, timeout=20, limits=limits) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=20, **callbacks) as client:
            yield client


async def text_of(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


CALLBACKS: dict[str, Any] = {
    "sampling_callback": _sampled,
    "elicitation_callback": _filled_in,
    "list_roots_callback": _roots,
}


async def is_asked_everything(client: Client) -> None:
    assert await text_of(client, "test_sampling", prompt="hi") == "LLM response: HI"
    answered = await text_of(client, "test_elicitation", message="Who?")
    assert "action=accept" in answered
    assert "my username" in answered
    several = await text_of(client, "test_input_required_result_multiple_inputs")
    assert several == "answered: client_roots, greeting, user_name"
    assert "my color" in await text_of(client, "test_input_required_result_multi_round")


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_asks_the_model_the_user_and_for_the_folders(url: str, mode: str) -> None:
    async with connected(url, mode, **CALLBACKS) as client:
        await is_asked_everything(client)


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_tells_how_far_it_is(url: str, mode: str) -> None:
    seen: list[tuple[float, float | None]] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        assert message is not None
        seen.append((progress, total))

    async with connected(url, mode) as client:
        await client.call_tool("test_tool_with_progress", {}, progress_callback=progressed)
    assert seen == [(0, 100), (50, 100), (100, 100)]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_cannot_be_asked_is_told_so(url: str, mode: str) -> None:
    async with connected(url, mode) as client:
        if mode == "legacy":
            assert (await client.call_tool("test_missing_capability", {})).is_error
        else:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("test_missing_capability", {})
            assert refused.value.code == -32021
