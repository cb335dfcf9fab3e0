"""Signals to `stoa serve`, as orchestrators send them."""

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.e2e.manifests import tool, write
from tests.e2e.processes import Answer, GatewayProcess, Seen, Upstream, serving, until

from stoa.domain.metering.event import Status


class Slow:
    """An upstream whose answer a test releases."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.upstream = Upstream(self._answer)

    def _answer(self, _: Seen) -> Answer:
        self.may_answer.wait(60)
        return 200, "application/json", b'{"ok":true}'


@pytest.fixture
def slow() -> Generator[Slow]:
    slow = Slow()
    with slow.upstream.listening():
        yield slow
        slow.may_answer.set()


class Call(threading.Thread):
    def __init__(self, gateway: GatewayProcess) -> None:
        super().__init__()
        self._port, self._token = gateway.port, gateway.token("tenant-admin", "acme")
        self.status, self.answer = 0, b""
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        message = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "slow"}}
        connection.request("POST", "/mcp", json.dumps(message), headers)
        response = connection.getresponse()
        self.status, self.answer = response.status, response.read()
        connection.close()


def _gateway(home: Path, slow: Slow, **settings: str) -> GatewayProcess:
    gateway = GatewayProcess(home, settings)
    write(gateway, "slow.yaml", tool("slow", f"{slow.upstream.url}/slow", timeout="60s"))
    return gateway


def test_sigterm_drains_then_waits_for_the_call_under_way(tmp_path: Path, slow: Slow) -> None:
    with serving(_gateway(tmp_path, slow, SHUTDOWN_DRAIN_SECONDS="3")) as gateway:
        call = Call(gateway)
        assert slow.upstream.arrived.wait(60)
        os.kill(gateway.pid, signal.SIGTERM)
        status, text = until(lambda: _not_ready(gateway), within=60)
        assert (status, json.loads(text)["parts"]["lifecycle"]["ready"]) == (503, False)
        assert gateway.get("/mcp/v1/tools", gateway.token("tenant-admin", "acme"))[0] == 200
        until(lambda: not _is_listening(gateway.port), within=60)
        slow.may_answer.set()
        call.join(60)
        assert (call.status, json.loads(call.answer)["result"]["content"][0]["text"]) == (200, '{"ok":true}')
        assert gateway.wait() == 0
        assert "Traceback" not in gateway.log
        assert [event.status for event in gateway.events()] == [Status.SUCCESS]


def test_sigterm_tells_what_does_not_end_that_the_gateway_shuts_down(tmp_path: Path, slow: Slow) -> None:
    with serving(_gateway(tmp_path, slow, SHUTDOWN_GRACE_SECONDS="0.2")) as gateway:
        call = Call(gateway)
        assert slow.upstream.arrived.wait(60)
        assert gateway.stop() == 0
        call.join(60)
        answer = json.loads(call.answer)
        assert (answer["id"], answer["error"]["code"], answer["error"]["data"]["code"]) == (9, 5030, "shutting_down")
        assert "Traceback" not in gateway.log
        assert [event.status for event in gateway.events()] == [Status.CANCELLED]


def test_sighup_reads_the_catalogue_and_keeps_calls(tmp_path: Path, slow: Slow) -> None:
    with serving(_gateway(tmp_path, slow)) as gateway:
        call = Call(gateway)
        assert slow.upstream.arrived.wait(60)
        write(gateway, "more.yaml", tool("more", f"{slow.upstream.url}/more"))
        os.kill(gateway.pid, signal.SIGHUP)
        until(lambda: "SIGHUP: read again: catalogue, prices, policy" in gateway.log, within=60)
        listed = gateway.get("/mcp/v1/tools", gateway.token("tenant-admin", "acme"))[1]
        assert {one["name"] for one in json.loads(listed)["tools"]} == {"slow", "more"}
        slow.may_answer.set()
        call.join(60)
        assert call.status == 200


def _not_ready(gateway: GatewayProcess) -> tuple[int, str] | None:
    status, text = gateway.get("/ready")
    return None if status == 200 else (status, text)


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
