"""A back end that misbehaves in the way that is named: `graphql WAY` and `mcp WAY` serve HTTP on a loopback port, which
they print; `stdio WAY` is an MCP server over stdio. What is called `good` is answered well.

Run as a file, because programs of upstreams get no module path.
"""

import asyncio
import gzip
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

MIB = 2**20
Parts = Iterator[bytes]
_LOG = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
_CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def _head(media_type: str, *lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Type: {media_type}", *lines, "", ""]).encode()


def _whole(body: bytes, *lines: str) -> bytes:
    return _head("application/json", f"Content-Length: {len(body)}", *lines) + body


def _endless(head: bytes, part: bytes) -> Parts:
    yield head
    while True:
        yield part


def _drip(head: bytes) -> Parts:
    yield head
    while True:
        time.sleep(1)
        yield b"x"


def _data(books: str) -> Parts:
    yield _whole(f'{{"data":{{"books":{books}}}}}'.encode())


def _errors() -> Parts:
    errors = [{"message": "no" * 20, "path": ["a", n], "extensions": {"stack": "y" * 100}} for n in range(30_000)]
    yield _whole(json.dumps({"data": None, "errors": errors}).encode())


_LONG = _head("application/json", f"Content-Length: {100 * MIB}")
_CHUNKED = _head("application/json", "Transfer-Encoding: chunked")
_EVENTS = _head("text/event-stream")
GRAPHQL: dict[str, Callable[[], Parts]] = {
    "100 MiB": lambda: _endless(_LONG, b"x" * MIB),
    "chunks of a byte without end": lambda: _endless(_CHUNKED, b"1\r\nx\r\n" * 20_000),
    "a byte a second": lambda: _drip(_head("application/json", "Content-Length: 1000")),
    "100 MiB in a gzip": lambda: iter([_whole(gzip.compress(b"x" * 100 * MIB), "Content-Encoding: gzip")]),
    "30,000 errors": _errors,
    "100,000 levels": lambda: _data("[" * 100_000 + "]" * 100_000),
    "125,000 wrong entries": lambda: _data("[" + "1," * 125_000 + "1]"),
    "25,000 wrong members": lambda: _data("[" + '{"id":[]},' * 25_000 + "1]"),
}


def _result(request: Any, **members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": members}).encode()


def _progress(request: Any) -> Any:
    token = request["params"].get("_meta", {}).get("progressToken", 0)
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}


def _asks(number: int) -> bytes:
    text = {"role": "user", "content": {"type": "text", "text": "x" * 1000}}
    params = {"messages": [text], "maxTokens": 1}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "sampling/createMessage", "params": params}).encode()


MESSAGES: dict[str, Callable[[Any], Parts]] = {
    "log messages without end": lambda _: _endless(b"", json.dumps(_LOG).encode()),
    "progress without end": lambda request: _endless(b"", json.dumps(_progress(request)).encode()),
    "changes of lists without end": lambda _: _endless(b"", json.dumps(_CHANGED).encode()),
    "100,000 client requests": lambda _: map(_asks, range(100_000)),
    "80,000 wrong entries": lambda r: iter([_result(r, content=[], structuredContent={"a": [{}] * 80_000})]),
    "200,000 blocks": lambda r: iter([_result(r, content=[{"type": "text", "text": "x"}] * 200_000)]),
    "nothing": lambda _: iter(()),
}
"""Messages of a call, over both transports."""
LINES: dict[str, bytes] = {"a line without end": b"x" * MIB, "empty lines": b"\n" * 10_000, "noise": b"x\n" * 10_000}
EVENTS: dict[str, bytes] = {"an event without end": b"x" * MIB, "comments without end": b":\n" * 10_000}
STDIO = (*MESSAGES, *LINES, "stderr without end")
MCP = (*MESSAGES, *EVENTS)


def _answered(request: Any) -> bytes | None:
    """None: the call that is answered badly."""
    match request.get("method"):
        case "initialize":
            told = {"tools": {"listChanged": True}, "logging": {}}
            return _result(request, protocolVersion="2025-11-25", capabilities=told, serverInfo={"name": "hostile"})
        case "tools/list":
            return _result(
                request, tools=[{"name": name, "inputSchema": {"type": "object"}} for name in ("bad", "good")]
            )
        case "tools/call" if request["params"]["name"] != "good":
            return None
        case _:
            return _result(request, content=[{"type": "text", "text": "good"}])


def _graphql(way: str, body: bytes) -> Parts:
    return _data("[]") if b'"good"' in body or way == "good" else GRAPHQL[way]()


def _mcp(way: str, body: bytes) -> Parts:
    request: Any = json.loads(body) if body else {}
    if not body:  # the session's own stream
        return _drip(_EVENTS + b":")
    if "id" not in request or "method" not in request:
        return iter([b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"])
    answer = _answered(request)
    if answer is not None:
        return iter([_whole(answer, "Mcp-Session-Id: s")])
    if way in EVENTS:
        return _endless(_EVENTS, EVENTS[way])
    return _as_events(MESSAGES[way](request))


def _as_events(messages: Parts) -> Parts:
    yield _EVENTS
    for message in messages:
        yield b"data: " + message + b"\n\n"


def _stdio(way: str) -> None:
    out = sys.stdout.buffer
    for line in sys.stdin:
        request = json.loads(line)
        answer = _answered(request) if "id" in request else b""
        if answer is None and way == "stderr without end":
            while True:
                sys.stderr.write("x" * 200 + "\n")
        for part in (
            [answer] if answer is not None else MESSAGES[way](request) if way in MESSAGES else _endless(b"", LINES[way])
        ):
            out.write(part if way in LINES and answer is None else part + b"\n")
            if answer is not None or not way.endswith("end"):
                out.flush()


async def _serve(answer: Callable[[str, bytes], Parts], way: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                for part in answer(way, await reader.readexactly(int(lengths[0][15:])) if lengths else b""):
                    writer.write(part)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=4 * MIB)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, transport, way = sys.argv
    if transport == "stdio":
        _stdio(way)
    else:
        asyncio.run(_serve(_graphql if transport == "graphql" else _mcp, way))
