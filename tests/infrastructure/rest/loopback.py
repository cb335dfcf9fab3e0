"""A back end on a loopback socket that answers chosen bytes and remembers what it was sent, byte for byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import BackendCall, CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import RawAnswer
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.rest import RestBackend


@dataclass
class Seen:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} was sent more than once"
        return values[0] if values else None


class Last(bytes):
    """An answer after which the back end hangs up."""


Answer = bytes | None
"""None: hang up without an answer."""


@dataclass
class Loopback:
    url: str
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)


def answer(
    body: bytes = b"{}", *, status: str = "200 OK", media_type: str = "application/json", more: str = ""
) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@asynccontextmanager
async def loopback(answered: Callable[[Seen], Awaitable[Answer] | Answer]) -> AsyncIterator[Loopback]:
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open_connections += 1
        writers.add(writer)
        try:
            while True:
                seen = await _read(reader)
                server.seen.append(seen)
                given = answered(seen)
                content = given if given is None or isinstance(given, bytes) else await _or_gone(given, reader)
                if content is None:
                    break
                writer.write(content)
                await writer.drain()
                if isinstance(content, Last):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            server.open_connections -= 1
            if not server.open_connections:
                server.all_closed.set()
            writers.discard(writer)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server = Loopback(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield server
    finally:
        listener.close()
        for writer in list(writers):
            writer.close()
        while server.open_connections:
            server.all_closed.clear()
            async with asyncio.timeout(5):
                await server.all_closed.wait()


async def _or_gone(given: Awaitable[Answer], reader: asyncio.StreamReader) -> Answer:
    """What is given in the end, or None when the client hangs up before."""
    waiting, gone = asyncio.ensure_future(given), asyncio.ensure_future(reader.read(1))
    done, _ = await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    for task in {waiting, gone} - done:
        task.cancel()
    await asyncio.wait({waiting, gone})
    return waiting.result() if waiting in done else None


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Seen(method, target, headers, await reader.readexactly(length))


def rest_tool(
    base_url: str, *, method: str = "GET", path: str = "/pets", tool: JsonObject | None = None, **binding: object
) -> Tool:
    bound = RestBinding.model_validate({"method": method, "base_url": base_url, "path": path, **binding})
    return Tool.model_validate({"name": "pets", "binding": bound, **(tool or {})})


def context_of(tool: Tool) -> CallContext:
    return CallContext(Permit(tool.key, ()), Principal.of("ann", roles=["viewer"]), "request-1")


@asynccontextmanager
async def rest_backend(
    credentials: InMemoryCredentialSource | None = None, **options: int
) -> AsyncIterator[RestBackend]:
    backend = RestBackend(credentials or InMemoryCredentialSource(), **options)
    try:
        yield backend
    finally:
        await backend.close()


async def called(backend: RestBackend, tool: Tool, /, **arguments: object) -> RawAnswer:
    call: BackendCall = backend.prepare(tool)
    async with asyncio.timeout(20):
        given = await call(arguments, context_of(tool))
    assert isinstance(given, RawAnswer)
    return given
