"""What the official Python client answers when it is asked, and the text of what a tool answers."""

from typing import Any

from mcp import Client
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
