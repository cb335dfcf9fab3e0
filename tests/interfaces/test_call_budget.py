"""What one governed tools/call over MCP may cost, in units that do not depend on the machine: Python functions called,
and bytes that are allocated at the same time. A change that needs more has to say so here."""

import asyncio
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
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

CALLS = {"2026-07-28": 208, "2025-11-25": 203}
"""Python functions, those of libraries and of asyncio included. One of them finds the task that a shutdown may cut."""
BYTES = 12 * 1024

_META = "io.modelcontextprotocol/"
Call = Callable[[int], Awaitable[bytes]]


@pytest.fixture(params=list(CALLS))
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def call(tmp_path: Path, version: str) -> AsyncIterator[Call]:
    """A call from the ASGI scope to the last byte of its answer, everything on: token, WebAssembly policy, limits, the
    outbox, metrics, audit; its back end answers at once."""
    parts = Parts(tmp_path)
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

    async def made(number: int) -> bytes:
        params: dict[str, Any] = {"name": "getPet", "arguments": {"petId": number}}
        if version == "2026-07-28":
            params["_meta"] = meta
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "path": "/mcp", "method": "POST", "query_string": b"", "headers": raw}
        answer.clear()
        await app(scope, receive, send)
        return b"".join(answer)

    for number in range(1, 50):  # caches are warm, as they are under load
        assert json.loads(await made(number))["result"]["structuredContent"]["name"] == "Rex"
    yield made
    await engine.close()
    await parts.close()


async def test_the_functions_called_by_one_call_stay_within_their_budget(call: Call, version: str) -> None:
    counts: list[int] = []

    def count_calls(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            counts[-1] += 1

    await asyncio.sleep(0)
    for number in range(100, 111):
        counts.append(0)
        sys.setprofile(count_calls)
        try:
            await call(number)
        finally:
            sys.setprofile(None)
    # The least: a timer of the loop, a callback of the garbage collector or a slow disk adds to some of the calls.
    assert min(counts) <= CALLS[version], counts


async def test_the_memory_of_one_call_stays_within_its_budget(call: Call) -> None:
    tracemalloc.start()
    try:
        await call(200)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await call(201)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= BYTES
