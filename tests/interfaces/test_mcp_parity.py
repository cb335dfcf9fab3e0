"""A tool of an upstream MCP server behind every door: decided, metered, audited and answered alike."""

import pytest
from tests.infrastructure.mcp_upstream.peers import stoa_server
from tests.interfaces.doors import new_world
from tests.interfaces.test_parity import DOORS, Call, _recorded

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.operations.access import Access
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import ToolResult
from stoa.infrastructure.mcp_upstream import McpBackend, McpUpstreams
from stoa.infrastructure.mcp_upstream.binding import McpBinding, McpServer

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CALLS = [
    (Call("up-echo", {"text": "hi"}, "alpha-viewer", None, 0), "success", '{"text":"hi"}'),
    (Call("up-echo", {}, "alpha-viewer", None, 0), "invalid", "Invalid arguments"),
    (Call("up-refuse", {"text": "x"}, "alpha-viewer", None, 0), "error", "short and stout"),
    (Call("up-unknown", {"text": "x"}, "alpha-viewer", None, 0), "error", "Unknown tool: unknown [-32602]"),
    (Call("up-write", {"text": "x"}, "alpha-viewer", None, 0), "unauthorized", "Not permitted"),
]


@pytest.mark.parametrize(("call", "status", "text"), CALLS, ids=lambda value: getattr(value, "tool", ""))
async def test_mcp_tool_is_decided_answered_metered_and_audited_alike_by_every_door(call, status, text):
    upstream = Gateway()

    @upstream.tool
    def echo(text: str) -> dict[str, str]:
        return {"text": text}

    @upstream.tool
    def refuse(text: str) -> ToolResult:
        return ToolResult.error("short and stout")

    recorded = {}
    async with stoa_server(upstream) as url:
        for name, door in DOORS.items():
            backend = McpBackend(McpUpstreams(InMemoryCredentialSource()))
            world = new_world(backends=[backend])
            for tool in ("echo", "refuse", "unknown", "write"):
                access = Access.WRITE if tool == "write" else Access.READ
                binding = McpBinding(server=McpServer(url=url), name=tool, access=access)
                world.gateway.add(Tool(name=f"up-{tool}", input_schema=TEXT, binding=binding))
            said = await door(world, call)
            await backend.close()
            assert text.replace(" ", "") in said.text.replace(" ", ""), name
            recorded[name] = _recorded(world)
            assert recorded[name]["event"]["status"] == status, name
            assert recorded[name] == recorded["library"], name
