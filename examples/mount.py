"""MCP in a FastAPI service that authenticates its callers itself.

Run it with `uvicorn mount:app` in this folder; it needs the extra `asgi`, fastapi and uvicorn. Then connect an MCP
client to http://127.0.0.1:8000/mcp with the header `X-Api-Key: key-of-ann`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.routing import Route

from stoa.application import Context, Gateway, Principal
from stoa.interfaces.asgi import Scope, mcp_app

CALLERS = {
    "key-of-ann": Principal.of("ann", tenant="acme", roles=["tenant-admin"]),
    "key-of-bob": Principal.of("bob", tenant="acme", roles=["viewer"]),
}
"""In a real service a table of sessions or keys, and a function that says which roles a user has."""

gateway = Gateway()


@gateway.tool(tags=["greetings"])
async def greet(name: str, context: Context) -> dict[str, str]:
    """Greet a person in the caller's name."""
    return {"greeting": f"Hello {name}, says {context.principal.subject}"}


def principal_of(scope: Scope) -> Principal | None:
    """The caller of a request, as the service authenticates it."""
    return CALLERS.get(Headers(scope=scope).get("x-api-key", ""))


mcp = mcp_app(gateway, url="http://127.0.0.1:8000/mcp", principal_of=principal_of)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """MCP's lifespan within the service's own, which also closes the gateway that it made."""
    async with mcp.lifespan():
        yield
    await gateway.close()


app = FastAPI(routes=[Route("/mcp", mcp)], lifespan=lifespan)


@app.get("/hello/{name}")
async def hello(name: str) -> object:
    """The service's own API calls the same tool, with the same rules and metering."""
    outcome = await gateway.invoke("greet", {"name": name}, CALLERS["key-of-bob"])
    return outcome.result.structured if outcome.result else {"error": str(outcome.error)}
