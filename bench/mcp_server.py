"""The upstream MCP server of `python -m bench mcp`, and the pass-through in front of it, as raw ASGI apps.

uvicorn bench.mcp_server:app                                      # the server; GET /status counts its calls
BENCH_UPSTREAM=http://127.0.0.1:8000 uvicorn bench.mcp_server:passthrough
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from pydantic_core import from_json, to_json
from yarl import URL

Message = dict[str, Any]
_JSON_HEADERS = [(b"content-type", b"application/json")]
_SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "q": {"type": "string"}},
    "required": ["id"],
    "additionalProperties": False,
}
_calls = 0
_session: aiohttp.ClientSession | None = None


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"] == "/status":
        await _answer(send, str(_calls).encode())
    else:
        await _answer(send, _answered(from_json(await _body(receive))))


async def passthrough(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The least that any Python proxy pays: the body and the headers of MCP go on, and the answer comes back."""
    global _session  # noqa: PLW0603  # one for the process, as for an application
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if _session is None:
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    headers = {
        name.decode(): value.decode()
        for name, value in scope["headers"]
        if name in {b"content-type", b"accept"} or name.startswith(b"mcp-")
    }
    url = URL(os.environ["BENCH_UPSTREAM"] + "/mcp")
    async with _session.post(url, data=await _body(receive), headers=headers) as response:
        await _answer(send, await response.read())


def _answered(request: Message) -> bytes:
    global _calls  # noqa: PLW0603
    method = request.get("method")
    if method == "tools/call":
        _calls += 1
        arguments = request["params"]["arguments"]
        item = arguments["id"]
        content = {
            "id": item,
            "name": f"Item {item}",
            "query": arguments.get("q", ""),
            "price": 12.5,
            "inStock": True,
        }
        text = {"type": "text", "text": to_json(content).decode()}
        return _result(request, {"content": [text], "structuredContent": content, "isError": False})
    if method == "server/discover":
        return _result(request, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
    if method == "tools/list":
        tool = {"name": "get_item", "inputSchema": _SCHEMA, "annotations": {"readOnlyHint": True}}
        return _result(request, {"tools": [tool], "ttlMs": 0, "cacheScope": "private"})
    error = {"code": -32601, "message": "Method not found"}
    return to_json({"jsonrpc": "2.0", "id": request.get("id"), "error": error})


def _result(request: Message, result: Message) -> bytes:
    return to_json({"jsonrpc": "2.0", "id": request["id"], "result": {**result, "resultType": "complete"}})


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Callable[[Message], Awaitable[None]], body: bytes) -> None:
    headers = [*_JSON_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})
