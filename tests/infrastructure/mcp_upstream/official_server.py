"""An MCP server of the official SDK, over HTTP in the tests' process and over stdio as a program of its own."""

import asyncio
import os
import sys
import warnings
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion, SamplingMessage, TextContent, ToolAnnotations
from pydantic import BaseModel, Field


class Name(BaseModel):
    name: str


def official() -> MCPServer:  # noqa: C901  # one function for each tool
    server = MCPServer("official", title="Official", instructions="Be polite.", version="3")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True))
    def add(a: int, b: Annotated[int, Field(description="The other one.")]) -> int:
        """Adds."""
        return a + b

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    def destroy() -> str:
        """Destroys."""
        return "destroyed"

    @server.tool()
    def fail() -> str:
        """Fails."""
        raise ValueError("no")

    @server.tool()
    async def report(context: Context) -> str:
        """Says how far it is."""
        await context.report_progress(1, 2, "half")
        with warnings.catch_warnings(action="ignore"):  # logging is deprecated, and clients use it
            await context.info("working")
        await context.report_progress(2, 2, "whole")
        return "reported"

    @server.tool()
    async def greet(context: Context) -> str:
        """Asks who you are."""
        answer = await context.elicit("Who are you?", Name)
        return f"Hello, {answer.data.name}!" if answer.action == "accept" else "Hello, stranger!"

    @server.tool()
    async def think(context: Context) -> str:
        """Asks a model."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text="think"))
        with warnings.catch_warnings(action="ignore"):
            answer = await context.session.create_message([message], max_tokens=10)
        return f"thought: {answer.content.text}"

    @server.tool()
    def session(context: Context) -> str:
        """Names the session of the call."""
        return (context.headers or {}).get("mcp-session-id", "(none)")

    @server.tool()
    async def wait(seconds: float) -> str:
        """Waits."""
        await asyncio.sleep(seconds)
        return "waited"

    @server.tool()
    def process() -> str:
        """Names its process."""
        return str(os.getpid())

    @server.tool()
    def variable(name: str) -> str:
        """Reads a variable of its environment."""
        return os.environ.get(name, "(none)")

    @server.tool()
    def die() -> str:
        """Ends the process."""
        os._exit(3)

    @server.resource("demo://one", mime_type="text/plain")
    def one() -> str:
        """One."""
        return "one"

    @server.resource("demo://number/{number}")
    def number(number: str) -> str:
        """A number."""
        return f"number {number}"

    @server.prompt()
    def hello(name: str) -> str:
        """Greets."""
        return f"Say hello to {name}"

    @server.completion()
    async def complete(reference, argument, context):
        return Completion(values=[f"{argument.value}-1", f"{argument.value}-2"])

    return server


if __name__ == "__main__":
    print("started", os.environ.get("TOKEN", ""), file=sys.stderr, flush=True)
    official().run("stdio")
