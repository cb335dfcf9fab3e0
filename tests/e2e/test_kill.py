"""A gateway that is killed under load owes nobody an event: what was answered is metered, once."""

import asyncio
import contextlib
from collections import Counter
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, Upstream, serving
from tests.e2e.wire import ENVELOPE, STATELESS, wire_client

CONNECTIONS = 16
SECONDS_UNTIL_KILLED = 1.2


class Load:
    """Calls over keep-alive connections, through MCP and REST in turn, each with a request id of its own."""

    def __init__(self, url: str, token: str, name: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._name = name
        self.sent: set[str] = set()
        self.answered: set[str] = set()

    async def run(self) -> None:
        """Until the gateway is gone."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(self._url, headers=self._headers, connector=connector) as session:
            await asyncio.gather(*(self._caller(session, number) for number in range(CONNECTIONS)))

    async def _caller(self, session: aiohttp.ClientSession, caller: int) -> None:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            for number in count():
                request_id = f"{self._name}-{caller}-{number}"
                self.sent.add(request_id)
                await (self._through_mcp if number % 2 else self._through_rest)(session, request_id)
                self.answered.add(request_id)

    async def _through_mcp(self, session: aiohttp.ClientSession, request_id: str) -> None:
        params = {"name": "ask", "arguments": {}, "_meta": ENVELOPE}
        message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
        headers = {
            "X-Request-ID": request_id,
            "MCP-Protocol-Version": STATELESS,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "ask",
        }
        async with session.post("/mcp", json=message, headers=headers) as response:
            answer = await response.json()
            assert answer["result"]["structuredContent"] == {"ok": True}, answer

    async def _through_rest(self, session: aiohttp.ClientSession, request_id: str) -> None:
        headers = {"X-Request-ID": request_id}
        async with session.post("/mcp/v1/tools/ask/invoke", json={"arguments": {}}, headers=headers) as response:
            answer = await response.json()
            assert answer["requestId"] == request_id, answer


@pytest.mark.parametrize("workers", [1, 2])
async def test_every_call_that_was_answered_before_the_kill_has_exactly_one_event(tmp_path: Path, workers: int) -> None:
    gateway = GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false"}, workers=workers)
    sent: set[str] = set()
    answered: set[str] = set()
    with Upstream().listening() as upstream:
        write(gateway, "tools.yaml", tool("ask", f"{upstream.url}/ask"))
        kills = 2
        for number in range(kills):
            with serving(gateway):
                load = Load(gateway.url, gateway.token("viewer"), f"life-{number}")
                running = asyncio.create_task(load.run())
                await asyncio.sleep(SECONDS_UNTIL_KILLED)  # the moment is arbitrary by intent
                gateway.kill()
                await asyncio.wait_for(running, 10)
            assert len(load.answered) > CONNECTIONS, "there was no load"
            sent |= load.sent
            answered |= load.answered
        with serving(gateway), wire_client(gateway.url, gateway.token("viewer")) as client:
            client.call("ask", "afterwards")
            assert gateway.stop() == 0

    events = Counter(event.request_id for event in gateway.events())
    assert events["afterwards"] == 1
    assert {request_id for request_id in answered if events[request_id] != 1} == set()
    assert [request_id for request_id, times in events.items() if times > 1] == []
    assert set(events) <= sent | {"afterwards"}
    assert len(events) - 1 - len(answered) <= CONNECTIONS * kills  # metered, killed before the answer was out
    print(f"{workers} workers: {len(answered)} answered, {len(events) - 1} metered, {kills} kills")
