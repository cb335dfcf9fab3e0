"""KafkaEventPublisher: records as consumers see them, deadlines, errors of the library in words of ours."""

import asyncio
import inspect
import json
import logging

import pytest
from aiokafka import errors as kafka
from pydantic import SecretStr
from tests.events import event
from tests.infrastructure.kafka.brokers import deaf_broker, mock_cluster, records

from stoa.application.ports import RecordedEvent
from stoa.domain.errors import InvalidInput, PublisherUnavailable
from stoa.infrastructure.kafka.errors import FAILURES, POISON, outage
from stoa.infrastructure.kafka.login import KafkaCertificates, KafkaLogin
from stoa.infrastructure.kafka.publisher import KafkaEventPublisher

NEVER_OURS = {"ConsumerStoppedError", "IllegalOperation"}
"""Of consumers and of transactions."""


def recorded(event_id: str, tenant: str = "acme") -> RecordedEvent:
    one = event(event_id).model_copy(update={"tenant": tenant})
    return RecordedEvent(one, one.model_dump_json().encode())


async def test_a_record_is_the_events_own_json_under_its_tenants_key() -> None:
    with mock_cluster() as servers:
        publisher = KafkaEventPublisher(servers, topic="plain")
        sent = [recorded("a", "acme"), recorded("b", "beta"), recorded("c", "acme")]
        await publisher.publish(sent)
        await publisher.close()
        found = await asyncio.to_thread(records, servers, "plain")
    assert {record.value: record.key for record in found} == {one.line: one.event.tenant.encode() for one in sent}
    assert {record.headers["content-type"] for record in found} == {b"application/json"}
    assert len({record.partition for record in found if record.key == b"acme"}) == 1


async def test_a_cloud_event_carries_it_where_asked_for() -> None:
    with mock_cluster() as servers:
        publisher = KafkaEventPublisher(servers, topic="cloud", envelope="cloudevents", source="https://gw.example")
        await publisher.publish([recorded("a")])
        await publisher.close()
        (record,) = await asyncio.to_thread(records, servers, "cloud")
    assert record.headers["content-type"] == b"application/cloudevents+json"
    envelope = json.loads(record.value)
    assert (envelope["id"], envelope["source"]) == ("a", "https://gw.example")
    assert envelope["data"] == json.loads(recorded("a").line)


async def test_a_broker_that_never_answers_is_told_within_the_deadline_and_left_within_seconds() -> None:
    with deaf_broker() as listener:
        publisher = KafkaEventPublisher(listener.servers, publish_seconds=0.2, request_seconds=60)
        batch = [recorded("a")]
        for _ in range(2):
            with pytest.raises(PublisherUnavailable, match=r"within 0\.2 s"):
                await publisher.publish(batch)
        with pytest.raises(PublisherUnavailable):
            await publisher.publish([recorded("b")])  # another batch ends the first delivery
        async with asyncio.timeout(15):
            await publisher.close()


async def test_a_delivery_that_takes_very_long_begins_again_with_a_new_connection() -> None:
    with deaf_broker() as listener:
        publisher = KafkaEventPublisher(listener.servers, publish_seconds=0.2, request_seconds=60, renew_seconds=0)
        for _ in range(3):
            with pytest.raises(PublisherUnavailable):
                await publisher.publish([recorded("a")])
        await publisher.close()
        assert listener.connections() == 3


async def test_the_same_batch_given_again_waits_for_the_same_delivery() -> None:
    with mock_cluster() as servers:
        publisher = KafkaEventPublisher(servers, topic="again", publish_seconds=0)
        batch = [recorded(str(number)) for number in range(300)]
        async with asyncio.timeout(30):
            while True:
                try:
                    await publisher.publish(batch)
                except PublisherUnavailable:
                    await asyncio.sleep(0)
                else:
                    break
        await publisher.close()
        found = await asyncio.to_thread(records, servers, "again")
    assert [record.value for record in found] == [one.line for one in batch]


async def test_the_password_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = KafkaEventPublisher(
        "127.0.0.1:1", login=KafkaLogin("SASL_PLAINTEXT", username="stoa", password=SecretStr("geheim-17"))
    )
    with pytest.raises(PublisherUnavailable) as told:
        await publisher.publish([recorded("a")])
    await publisher.close()
    assert "geheim-17" not in told.value.message + caplog.text
    assert [record for record in caplog.records if record.name.startswith("aiokafka")] == []


async def test_publisher_whose_token_endpoint_is_away_reports_an_outage_without_the_secret(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    with mock_cluster() as servers:
        login = KafkaLogin(
            "SASL_PLAINTEXT", "OAUTHBEARER", "stoa", SecretStr("geheim-17"), token_url="http://127.0.0.1:1/token"
        )
        publisher = KafkaEventPublisher(servers, login=login)
        with pytest.raises(PublisherUnavailable) as told:
            await publisher.publish([recorded("a")])
        await publisher.close()
    assert "geheim-17" not in told.value.message + caplog.text


def test_publisher_names_the_setting_of_certificates_that_cannot_be_used(tmp_path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    for certificates, setting in (
        (KafkaCertificates(tmp_path / "missing.pem"), "KAFKA_CA_FILE"),
        (KafkaCertificates(text), "KAFKA_CA_FILE"),
        (KafkaCertificates(None, text), "KAFKA_CERTIFICATE_FILE"),
    ):
        with pytest.raises(InvalidInput, match=setting):
            KafkaEventPublisher("127.0.0.1:1", login=KafkaLogin("SSL", certificates=certificates))


def test_every_error_of_the_library_is_translated() -> None:
    kinds = [kind for _, kind in inspect.getmembers(kafka, inspect.isclass) if issubclass(kind, Exception)]
    assert len(kinds) > 50
    assert {kind.__name__ for kind in kinds if not issubclass(kind, FAILURES)} <= NEVER_OURS
    for kind in kinds:
        words = POISON.get(kind) or outage(kind.__new__(kind))
        assert words
