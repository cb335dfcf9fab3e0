"""Many MCP clients in one process, as lean as they come: bytes over asyncio streams, no HTTP library.

They speak 2025-11-25 with a session and its streams, and 2026-07-28 with `subscriptions/listen`. A stream that is cut
comes back with the last event id that it has read, as clients do.
"""

import asyncio
import json
import resource
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench.errors import CannotMeasure

HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"
_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "stoa-bench", "version": "1"}
_ENVELOPE = {f"{_META}protocolVersion": STATELESS, f"{_META}clientCapabilities": {}, f"{_META}clientInfo": _CLIENT}


def allow_connections(number: int) -> None:
    """Raise the soft limit of open files, which children inherit, to at least `number`; it is never lowered. A gateway
    keeps a quarter of it free. Raises CannotMeasure when the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        raise CannotMeasure(f"{number} open files are needed and {hard} allowed (ulimit -Hn); use fewer --sessions")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway is, and as whom to come."""

    port: int
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def connect(self) -> "Wire":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Wire(self.port, reader, writer)


class Wire:
    """One HTTP/1.1 connection."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def send(self, method: str, headers: Mapping[str, str], message: Any = None) -> None:
        """A request; returns when the head of its answer is there. Raises ConnectionError."""
        body = b"" if message is None else json.dumps(message).encode()
        sent = {
            "Host": f"127.0.0.1:{self._port}",
            "Accept": "application/json, text/event-stream" if body else "text/event-stream",
            **({"Content-Type": "application/json", "Content-Length": str(len(body))} if body else {}),
            **headers,
        }
        lines = [f"{method} /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}

    async def body(self) -> Any:
        """The JSON that answers; None for nothing."""
        text = await self._exactly(int(self.headers.get("content-length", 0)))
        return json.loads(text) if text else None

    async def events(self) -> AsyncGenerator[tuple[str, Any]]:
        """Id and message of each event, the message None where there is none, until the stream ends."""
        while size := int(await self._until(b"\r\n"), 16):
            chunk = (await self._exactly(size + 2))[:-2].decode()
            for block in chunk.split("\n\n"):
                fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
                if "data" in fields:
                    yield fields.get("id", ""), json.loads(fields["data"]) if fields["data"] else None

    def cut(self) -> None:
        """As a network does it: nothing more is sent, and nothing more is read."""
        self._writer.transport.abort()

    async def _until(self, separator: bytes) -> bytes:
        try:
            return await self._reader.readuntil(separator)
        except asyncio.IncompleteReadError as end:
            raise ConnectionResetError("the connection was closed") from end

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as end:
            raise ConnectionResetError("the connection was closed") from end


class Stream:
    """An event stream that comes back wherever it was cut, until its answer has come or it is stopped.

    `message`: the request that it answers; without one it is the session's own.
    """

    def __init__(self, door: Door, session: "Session", message: Any = None) -> None:
        self._door, self._session, self._message = door, session, message
        self._wire: Wire | None = None
        self._last_id = ""
        self.events: list[tuple[str, Any]] = []
        """All but those without a message."""
        self.is_open = asyncio.Event()
        """The client can come back from here on."""
        self.refused: list[int] = []
        self.is_stopped = False
        self.away_seconds = 0.0
        """Before it comes back."""

    async def run(self) -> None:
        while not self.is_stopped:
            with suppress(ConnectionError):
                self._wire = await self._door.connect()
                await self._ask(self._wire)
                if self._wire.status != 200:
                    self.refused.append(self._wire.status)
                    return
                if await self._read(self._wire):
                    self._wire.cut()
                    return
            self.is_open.clear()
            await asyncio.sleep(self.away_seconds)

    async def _ask(self, wire: Wire) -> None:
        if self._last_id or self._message is None:
            again = {"Last-Event-ID": self._last_id} if self._last_id else {}
            await wire.send("GET", self._session.headers | again)
        else:
            await wire.send("POST", self._session.headers, self._message)

    async def _read(self, wire: Wire) -> bool:
        """Whether the answer has come. A stream that was resumed begins where it was left, with no event of its own."""
        if self._last_id:
            self.is_open.set()
        async for event_id, message in wire.events():
            self._last_id = event_id or self._last_id
            self.is_open.set()
            if message is not None:
                self.events.append((event_id, message))
                if "result" in message or "error" in message:
                    return True
        return False

    def cut(self) -> bool:
        """Whether there was something to cut."""
        if self._wire is None or not self.is_open.is_set():
            return False
        self.is_open.clear()
        self._wire.cut()
        return True

    def stop(self) -> None:
        self.is_stopped = True
        if self._wire is not None:
            self._wire.cut()


class Session:
    """A client of the handshake era."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.headers = door.headers
        self.own = Stream(door, self)

    async def open(self, wire: Wire, watched: tuple[str, ...] = ()) -> None:
        """Over a connection that others may use before and after."""
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": _CLIENT}
        await self.post(wire, "initialize", params)
        self.headers |= {"Mcp-Session-Id": wire.headers["mcp-session-id"], "MCP-Protocol-Version": HANDSHAKE}
        await wire.send("POST", self.headers, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        if wire.status != 202:
            raise CannotMeasure(f"notifications/initialized was answered with HTTP {wire.status}")
        for uri in watched:
            await self.post(wire, "resources/subscribe", {"uri": uri})

    async def post(self, wire: Wire, method: str, params: Any) -> Any:
        """The result. Raises CannotMeasure for an error."""
        await wire.send("POST", self.headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        answer = await wire.body()
        if wire.status != 200 or "result" not in answer:
            raise CannotMeasure(f"{method} was answered with HTTP {wire.status}: {answer}")
        return answer["result"]

    def asking(self, tool: str, **arguments: Any) -> Stream:
        """The stream that answers a call and tells its steps."""
        params = {"name": tool, "arguments": arguments}
        return Stream(self._door, self, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})


async def listen(door: Door, request_id: int | str) -> Wire:
    """`subscriptions/listen` of the stateless era; look at the status, then read the events."""
    wire = await door.connect()
    params = {"notifications": {"resourcesListChanged": True}, "_meta": _ENVELOPE}
    message = {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen", "params": params}
    own = {"MCP-Protocol-Version": STATELESS, "Mcp-Method": "subscriptions/listen"}
    await wire.send("POST", door.headers | own, message)
    return wire
