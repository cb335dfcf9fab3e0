"""MCP servers by others behind one `stoa serve`, driven through /mcp by the official Python client."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, Upstream, serving
from tests.infrastructure.mcp_upstream.peers import tool_set
from tests.live.servers import running
from tests.live.test_mcp import Everything, FastMcp, npm, python  # noqa: F401  # fixtures
from tests.live.test_serve import connected


def named(prefix: str, **mcp: Any) -> dict[str, Any]:
    return {**tool_set(prefix, **mcp), "metadata": {"name": prefix.rstrip("_")}}


@pytest.fixture(scope="module")
def gateway(
    npm: Path,  # noqa: F811
    python: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    home, folder = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("files")
    (folder / "a.txt").write_text("hello")
    subprocess.run(["git", "init", "-q", str(folder)], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})
    with ExitStack() as stack:
        everything = stack.enter_context(running(Everything, tmp_path_factory.mktemp("everything")))
        fast = stack.enter_context(running(FastMcp, tmp_path_factory.mktemp("fast")))
        second = GatewayProcess(tmp_path_factory.mktemp("second"))
        upstream = stack.enter_context(Upstream().listening())
        write(second, "tools.yaml", tool("weather", f"{upstream.url}/weather"))
        stack.enter_context(serving(second))
        secrets = home / "secrets"
        (secrets / "_global" / "second").mkdir(parents=True)
        (secrets / "_global" / "second" / "token").write_text(second.token("viewer", "acme"))
        gateway = GatewayProcess(home, {"SECRETS_DIR": str(secrets)})
        of_second = named("s_", url=f"{second.url}/mcp")
        of_second["spec"]["toolDefaults"] = {"authentication": {"type": "bearer", "secretRef": {"name": "second"}}}
        memory = {"MEMORY_FILE_PATH": str(folder / "memory.json")}
        write(
            gateway,
            "upstreams.yaml",
            named("e_", url=f"{everything.url}/mcp"),
            named("f_", command=str(npm / "mcp-server-filesystem"), args=[str(folder)]),
            named("m_", command=str(npm / "mcp-server-memory"), env=memory),
            named("t_", command=str(python / "mcp-server-time")),
            named("g_", command=str(python / "mcp-server-git"), args=["--repository", str(folder)]),
            named("x_", url=f"{fast.url}/mcp"),
            of_second,
        )
        stack.enter_context(serving(gateway))
        gateway.folder = folder  # type: ignore[attr-defined]
        yield gateway


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_tools_of_every_server_are_called_through_one_door(gateway: GatewayProcess, mode: str) -> None:
    folder = str(gateway.folder)  # type: ignore[attr-defined]
    entity = {"name": f"of-{mode}", "entityType": "t", "observations": ["x"]}
    calls: dict[str, tuple[dict[str, Any], str]] = {
        "e_get-sum": ({"a": 1, "b": 2}, "is 3"),
        "f_read_text_file": ({"path": f"{folder}/a.txt"}, "hello"),
        "m_create_entities": ({"entities": [entity]}, f"of-{mode}"),
        "t_get_current_time": ({"timezone": "Europe/Berlin"}, "Europe/Berlin"),
        "g_git_status": ({"repo_path": folder}, "No commits yet"),
        "x_double": ({"n": 4}, "8"),
        "s_weather": ({}, ""),
    }
    async with connected(gateway, gateway.token("devops", "acme"), mode) as client:
        names = {each.name for each in (await client.list_tools()).tools}
        assert calls.keys() <= names
        for name, (arguments, text) in calls.items():
            given = await client.call_tool(name, arguments)
            assert not given.is_error, (name, given)
            assert text in given.content[0].text, (name, given)
        refused = await client.call_tool("f_read_text_file", {"path": "/etc/hostname"})
        assert refused.is_error


async def test_clients_are_asked_and_told_through_both_servers(gateway: GatewayProcess) -> None:
    told: list[float] = []

    async def progress(value: float, total: float | None, message: str | None) -> None:
        told.append(value)

    async def elicited(_: Any, request: Any) -> Any:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def sampled(_: Any, request: Any) -> Any:
        content = types.TextContent(type="text", text="a thought")
        return types.CreateMessageResult(role="assistant", content=content, model="m")

    async with (
        httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {gateway.token('devops', 'acme')}"}, trust_env=False, timeout=20
        ) as http,
        Client(
            streamable_http_client(f"{gateway.url}/mcp", http_client=http),
            mode="legacy",
            read_timeout_seconds=20,
            elicitation_callback=elicited,
            sampling_callback=sampled,
        ) as client,
    ):
        sampling = await client.call_tool("e_trigger-sampling-request", {"prompt": "x", "maxTokens": 10})
        assert "a thought" in sampling.content[0].text
        asked = await client.call_tool("e_trigger-elicitation-request", {})
        assert "User provided" in asked.content[0].text
        await client.call_tool(
            "e_trigger-long-running-operation", {"duration": 1, "steps": 2}, progress_callback=progress
        )
        prompt = await client.get_prompt("e_args-prompt", {"city": "Paris"})
        assert "Paris" in prompt.messages[0].content.text
        resources = (await client.list_resources()).resources
        read = await client.read_resource(next(str(each.uri) for each in resources if str(each.uri).startswith("e+")))
        assert read.contents
    assert told == [1, 2]
