"""Several workers and one relay: whoever holds it may die, and every worker tells the same of it."""

import os
import signal
from pathlib import Path

import pytest
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, Upstream, serving, until
from tests.e2e.wire import wire_client
from tests.infrastructure.kafka.brokers import mock_cluster, records

from stoa.domain.metering.event import MeteringEvent

TOPIC = "stoa.metering.events"


def holder_of(lock: Path) -> int | None:
    """The process that holds the lock, as Linux tells it."""
    inode = lock.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
            return int(fields[4])
    return None


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux, which tells who holds a lock")
def test_another_worker_relays_when_the_one_that_did_is_killed(tmp_path: Path) -> None:
    with mock_cluster() as servers, Upstream().listening() as upstream:
        settings = {"RATE_LIMIT_ENABLED": "false", "KAFKA_BOOTSTRAP_SERVERS": servers}
        gateway = GatewayProcess(tmp_path, settings, workers=2)
        write(gateway, "tools.yaml", tool("ask", f"{upstream.url}/ask"))

        def call(name: str) -> None:
            with wire_client(gateway.url, gateway.token("viewer")) as client:
                for number in range(10):
                    client.call("ask", f"{name}-{number}")

        with serving(gateway):
            lock = gateway.data / "outbox" / "relay.lock"
            call("before")
            first = until(lambda: holder_of(lock), within=60)
            os.kill(first, signal.SIGKILL)
            until(lambda: holder_of(lock) not in {None, first}, within=60)
            until(lambda: gateway.get("/ready")[0] == 200, within=60)
            call("after")
            expected = {f"{name}-{number}" for name in ("before", "after") for number in range(10)}

            def arrived() -> set[str | None]:
                return {MeteringEvent.from_json(record.value).request_id for record in records(servers, TOPIC)}

            until(lambda: expected <= arrived(), within=60, every=0.3)
            for _ in range(6):  # each connection may meet either worker
                until(lambda: "stoa_relay_waiting_bytes 0.0" in gateway.get("/metrics")[1], within=60)
                assert "0 bytes wait" in gateway.ready()["relay"]["detail"]
            assert gateway.stop() == 0
