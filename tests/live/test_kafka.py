"""Metering events on a real Kafka: through its absence and its death, and what a broker refuses."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, Upstream, serving, until
from tests.e2e.wire import wire_client
from tests.events import event
from tests.infrastructure.kafka.brokers import SILENT, records
from tests.live.servers import IS_REQUIRED, Kafka, free_port, make_topic

from stoa.application.ports import RecordedEvent
from stoa.domain.errors import PublisherUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.kafka.login import KafkaLogin
from stoa.infrastructure.kafka.publisher import KafkaEventPublisher

TOPIC = "stoa.metering.events"


class KafkaWithUsers(Kafka):
    """Another listener, which wants a user's name and password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sasl_port = free_port()
        self.sasl_servers = f"127.0.0.1:{self.sasl_port}"

    def command(self) -> list[str]:
        plain, sasl = f"PLAINTEXT://{self.servers}", f"SASL://{self.sasl_servers}"
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return [
            *super().command(),
            f"listeners={plain},{sasl},CONTROLLER://127.0.0.1:{self.controller_port}",
            f"advertised.listeners={plain},{sasl}",
            "sasl.enabled.mechanisms=PLAIN",
            f'listener.name.sasl.plain.sasl.jaas.config={module} required user_stoa="stoa-secret";',
        ]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Kafka]:
    """Not started yet, and free to be killed."""
    if not Kafka.is_installed():
        reason = "kafka is not installed; tools/services/install.sh kafka does it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    server = Kafka(tmp_path / "kafka")
    yield server
    server.stop()


def recorded(event_id: str, padding: int = 0) -> RecordedEvent:
    one = event(event_id, padding=padding)
    return RecordedEvent(one, one.model_dump_json().encode())


def test_calls_go_on_and_every_event_arrives_while_kafka_comes_dies_and_comes_again(own: Kafka, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, {"RATE_LIMIT_ENABLED": "false", "KAFKA_BOOTSTRAP_SERVERS": own.servers})
    made: list[str] = []

    def call(name: str, count: int = 20) -> None:
        with wire_client(gateway.url, gateway.token("viewer")) as client:
            for number in range(count):
                client.call("ask", f"{name}-{number}")
                made.append(f"{name}-{number}")

    def finding() -> str:
        return " ".join(gateway.ready()["relay"]["findings"])

    def is_all_there() -> bool:
        on_topic = {MeteringEvent.from_json(record.value).request_id for record in records(own.servers, TOPIC)}
        return set(made) <= on_topic

    with Upstream().listening() as upstream:
        write(gateway, "tools.yaml", tool("ask", f"{upstream.url}/ask"))
        with serving(gateway):  # ready, though there is no broker
            call("absent")
            until(lambda: "KAFKA_BOOTSTRAP_SERVERS" in finding(), within=30)
            own.start()
            until(lambda: "create METERING_TOPIC" in finding(), within=60)
            make_topic(own.servers, TOPIC)
            until(is_all_there, within=60, every=0.5)
            call("present")
            until(is_all_there, within=60, every=0.5)
            own.kill()
            call("killed")
            until(lambda: "not forwarded" in finding(), within=30)
            gateway.kill()
        with serving(gateway):
            call("both")
            own.start()
            until(is_all_there, within=90, every=0.5)
            until(lambda: not finding(), within=30)
            assert gateway.stop() == 0
    assert gateway.log.count("are not forwarded and wait") <= 3  # one for each outage
    assert {one.request_id for one in gateway.events()} == set(made)


async def test_the_broker_was_away_for_a_moment_and_nothing_came_twice(own: Kafka) -> None:
    await asyncio.to_thread(own.start)
    make_topic(own.servers, TOPIC)
    publisher = KafkaEventPublisher(own.servers, publish_seconds=1)
    await publisher.publish([recorded("first")])
    await asyncio.to_thread(own.kill)
    batch = [recorded(str(number)) for number in range(500)]
    with pytest.raises(PublisherUnavailable):
        await publisher.publish(batch)
    await asyncio.to_thread(own.start)
    async with asyncio.timeout(60):
        while True:
            try:
                await publisher.publish(batch)
                break
            except PublisherUnavailable:
                await asyncio.sleep(0)
    await publisher.close()
    found = await asyncio.to_thread(records, own.servers, TOPIC)
    assert [MeteringEvent.from_json(record.value).event_id for record in found] == ["first", *map(str, range(500))]


async def test_what_the_topic_finds_too_large_is_refused_alone(kafka: Kafka) -> None:
    topic = f"small-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": kafka.servers}, logger=SILENT)
    admin.create_topics([NewTopic(topic, 2, 1, config={"max.message.bytes": "2000"})])[topic].result(30)
    publisher = KafkaEventPublisher(kafka.servers, topic=topic)
    good = [recorded(str(number)) for number in range(5)]
    large = event("large").model_copy(update={"metadata": {"noise": secrets.token_hex(2500)}})  # cannot be compressed
    bad = RecordedEvent(large, large.model_dump_json().encode())
    (refused,) = await publisher.publish([*good[:2], bad, *good[2:]])
    assert refused.line == bad.line
    assert "max.message.bytes" in refused.reason
    assert not await publisher.publish([recorded("after")])
    await publisher.close()
    found = await asyncio.to_thread(records, kafka.servers, topic)
    assert [record.value for record in found] == [*(one.line for one in good), recorded("after").line]


async def test_a_topic_that_is_missing_is_named_and_used_once_it_is_there(kafka: Kafka) -> None:
    topic = f"missing-{secrets.token_hex(4)}"
    publisher = KafkaEventPublisher(kafka.servers, topic=topic, request_seconds=1)
    with pytest.raises(PublisherUnavailable, match="create METERING_TOPIC"):
        await publisher.publish([recorded("a")])
    make_topic(kafka.servers, topic)
    assert not await publisher.publish([recorded("a")])
    await publisher.close()


async def test_a_user_with_the_right_password_gets_in_and_one_without_is_told(tmp_path: Path, own: Kafka) -> None:
    server = KafkaWithUsers(tmp_path / "users")
    try:
        await asyncio.to_thread(server.start)
        make_topic(server.servers, TOPIC)
        for secret, is_right in (("stoa-secret", True), ("wrong-one", False)):
            publisher = KafkaEventPublisher(
                server.sasl_servers,
                login=KafkaLogin("SASL_PLAINTEXT", username="stoa", password=SecretStr(secret)),
            )
            if is_right:
                assert not await publisher.publish([recorded("a")])
            else:
                with pytest.raises(PublisherUnavailable, match="KAFKA_USERNAME") as told:
                    await publisher.publish([recorded("b")])
                assert secret not in told.value.message
            await publisher.close()
        assert len(await asyncio.to_thread(records, server.servers, TOPIC)) == 1
    finally:
        server.stop()
