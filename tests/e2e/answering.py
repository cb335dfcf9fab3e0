"""What the official Python client answers when it is asked, and the text of what a tool answers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
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


async def sampled(_: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
    (message,) = params.messages
    assert isinstance(message.content, TextContent)
    return CreateMessageResult(
        role="assistant", content=TextContent(type="text", text=message.content.text.upper()), model="m"
    )


async def filled_in(_: Any, params: ElicitRequestParams) -> ElicitResult:
    fields = params.requested_schema["properties"]  # type: ignore[union-attr]
    return ElicitResult(action="accept", content={name: f"my {name}" for name in fields})


async def roots(_: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///work", name="work")])  # type: ignore[arg-type]


@asynccontextmanager
async def connected(url: str, mode: str, *, keeps_connections: bool = True, **callbacks: Any) -> AsyncGenerator[Client]:
    limits = httpx2.Limits(max_keepalive_connections=None if keeps_connections else 0)
    async with httpx2.AsyncClient(trust_env=False, timeout=20, limits=limits) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=20, **callbacks) as client:
            yield client


async def is_asked_everything(client: Client) -> None:
    """By the tools of examples/everything.py, and answers as CALLBACKS do."""
    assert await text_of(client, "test_sampling", prompt="hi") == "LLM response: HI"
    answered = await text_of(client, "test_elicitation", message="Who?")
    assert "action=accept" in answered
    assert "my username" in answered
    several = await text_of(client, "test_input_required_result_multiple_inputs")
    assert several == "answered: client_roots, greeting, user_name"
    assert "my color" in await text_of(client, "test_input_required_result_multi_round")


async def text_of(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


CALLBACKS: dict[str, Any] = {
    "sampling_callback": sampled,
    "elicitation_callback": filled_in,
    "list_roots_callback": roots,
}
