"""KafkaEventPublisher: an idempotent producer that waits for all replicas, with deadlines of our own around it.

A batch is delivered by a task. aiokafka tries again for as long as the broker is away, so a deadline that passes ends
the waiting, not the delivery: the same batch, given again, waits for the same task, and the restart of a broker sends
nothing twice. A delivery that fails, or is not done for very long (brokers may have moved to other addresses behind the
same name), drops its producer, and the next one sends the events that were not acknowledged.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from aiokafka import AIOKafkaProducer, errors  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from stoa.application.ports.event_publisher import EventPublisher
from stoa.application.ports.metering_backlog import RecordedEvent, Rejected
from stoa.domain.errors import InvalidInput, PublisherUnavailable
from stoa.domain.metering.cloud_event import CONTENT_TYPE, cloud_event
from stoa.infrastructure.kafka.errors import FAILURES, POISON, outage
from stoa.infrastructure.kafka.login import KafkaLogin

Envelope = Literal["event", "cloudevents"]
_Headers = list[tuple[str, bytes]]
_Producer = Any
"""AIOKafkaProducer; the library has no types."""

TOPIC = "stoa.metering.events"
REQUEST_SECONDS = 10.0
PUBLISH_SECONDS = 5.0
"""Seconds until an outage is reported; the delivery goes on, and its failure, if any, is known later."""
RENEW_SECONDS = 120.0
STOP_SECONDS = 3.0
_BATCH_BYTES = 128 * 1024
_BREATHER = 50
"""Events handed over before the event loop gets a turn, so that calls are not held up."""


class _Delivery:
    """One batch on its way."""

    def __init__(self, events: tuple[RecordedEvent, ...]) -> None:
        self.events = events
        self.remaining = list(range(len(events)))
        self.refused: list[Rejected] = []
        self.task: asyncio.Task[None] | None = None
        self.began = 0.0
        """Start of the delivery's task, by the loop's clock."""


class KafkaEventPublisher(EventPublisher):
    """Publishes one record per event: the key is the tenant, the value the event's JSON or a CloudEvent around it. The
    topic must exist. `source` names the gateway in CloudEvents. Certificates are read again with each new producer.
    Raises InvalidInput for some that cannot be used."""

    def __init__(
        self,
        servers: str,
        *,
        topic: str = TOPIC,
        envelope: Envelope = "event",
        source: str = "/stoa-mcp-gateway",
        login: KafkaLogin = KafkaLogin(),
        publish_seconds: float = PUBLISH_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._topic = topic
        self._envelope = envelope
        self._source = source
        self._publish_seconds = publish_seconds
        self._renew_seconds = renew_seconds
        self._connection = partial(login.options, servers, "stoa-mcp-gateway")
        self._connection()  # certificates that cannot be used are told at the start
        self._options: dict[str, Any] = {
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": "lz4",
            "linger_ms": 5,
            "max_batch_size": _BATCH_BYTES,
            "request_timeout_ms": int(request_seconds * 1000),
        }
        self._producer: _Producer | None = None
        self._delivery: _Delivery | None = None
        self._ending: set[asyncio.Task[None]] = set()
        # It logs an error for each attempt, and parts of messages when debugging; the relay reports an outage once.
        logger = logging.getLogger("aiokafka")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)

    async def publish(self, events: Sequence[RecordedEvent]) -> Sequence[Rejected]:
        batch = tuple(events)
        delivery = self._delivery
        # The same batch again waits for the delivery that is still running; a second one would duplicate its events.
        if delivery is None or delivery.events != batch:
            await self._abandon()
            delivery = self._delivery = _Delivery(batch)
        now = asyncio.get_running_loop().time
        if delivery.task is None:
            delivery.task, delivery.began = asyncio.create_task(self._deliver(delivery)), now()
        task = delivery.task
        await asyncio.wait({task}, timeout=self._publish_seconds)
        if not task.done():
            if now() - delivery.began >= self._renew_seconds:
                await self._interrupt(delivery)
            raise PublisherUnavailable(
                f"Kafka did not take them within {self._publish_seconds:g} s; no broker of KAFKA_BOOTSTRAP_SERVERS "
                "answers, or the topic has no leader"
            )
        delivery.task = None
        try:
            task.result()
        except (*FAILURES, asyncio.CancelledError) as failure:
            self._drop_producer()
            raise PublisherUnavailable(f"Kafka, topic {self._topic}: {outage(failure)}") from failure
        except Exception:
            self._drop_producer()  # its state is unknown; unacknowledged events go out with the next one
            raise
        self._delivery = None
        return delivery.refused

    async def close(self) -> None:
        await self._abandon()
        self._drop_producer()
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=2 * STOP_SECONDS)

    async def _abandon(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            await self._interrupt(delivery)

    async def _interrupt(self, delivery: _Delivery) -> None:
        """Cancels a delivery and drops its producer, which may have sent a part of the remaining events."""
        task, delivery.task = delivery.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            with suppress(asyncio.CancelledError, *FAILURES):
                task.result()
            self._drop_producer()

    async def _deliver(self, delivery: _Delivery) -> None:
        """Delivers a batch; returns once every event is acknowledged or refused."""
        failure = await self._send(delivery, delivery.remaining)
        if failure is None:
            return
        if type(failure) not in POISON:
            raise failure
        # A record that is too large fails its whole batch, and leaves a gap in the producer's sequence numbers. So the
        # remaining events are sent one by one, and those that fail then are refused.
        self._drop_producer()
        for index in list(delivery.remaining):
            alone = await self._send(delivery, [index])
            if alone is None:
                continue
            self._drop_producer()
            if type(alone) not in POISON:
                raise alone
            delivery.remaining.remove(index)
            delivery.refused.append(Rejected(delivery.events[index].line, POISON[type(alone)]))

    async def _send(self, delivery: _Delivery, indices: Sequence[int]) -> BaseException | None:
        """Sends these events and waits for all; acknowledged ones leave the remaining set. Returns the failure to
        classify, or None."""
        producer = await self._started()
        sent: dict[int, asyncio.Future[Any]] = {}
        failures: list[BaseException] = []
        for count, index in enumerate(indices, 1):
            try:
                sent[index] = await self._enqueue(producer, delivery.events[index])
            except FAILURES as failure:
                failures.append(failure)
                break
            if not count % _BREATHER:
                await asyncio.sleep(0)  # a turn for the calls that share this event loop
        try:
            if sent:
                await asyncio.wait(sent.values())
        finally:
            for index, future in sent.items():
                if not future.done():
                    continue
                refusal = future.exception()
                if refusal is None:
                    delivery.remaining.remove(index)
                else:
                    failures.append(refusal)
        return min(failures, key=lambda failure: type(failure) not in POISON, default=None)

    async def _enqueue(self, producer: _Producer, recorded: RecordedEvent) -> asyncio.Future[Any]:
        event, value, headers = recorded.event, recorded.line, _JSON_HEADERS
        if self._envelope == "cloudevents":
            value, headers = cloud_event(event, value, source=self._source), _CLOUD_HEADERS
        while True:
            with suppress(errors.KafkaTimeoutError):  # the buffer was full for as long as one request may take
                future: asyncio.Future[Any] = await producer.send(
                    self._topic, value, key=event.tenant.encode(), headers=headers
                )
                return future

    async def _started(self) -> _Producer:
        if self._producer is None:
            try:
                connection = self._connection()
            except InvalidInput as unusable:  # files that were renewed, and not as they should be
                raise PublisherUnavailable(unusable.message) from None
            self._producer = AIOKafkaProducer(**connection, **self._options)
            await self._producer.start()
        return self._producer

    def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            ending = asyncio.create_task(_end(producer))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


_JSON_HEADERS: _Headers = [("content-type", b"application/json")]
_CLOUD_HEADERS: _Headers = [("content-type", CONTENT_TYPE.encode())]


async def _end(producer: _Producer) -> None:
    """Stops a producer. `stop` waits forever for undelivered events, so they are abandoned first, for which there is no
    public API."""
    producer._message_accumulator.fail_all(errors.ProducerClosed())
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait({stopping}, timeout=STOP_SECONDS)
    stopping.cancel()
    await asyncio.wait({stopping})
    with suppress(asyncio.CancelledError, Exception):
        stopping.result()
    with suppress(*FAILURES):
        await producer.client.close()
