"""Reading a topic back, against librdkafka's mock cluster."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pydantic_core
import pytest
from confluent_kafka import Consumer, Producer
from tests.events import event

from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.kafka.topic_log import KafkaUsageLog, event_of

PARTITIONS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster that lives in this process."""
    holder = Consumer({"test.mock.num.brokers": 1, "group.id": "holder", "bootstrap.servers": "unused:1"})
    metadata = holder.list_topics(timeout=20)
    broker = next(iter(metadata.brokers.values()))
    yield f"{broker.host}:{broker.port}"
    holder.close()


@pytest.fixture
def topic(cluster: str, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name)
    producer = Producer({"bootstrap.servers": cluster})
    assert len(producer.list_topics(name, timeout=20).topics[name].partitions) >= PARTITIONS  # which makes it
    return name


def produce(cluster: str, topic: str, values: list[bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": cluster})
    for number, value in enumerate(values):
        producer.produce(topic, value, key=str(number).encode(), partition=number % PARTITIONS)
    assert producer.flush(20) == 0


def raw(one: MeteringEvent) -> bytes:
    return one.model_dump_json().encode()


def cloud(one: MeteringEvent) -> bytes:
    envelope = {"specversion": "1.0", "type": "x", "source": "/x", "id": one.event_id}
    return pydantic_core.to_json(envelope | {"data": pydantic_core.from_json(raw(one))})


def test_all_partitions_are_read_in_both_forms_and_in_order_within_each(cluster: str, topic: str) -> None:
    events = [event(str(number)) for number in range(300)]
    produce(cluster, topic, [raw(one) if number % 2 else cloud(one) for number, one in enumerate(events)])
    log = KafkaUsageLog(cluster, topic)
    for _ in range(2):  # nothing is committed
        found = list(log.events())
        assert sorted(int(one.event_id) for one in found) == list(range(300))
        for partition in range(PARTITIONS):
            own = [int(one.event_id) for one in found if int(one.event_id) % PARTITIONS == partition]
            assert own == sorted(own)
        assert {one.cost_units for one in found} == {1012}
        assert (log.damaged, log.total) == (0, 300)


def test_what_is_no_event_is_counted_and_skipped(cluster: str, topic: str) -> None:
    damaged = [b"", b"{", b"[]", b"null", b'{"specversion": "1.0"}', b'{"specversion": "1.0", "data": 1}', None]
    produce(cluster, topic, [raw(event("a")), *damaged, raw(event("b"))])
    log = KafkaUsageLog(cluster, topic)
    assert {one.event_id for one in log.events()} == {"a", "b"}
    assert log.damaged == len(damaged)


def test_an_empty_topic_holds_no_events(cluster: str, topic: str) -> None:
    assert list(KafkaUsageLog(cluster, topic).events()) == []


def test_the_reading_ends_where_the_topic_ended_when_it_began(cluster: str, topic: str) -> None:
    produce(cluster, topic, [raw(event(str(number))) for number in range(30)])
    reading = KafkaUsageLog(cluster, topic).events()
    first = next(reading)
    produce(cluster, topic, [raw(event(f"later-{number}")) for number in range(30)])
    assert len({first.event_id, *(one.event_id for one in reading)}) == 30


def test_a_reading_that_is_given_up_leaves_nothing_behind(cluster: str, topic: str) -> None:
    produce(cluster, topic, [raw(event(str(number))) for number in range(30)])
    reading = KafkaUsageLog(cluster, topic).events()
    next(reading)
    reading.close()  # type: ignore[attr-defined]


async def test_it_can_be_read_where_an_event_loop_runs(cluster: str, topic: str) -> None:
    produce(cluster, topic, [raw(event("a"))])
    assert len(list(KafkaUsageLog(cluster, topic).events())) == 1


def test_two_can_read_at_once(cluster: str, topic: str) -> None:
    produce(cluster, topic, [raw(event(str(number))) for number in range(30)])
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: len(list(KafkaUsageLog(cluster, topic).events())), range(2))) == [30, 30]


def test_a_topic_that_is_not_there_is_named(cluster: str) -> None:
    with pytest.raises(MeteringUnavailable, match=r"nowhere at .* no topic of that name"):
        list(KafkaUsageLog(cluster, "nowhere").events())


def test_a_broker_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(MeteringUnavailable, match=f"at {address} cannot be read: no broker answers"):
        list(KafkaUsageLog(address, "t").events())


def test_an_address_that_is_none_says_how_to_write_it() -> None:
    with pytest.raises(MeteringUnavailable, match="HOST:PORT"):
        list(KafkaUsageLog("host:port", "t").events())


def test_a_broker_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log = KafkaUsageLog(f"127.0.0.1:{silent.getsockname()[1]}", "t", silence_seconds=0.2)
        with pytest.raises(MeteringUnavailable, match="cannot be read"):
            list(log.events())


@pytest.mark.parametrize("value", [None, b"\xff", b'{"cost_units": 1}', b'{"specversion": 1, "data": "e30="}'])
def test_what_is_no_event_is_a_value_error(value: bytes | None) -> None:
    with pytest.raises(ValueError):  # the message depends on what is wrong
        event_of(value)
