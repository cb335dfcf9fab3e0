"""MCP servers by others as upstreams: the reference servers of npm and PyPI, and FastMCP, each over stdio or HTTP."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.npm_clients import install
from tests.infrastructure.mcp_upstream.peers import ALL, call, gateway_with, text_of, tool_set
from tests.infrastructure.mcp_upstream.test_calls import answering
from tests.live.servers import IS_REQUIRED, LiveServer, running

from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import ImageContent, ResourceLink
from stoa.testing.client_channel import InMemoryClientChannel

SERVERS = Path(__file__).parent / "mcp_servers"
PROGRAMS = SERVERS / "node_modules" / ".bin"
PYTHON = Path(__file__).parent.parent.parent / "var" / "live" / "mcp-servers"
REQUIREMENTS = ("mcp-server-time==2026.10.19", "mcp-server-git==2026.10.19", "fastmcp==4.2.3")


@pytest.fixture(scope="session")
def npm() -> Path:
    install(SERVERS)
    return PROGRAMS


@pytest.fixture(scope="session")
def python() -> Path:
    """The folder of programs of a virtual environment with the Python servers."""
    stamp, wanted = PYTHON / ".installed", "\n".join(REQUIREMENTS)
    if not stamp.exists() or stamp.read_text() != wanted:
        pip = [str(PYTHON / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(PYTHON)], check=True, timeout=120)
            subprocess.run(pip, check=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as failed:
            reason = f"the Python MCP servers cannot be installed: {failed}"
            pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
        stamp.write_text(wanted)
    return PYTHON / "bin"


def listens(port: int) -> bool:
    """These servers answer nothing at their root."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def tools_of(gateway):
    return {tool.name: tool for tool in gateway.registry.catalogue.operations.values() if isinstance(tool, Tool)}


async def check_everything(gateway):
    channel = InMemoryClientChannel(ALL, answering)
    assert text_of(await call(gateway, "e_echo", message="hi")) == "Echo: hi"
    assert text_of(await call(gateway, "e_get-sum", a=1, b=2)) == "The sum of 1 and 2 is 3."
    pictured = (await call(gateway, "e_get-tiny-image")).result.content
    assert any(isinstance(block, ImageContent) for block in pictured)
    linked = await call(gateway, "e_get-resource-links", count=2)
    links = [block for block in linked.result.content if isinstance(block, ResourceLink)]
    assert len(links) == 2
    assert all(link.uri.startswith("e+demo://resource/") for link in links)
    read = await call(gateway, links[1].uri, kind="resource")
    assert read.result.content[0].uri == links[1].uri
    structured = await call(gateway, "e_get-structured-content", location="New York")
    assert structured.result.structured.keys() == {"temperature", "conditions", "humidity"}
    assert "a thought" in text_of(
        await call(gateway, "e_trigger-sampling-request", channel=channel, prompt="x", maxTokens=10)
    )
    assert "User provided" in text_of(await call(gateway, "e_trigger-elicitation-request", channel=channel))
    assert "file:///work" in text_of(await call(gateway, "e_get-roots-list", channel=channel))
    await call(gateway, "e_trigger-long-running-operation", channel=channel, duration=1, steps=2)
    assert channel.progressed == [(1, 2, None), (2, 2, None)]
    prompted = await call(gateway, "e_args-prompt", kind="prompt", city="Paris")
    assert "Paris" in prompted.result.messages[0].content.text


async def test_server_everything_over_stdio(npm):
    async with gateway_with(tool_set("e_", command=str(npm / "mcp-server-everything"), args=["stdio"])) as gateway:
        assert "TOKEN" not in text_of(await call(gateway, "e_get-env"))
        await check_everything(gateway)


class Everything(LiveServer):
    name = "server-everything"
    transport = "streamableHttp"

    @classmethod
    def is_installed(cls) -> bool:
        return True

    def command(self) -> list[str]:
        return ["env", f"PORT={self.port}", str(PROGRAMS / "mcp-server-everything"), self.transport]

    def is_ready(self) -> bool:
        return listens(self.port)


class EverythingSse(Everything):
    transport = "sse"


@pytest.mark.parametrize(
    ("kind", "path", "named"), [(Everything, "/mcp", {}), (EverythingSse, "/sse", {"transport": "sse"})]
)
async def test_server_everything_over_http(npm, tmp_path, kind, path, named):
    with running(kind, tmp_path) as server:
        async with gateway_with(tool_set("e_", url=f"{server.url}{path}", **named)) as gateway:
            await check_everything(gateway)


async def test_server_filesystem_keeps_its_annotations_and_its_bounds(npm, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    program = {"command": str(npm / "mcp-server-filesystem"), "args": [str(tmp_path)]}
    async with gateway_with(tool_set("f_", **program)) as gateway:
        access = {name: tool.access.value for name, tool in tools_of(gateway).items()}
        assert access["f_read_text_file"] == "stoa:read"
        assert access["f_create_directory"] == "stoa:write"
        assert access["f_write_file"] == "stoa:admin"
        assert text_of(await call(gateway, "f_read_text_file", path=str(tmp_path / "a.txt"))) == "hello"
        assert (await call(gateway, "f_read_text_file", path="/etc/hostname")).result.is_error


async def test_server_memory_remembers(npm, tmp_path):
    program = {"command": str(npm / "mcp-server-memory"), "env": {"MEMORY_FILE_PATH": str(tmp_path / "memory.json")}}
    entity = {"name": "a", "entityType": "t", "observations": ["x"]}
    async with gateway_with(tool_set("m_", **program)) as gateway:
        assert (await call(gateway, "m_create_entities", entities=[entity])).result.structured == {"entities": [entity]}
        assert (await call(gateway, "m_read_graph")).result.structured["entities"] == [entity]


async def test_server_time_tells_the_time(python):
    async with gateway_with(tool_set("t_", command=str(python / "mcp-server-time"), sessions="shared")) as gateway:
        assert "Europe/Berlin" in text_of(await call(gateway, "t_get_current_time", timezone="Europe/Berlin"))


async def test_server_git_reads_a_repository(python, tmp_path):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, env=environment)
    program = {"command": str(python / "mcp-server-git"), "args": ["--repository", str(tmp_path)]}
    async with gateway_with(tool_set("g_", **program)) as gateway:
        assert "No commits yet" in text_of(await call(gateway, "g_git_status", repo_path=str(tmp_path)))


_FASTMCP = """
import sys
from fastmcp import Context, FastMCP
server = FastMCP("fast")
@server.tool
def double(n: int) -> int:
    "Doubles."
    return 2 * n
@server.tool
async def report(context: Context) -> str:
    await context.report_progress(1, 1)
    return "reported"
server.run(**({"transport": "http", "port": int(sys.argv[1]), "show_banner": False} if sys.argv[1:] else {}))
"""


class FastMcp(LiveServer):
    name = "fastmcp"

    @classmethod
    def is_installed(cls) -> bool:
        return True

    def command(self) -> list[str]:
        return [str(PYTHON / "bin" / "python"), "-c", _FASTMCP, str(self.port)]

    def is_ready(self) -> bool:
        return listens(self.port)


@pytest.mark.parametrize("revision", [None, "2025-11-25"])
async def test_fastmcp_over_http_and_stdio(python, tmp_path, revision):
    pinned = {} if revision is None else {"protocolVersion": revision}

    async def check(gateway):
        channel = InMemoryClientChannel(ALL, answering)
        assert (await call(gateway, "x_double", n=4)).result.structured == {"result": 8}
        assert text_of(await call(gateway, "x_report", channel=channel)) == "reported"
        assert channel.progressed == [(1, 1, None)]

    async with gateway_with(tool_set("x_", command=str(python / "python"), args=["-c", _FASTMCP], **pinned)) as gateway:
        await check(gateway)
    with running(FastMcp, tmp_path) as server:
        async with gateway_with(tool_set("x_", url=f"{server.url}/mcp", **pinned)) as gateway:
            await check(gateway)
