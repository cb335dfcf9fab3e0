"""Answers with the path that a request means to an ASGI server: decoded."""

from collections.abc import Awaitable, Callable
from typing import Any


async def app(scope: dict[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain")]  # and no length, so that the answer comes in chunks
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
