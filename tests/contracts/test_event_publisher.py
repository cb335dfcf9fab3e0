"""The laws of EventPublisher, for every adapter: Kafka's against librdkafka's mock cluster and a real broker."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.events import event
from tests.infrastructure.kafka.brokers import mock_cluster, records
from tests.live.servers import Kafka, make_topic, running
from tests.strategies import metering_events

from stoa.application.ports import EventPublisher, RecordedEvent
from stoa.domain.errors import PublisherUnavailable
from stoa.domain.metering.event import MeteringEvent
from stoa.infrastructure.kafka.publisher import KafkaEventPublisher
from stoa.testing.event_publisher import InMemoryEventPublisher

TOO_LARGE = 2 * 1024 * 1024


@dataclass
class Door:
    publisher: EventPublisher
    arrived: Callable[[], list[bytes]]
    """Lines, those of one tenant in their order."""
    unreachable: EventPublisher
    """Another one, whose other side is away."""


OpenDoor = Callable[[], AbstractAsyncContextManager[Door]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Door]:
    publisher = InMemoryEventPublisher(lambda event: "too large" if len(event.line) >= TOO_LARGE else None)
    unreachable = InMemoryEventPublisher()
    unreachable.outage = "away"
    yield Door(publisher, lambda: [event.line for event in publisher.published], unreachable)


def _kafka(servers: str, prepare: Callable[[str], object]) -> OpenDoor:
    @asynccontextmanager
    async def open_door() -> AsyncIterator[Door]:
        topic = f"events-{secrets.token_hex(6)}"
        await asyncio.to_thread(prepare, topic)
        publisher = KafkaEventPublisher(servers, topic=topic, publish_seconds=30)
        unreachable = KafkaEventPublisher("127.0.0.1:1", topic=topic)
        yield Door(publisher, lambda: [record.value for record in records(servers, topic)], unreachable)
        await publisher.close()
        await unreachable.close()

    return open_door


@pytest.fixture(
    scope="session",
    params=["memory", "mock", pytest.param("kafka", marks=[pytest.mark.live, pytest.mark.timeout(200)])],
)
def open_door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDoor]:
    match request.param:
        case "memory":
            yield _memory
        case "mock":
            with mock_cluster() as servers:
                yield _kafka(servers, lambda _: None)
        case _:
            with running(Kafka, tmp_path_factory.mktemp("kafka")) as server:
                servers = f"127.0.0.1:{server.port}"
                yield _kafka(servers, lambda topic: make_topic(servers, topic))


def recorded(event: MeteringEvent) -> RecordedEvent:
    return RecordedEvent(event, event.model_dump_json().encode())


@settings(max_examples=8, deadline=None)
@given(batches=st.lists(st.lists(metering_events(), max_size=20), max_size=3))
async def test_what_was_published_is_there_once_and_in_the_order_of_its_tenant(
    open_door: OpenDoor, batches: list[list[MeteringEvent]]
) -> None:
    async with open_door() as door:
        sent: list[RecordedEvent] = []
        for batch in batches:
            events = [recorded(event) for event in batch]
            assert not await door.publisher.publish(events)
            sent += events
        arrived = await asyncio.to_thread(door.arrived) if sent else []
        assert sorted(arrived) == sorted(event.line for event in sent)
        for tenant in {event.event.tenant for event in sent}:
            own = [event.line for event in sent if event.event.tenant == tenant]
            assert [line for line in arrived if MeteringEvent.from_json(line).tenant == tenant] == own


async def test_an_event_that_is_too_large_is_refused_and_the_others_of_its_batch_arrive(open_door: OpenDoor) -> None:
    async with open_door() as door:
        good = [recorded(event(str(number))) for number in range(6)]
        bad = RecordedEvent(event("bad"), event("bad").model_dump_json().encode() + b" " * TOO_LARGE)
        (refused,) = await door.publisher.publish([*good[:3], bad, *good[3:]])
        assert (refused.line, bool(refused.reason)) == (bad.line, True)
        assert sorted(await asyncio.to_thread(door.arrived)) == sorted(event.line for event in good)


async def test_an_outage_is_told_and_ends_neither_the_publisher_nor_its_close(open_door: OpenDoor) -> None:
    async with open_door() as door:
        for _ in range(2):
            with pytest.raises(PublisherUnavailable) as told:
                await door.unreachable.publish([recorded(event("a"))])
            assert told.value.message
        async with asyncio.timeout(20):
            await door.unreachable.close()
