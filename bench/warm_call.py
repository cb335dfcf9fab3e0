"""One `tools/call` through the ASGI application, warm and in process: the subject of the call budget and of `trace`."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.flow_control import FlowControl

from bench.errors import CannotMeasure
from bench.stages import Parts
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.interfaces.http.cycle import RequestCycle, json_head
from stoa.interfaces.http.guard import Guard, Scope
from stoa.interfaces.http.request_head import RequestHead
from stoa.interfaces.http.short_way import ShortWay
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.engine.composition import build_engine
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.transports.streamable_http import StreamableHttp
from stoa.interfaces.wire.challenge import ProtectedResource

STATELESS = "2026-07-28"
_META = "io.modelcontextprotocol/"
_WARM_UP_CALLS = 50

Call = Callable[[int], Awaitable[bytes]]
"""Makes one call with the given number as its argument and request id; returns the body of the answer."""


class _Connection:
    """A connection that keeps what is written."""

    client = ("127.0.0.1", 1)

    def __init__(self) -> None:
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.answer: list[bytes] = []
        self.outlet = self
        self.flow = FlowControl(asyncio.Transport())
        self._json_head = json_head(self.default_headers)

    def json_head(self) -> bytes:
        return self._json_head

    def write(self, data: bytes) -> None:
        self.answer.append(data)

    def close(self) -> None:
        """Stays open."""

    def is_closing(self) -> bool:
        return False

    def scope_of(self, head: RequestHead) -> Scope:
        raise CannotMeasure(f"{head.target.decode()} did not go the short way")

    def on_answered(self) -> None:
        """Nothing waits for it."""


async def _unserved(*_: Any) -> None:
    """The application, to which no request comes."""


@asynccontextmanager
async def warm_call(directory: Path, version: str) -> AsyncGenerator[Call]:
    """A call from the parsed head and body of its request to the last byte of its answer, everything on: token,
    WebAssembly policy, limits, the outbox, metrics, audit; its back end answers at once."""
    parts = Parts(directory)
    resource = ProtectedResource("http://gw/mcp", "http://gw/m", parts.verifier.issuers)
    states = RequestStates(bytes(32), parts.clock, resource.url)
    sessions = Sessions(InMemorySessionStore(parts.clock), Streams(InMemoryEventStore()))
    engine = build_engine(parts.gateway(), resource, "1", states=states, sessions=sessions, bus=None, clock=parts.clock)
    mcp = StreamableHttp(engine)
    short_way = ShortWay(Guard(mcp, hosts=("gw",), origins=()), mcp.answer_whole)
    connection = _Connection()
    meta = {f"{_META}protocolVersion": version, f"{_META}clientCapabilities": {}}
    headers = {
        "host": "gw",
        "authorization": f"Bearer {parts.token.value}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
        "mcp-method": "tools/call",
        "mcp-name": "getPet",
    }
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]

    # One for all calls: a connection recognises a head that its client repeats.
    head = RequestHead(b"POST", "1.1", b"/mcp", fields, dict(fields), expects_continue=False)

    async def call(number: int) -> bytes:
        params: dict[str, Any] = {"name": "getPet", "arguments": {"petId": number}}
        if version == STATELESS:
            params["_meta"] = meta
        body = to_json({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        cycle = RequestCycle(head, connection, keep_alive=True, body=body)
        connection.answer.clear()
        await cycle.run(_unserved, short_way, set())
        return b"".join(connection.answer).partition(b"\r\n\r\n")[2]

    for number in range(1, _WARM_UP_CALLS):  # caches are warm, as they are under load
        body = await call(number)
        if json.loads(body)["result"]["structuredContent"]["name"] != "Rex":
            raise CannotMeasure(f"a call was answered with {body.decode()}")
    yield call
    await engine.close()
    await parts.close()
