"""The yardstick `bare`: the least that turns a tools/call into a GET and its answer into a result. A raw ASGI app
with aiohttp behind it; no authentication, policy, limits, validation, metering or metrics.

    BENCH_UPSTREAM=http://127.0.0.1:8000 uvicorn bench.passthrough:app --loop uvloop --http httptools --no-access-log
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
from pydantic_core import from_json, to_json
from yarl import URL

Message = dict[str, Any]
_JSON_HEADERS = [(b"content-type", b"application/json")]


class PassThrough:
    """To be derived from for another kind of back end."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = to_json(await self._answer(from_json(body)))
        headers = [*_JSON_HEADERS, (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, request: Message) -> Message:
        params = request["params"]
        result: Message = await self._call(params["arguments"])
        if "_meta" in params:
            result["resultType"] = "complete"  # 2026-07-28 wants it, older revisions do not know it
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    async def _call(self, arguments: Message) -> Message:
        assert self._session is not None
        path = f"/items/{quote(str(arguments['id']), safe='')}?q={quote(arguments['q'], safe='')}"
        async with self._session.get(URL(self._upstream + path, encoded=True)) as response:
            text = await response.read()
            is_error = response.status >= 400
        result: Message = {"content": [{"type": "text", "text": text.decode()}], "isError": is_error}
        if not is_error:
            result["structuredContent"] = from_json(text)
        return result

    async def _open(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _lifespan(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._open()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._close()
                await send({"type": "lifespan.shutdown.complete"})
                return


app = PassThrough(os.environ.get("BENCH_UPSTREAM", ""))
