"""The example of a service with MCP in it runs as it is shipped."""

import importlib.util
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.processes import asgi_upstream

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mount.py"


def shipped_app() -> Any:
    spec = importlib.util.spec_from_file_location("mount_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_mount_example_greets_in_the_callers_name(mode):
    with asgi_upstream(shipped_app()) as url:
        async with httpx2.AsyncClient(headers={"x-api-key": "key-of-ann"}, trust_env=False) as http:
            async with Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client:
                result = await client.call_tool("greet", {"name": "Eve"})
                assert result.structured_content == {"greeting": "Hello Eve, says ann"}
            assert (await http.get(f"{url}/hello/Eve")).json() == {"greeting": "Hello Eve, says bob"}
