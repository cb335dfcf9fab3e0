"""A client that goes away during a call, over real sockets: it cancels the call in the stateless era, and does not in
the handshake era."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.crowd import Door, Wire
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, serving
from tests.e2e.wire import ENVELOPE, HANDSHAKE, STATELESS

from stoa.domain.metering.event import Status

SOON = 60.0


class Slow:
    """An upstream that answers when it is told to, and notices when its caller goes away."""

    def __init__(self) -> None:
        self.arrived: dict[str, asyncio.Event] = {}
        self.left: dict[str, asyncio.Event] = {}
        self.answer = asyncio.Event()

    def of(self, events: dict[str, asyncio.Event], path: str) -> asyncio.Event:
        return events.setdefault(path, asyncio.Event())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        self.of(self.arrived, path).set()
        gone, answer = asyncio.ensure_future(reader.read(1)), asyncio.ensure_future(self.answer.wait())
        await asyncio.wait({gone, answer}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.of(self.left, path).set()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        for future in (gone, answer):
            future.cancel()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    yield GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false"})


async def _begin_call(gateway: GatewayProcess, name: str, revision: str) -> tuple[Wire, "asyncio.Task[None]"]:
    door = Door(gateway.port, gateway.token("viewer"))
    wire = await door.connect()
    params: dict[str, Any] = {"name": name, "arguments": {}}
    headers = door.headers | {"MCP-Protocol-Version": revision}
    if revision == STATELESS:
        params["_meta"] = ENVELOPE
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": name}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return wire, asyncio.create_task(wire.send("POST", headers, message))


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.02)


async def test_leaving_cancels_a_stateless_call_and_its_upstream_call_and_no_call_of_a_handshake(
    gateway: GatewayProcess,
) -> None:
    slow = Slow()
    async with slow.listening() as upstream:
        write(gateway, "tools.yaml", tool("kept", f"{upstream}/kept"), tool("left", f"{upstream}/left"))
        with serving(gateway):
            for name, revision in (("kept", HANDSHAKE), ("left", STATELESS)):
                wire, calling = await _begin_call(gateway, name, revision)
                await asyncio.wait_for(slow.of(slow.arrived, f"/{name}").wait(), SOON)
                wire.cut()
                with pytest.raises(ConnectionError):
                    await calling
            # It was cut last, so the gateway has noticed by now that the other client is gone, too.
            await asyncio.wait_for(slow.of(slow.left, "/left").wait(), SOON)
            assert not slow.of(slow.left, "/kept").is_set()
            await _until(lambda: [event.tool for event in gateway.events()] == ["left"])
            slow.answer.set()
            await _until(lambda: len(gateway.events()) == 2)
            assert {event.tool: event.status for event in gateway.events()} == {
                "left": Status.CANCELLED,
                "kept": Status.SUCCESS,
            }
