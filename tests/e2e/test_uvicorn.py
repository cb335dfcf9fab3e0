"""The whole gateway under uvicorn, by its application factory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from tests.e2e.processes import until
from tests.live.servers import free_port

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def test_uvicorn_factory_serves_the_gateway_that_the_environment_describes_and_ends_it(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "stoa.interfaces.bootstrap:create_app"]
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data"), "IDENTITY_PROVIDER": "none"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:

            def is_ready() -> bool:
                assert server.poll() is None, (tmp_path / "log").read_text()
                try:
                    return client.get("/ready").status_code == 200
                except httpx.TransportError:
                    return False

            until(is_ready, within=60)
            answer = client.post("/mcp", json=INITIALIZE, headers={"accept": "application/json"})
            assert answer.json()["result"]["serverInfo"]["name"] == "stoa-mcp-gateway"
            assert client.get("/mcp/v1/tools").status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in {0, -signal.SIGTERM}
        assert "Application shutdown complete" in (tmp_path / "log").read_text()
    finally:
        server.kill()
        server.wait()
