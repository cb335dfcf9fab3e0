"""Sessions of several workers: the official Python client does not notice which one serves it, nor a restart."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client
from tests.e2e.answering import CALLBACKS, connected, is_asked_everything, text_of
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, Upstream, free_port, is_live, serving, until

ROOT = Path(__file__).resolve().parents[2]
CLIENTS, ROUNDS = 4, 4


@contextmanager
def _everything(home: Path, port: int, redis: str) -> Generator[None]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {
        "DATA_DIR": str(home / "data"),
        "PORT": str(port),
        "IDENTITY_PROVIDER": "none",
        "RATE_LIMIT_ENABLED": "false",
        "SESSIONS": "redis",
        "REDIS_URL": redis,
    }
    with (home / "log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.everything_workers", str(port), "2"],
            cwd=ROOT,
            env={**environment, **settings},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: is_live(port), within=40)
        yield
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


async def _use(client: Client) -> set[str]:
    """Questions of each kind, again and again; the workers that were met."""
    workers: set[str] = set()
    for _ in range(ROUNDS):
        workers.add(await text_of(client, "worker"))
        await is_asked_everything(client)
        assert await text_of(client, "test_reconnection") == "Reconnection test completed"
    return workers


@pytest.mark.live
async def test_a_client_is_asked_by_any_worker_and_goes_on_after_a_restart(tmp_path: Path, real_redis: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    async with asyncio.timeout(100):
        with _everything(tmp_path, port, real_redis):
            # Each request over a connection of its own, so that any worker may get it.
            clients = [connected(url, "legacy", keeps_connections=False, **CALLBACKS) for _ in range(CLIENTS)]
            opened = [await client.__aenter__() for client in clients]
            met = await asyncio.gather(*map(_use, opened))
            assert len(set[str]().union(*met)) == 2, "both workers took part"
        with _everything(tmp_path, port, real_redis):
            met_again = await asyncio.gather(*map(_use, opened))
            assert not set[str]().union(*met) & set[str]().union(*met_again)
            for client in reversed(clients):
                await client.__aexit__(None, None, None)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": {}}}


def _post(gateway: GatewayProcess, message: Any, token: str, session: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    if session is not None:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.post(f"{gateway.url}/mcp", json=message, headers=headers)


@pytest.mark.live
def test_a_session_of_stoa_serve_is_every_workers_and_outlives_a_restart(tmp_path: Path, real_redis: str) -> None:
    settings = {"SESSIONS": "redis", "REDIS_URL": real_redis, "RATE_LIMIT_ENABLED": "false"}
    gateway = GatewayProcess(tmp_path, settings, workers=2)
    with Upstream().listening() as upstream:
        write(gateway, "tools.yaml", tool("ask", f"{upstream.url}/ask"))
        sessions: list[str] = []
        for _ in range(2):
            with serving(gateway):
                mine, other = gateway.token("viewer"), gateway.token("devops")
                assert gateway.ready()["redis"] == {"ready": True, "detail": "connected", "findings": []}
                sessions.append(_post(gateway, INITIALIZE, mine).headers["mcp-session-id"])
                for session in sessions * 5:
                    assert "result" in _post(gateway, CALL, mine, session).json()
                    assert _post(gateway, CALL, other, session).status_code == 404
                assert gateway.stop() == 0
    assert real_redis not in gateway.log


def test_workers_that_share_nothing_have_no_sessions_and_say_so_once(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, workers=2)
    with serving(gateway):
        begun = _post(gateway, INITIALIZE, gateway.token("viewer"))
        assert begun.status_code == 200
        assert "mcp-session-id" not in begun.headers
    assert gateway.log.count("set SESSIONS=redis") == 1
