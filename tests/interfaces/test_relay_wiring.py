"""The relay as it is wired: calls do not depend on it, operators see how it stands."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests.infrastructure.kafka.brokers import mock_cluster, records
from tests.interfaces.served import Served, manifest, serving

from stoa.domain.metering.event import MeteringEvent
from stoa.interfaces.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def catalogue(tmp_path: Path) -> tuple[str]:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "tools.yaml").write_text(manifest("ask", "http://127.0.0.1:9/x", "alpha"), encoding="utf-8")
    return (str(folder),)


async def _called(served: Served) -> MeteringEvent:
    await served.call("ask", token=served.token())
    (event,) = served.events
    return event


async def test_an_event_reaches_the_topic(tmp_path: Path, catalogue: tuple[str]) -> None:
    with mock_cluster() as servers:
        async with serving(tmp_path, catalogue_path=catalogue, kafka_bootstrap_servers=servers) as served:
            event = await _called(served)
            async with asyncio.timeout(30):
                while "stoa_relay_events_total 1.0" not in (text := (await served.get("/metrics")).body.decode()):
                    await asyncio.sleep(0.01)
            assert "stoa_relay_waiting_bytes 0.0" in text
            assert "stoa_relay_failing 0.0" in text
            (record,) = await asyncio.to_thread(records, servers, "stoa.metering.events")
            assert MeteringEvent.from_json(record.value) == event


async def test_a_gateway_without_its_broker_is_ready_and_says_what_waits(tmp_path: Path, catalogue: tuple[str]) -> None:
    async with serving(tmp_path, catalogue_path=catalogue, kafka_bootstrap_servers="127.0.0.1:1") as served:
        await _called(served)
        async with asyncio.timeout(30):
            while not (part := (await served.ready())["relay"])["findings"]:
                await asyncio.sleep(0.01)
        answer = await served.get("/ready")
        assert answer.status == 200
        assert part["ready"]
        assert "bytes wait, the oldest for" in part["detail"]
        assert "KAFKA_BOOTSTRAP_SERVERS" in part["findings"][0]
        assert "stoa_relay_failing 1.0" in (await served.get("/metrics")).body.decode()


WITHOUT_CLIENT = """
import asyncio, sys
from pathlib import Path
sys.modules["aiokafka"] = None
from stoa.domain.errors import InvalidInput
from stoa.interfaces.bootstrap import RelayPart, build_container
from stoa.interfaces.settings import Settings

async def start():
    container = build_container(Settings(data_dir=Path(sys.argv[1]), kafka_bootstrap_servers="a:1"))
    try:
        await container.get(RelayPart)
    except InvalidInput as refused:
        print(refused.message)
    finally:
        await container.close()

asyncio.run(start())
"""


async def test_a_broker_without_its_client_is_said_at_the_start(tmp_path: Path) -> None:
    """In an interpreter of its own: modules imported twice would define each binding twice."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT_CLIENT, str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert "install stoa-mcp-gateway[kafka]" in said.decode()


async def test_without_a_broker_there_is_no_relay(tmp_path: Path, catalogue: tuple[str]) -> None:
    async with serving(tmp_path, catalogue_path=catalogue) as served:
        assert "relay" not in (await served.ready())
        assert "stoa_relay" not in (await served.get("/metrics")).body.decode()
