"""One `tools/call` through the ASGI application, warm and in process: the subject of the call budget and of `trace`."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.errors import CannotMeasure
from bench.stages import Parts
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.interfaces.http.guard import Guard
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


@asynccontextmanager
async def warm_call(directory: Path, version: str) -> AsyncGenerator[Call]:
    """A call from the ASGI scope to the last byte of its answer, everything on: token, WebAssembly policy, limits, the
    outbox, metrics, audit; its back end answers at once."""
    parts = Parts(directory)
    resource = ProtectedResource("http://gw/mcp", "http://gw/m", parts.verifier.issuers)
    states = RequestStates(bytes(32), parts.clock, resource.url)
    sessions = Sessions(InMemorySessionStore(parts.clock), Streams(InMemoryEventStore()))
    engine = build_engine(parts.gateway(), resource, "1", states=states, sessions=sessions, bus=None, clock=parts.clock)
    app = Guard(StreamableHttp(engine), hosts=("gw",), origins=())
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
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer: list[bytes] = []

    async def send(message: Any) -> None:
        answer.append(message.get("body", b""))

    async def call(number: int) -> bytes:
        params: dict[str, Any] = {"name": "getPet", "arguments": {"petId": number}}
        if version == STATELESS:
            params["_meta"] = meta
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "path": "/mcp", "method": "POST", "query_string": b"", "headers": raw}
        answer.clear()
        await app(scope, receive, send)
        return b"".join(answer)

    for number in range(1, _WARM_UP_CALLS):  # caches are warm, as they are under load
        body = await call(number)
        if json.loads(body)["result"]["structuredContent"]["name"] != "Rex":
            raise CannotMeasure(f"a call was answered with {body.decode()}")
    yield call
    await engine.close()
    await parts.close()
