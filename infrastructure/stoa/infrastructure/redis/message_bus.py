"""A message bus on Redis's publish and subscribe: one connection listens for all subscriptions of this process.

A lost connection is replaced, and each subscription is notified. Redis gives all clients the messages of a channel in
the order in which it carried out the PUBLISH commands.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from stoa.application.concurrency.cancellation import cancel_and_wait, is_cancelled
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.memory.mailbox import Mailbox
from stoa.application.ports import Health, HealthProbe, MessageBus, Subscription
from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.redis.connection import LOST, RedisConnection

_log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
RETRY_SECONDS = 0.5
_LOOK_SECONDS = 1.0
"""Interval at which a silent connection is compared with the circuit breaker's view of the server."""
_PULSE = "pulse"
"""A topic without messages: a connection that listens needs at least one topic."""


class RedisMessageBus(MessageBus, HealthProbe):
    """A MessageBus on Redis. `heartbeat_seconds`: the interval at which a silent connection is probed; after twice that
    it counts as lost. `retry_seconds`: the pause before reconnecting. `report`: called with defects after which the bus
    goes on."""

    name = "redis"

    def __init__(
        self,
        redis: RedisConnection,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._redis = redis
        self._report_defect = report
        self._heartbeat_seconds = heartbeat_seconds
        self._retry_seconds = retry_seconds
        self._mailboxes: dict[str, dict[Mailbox, None]] = {}
        self._in_force: dict[str, asyncio.Future[None]] = {}
        self._missed: set[str] = set()
        self._listener: asyncio.Task[None] | None = None
        self._pubsub: Any = None
        self._health = Health(is_ready=False, detail="not connected yet")

    def health(self) -> Health:
        """Not ready before the first connection, because a wrong REDIS_URL must not go live. A later loss is only a
        finding, because calls without a session go on."""
        return self._health

    async def publish(self, topic: str, message: bytes) -> None:
        with self._redis.guarded():
            await self._redis.client.publish(self._redis.prefix + topic, message)

    async def subscribe(self, *topics: str) -> Subscription:
        self._redis.check()

        async def forget(mailbox: Mailbox) -> None:
            await self._forget(mailbox, topics)

        mailbox = Mailbox(forget)
        new = [topic for topic in topics if topic not in self._mailboxes]
        for topic in topics:
            self._mailboxes.setdefault(topic, {})[mailbox] = None
            self._in_force.setdefault(topic, asyncio.get_running_loop().create_future())
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(self._redis.timeout_seconds):
                if new and (pubsub := self._pubsub) is not None:
                    await self._told(pubsub, pubsub.subscribe, new)
                for topic in topics:
                    await asyncio.shield(self._in_force[topic])
        except Exception as lost:  # after any error nothing is subscribed to
            await mailbox.close()
            if not isinstance(lost, LOST):
                self._report_defect("redis bus", lost)
            raise SharedStateUnavailable from lost
        except asyncio.CancelledError:
            await mailbox.close()
            raise
        return mailbox

    async def close(self) -> None:
        if self._listener is not None:
            await cancel_and_wait(self._listener)
            self._listener = None

    async def _forget(self, mailbox: Mailbox, topics: tuple[str, ...]) -> None:
        idle: list[str] = []
        for topic in set(topics):
            readers = self._mailboxes[topic]
            del readers[mailbox]
            if not readers:
                del self._mailboxes[topic], self._in_force[topic]
                self._missed.discard(topic)
                idle.append(topic)
        if idle and (pubsub := self._pubsub) is not None:
            with suppress(Exception):  # a lost connection has no subscriptions, and its listener says why
                await self._told(pubsub, pubsub.unsubscribe, idle)

    async def _told(self, pubsub: Any, command: Callable[..., Awaitable[Any]], topics: list[str]) -> None:
        try:
            await command(*map(self._channel, topics))
        finally:
            if self._pubsub is not pubsub:  # its listener has given it up, and redis-py may have connected it anew
                await pubsub.aclose()

    def _channel(self, topic: str) -> str:
        return self._redis.prefix + topic

    async def _listen(self) -> None:
        while not is_cancelled():
            try:
                async with self._redis.client.pubsub() as pubsub:
                    await self._subscribe_all(pubsub)
                    self._report(None)
                    await self._read(pubsub)
            except LOST as lost:
                self._report(type(lost).__name__)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                self._report("CancelledError")  # of something within the library
            except Exception as defect:  # noqa: BLE001  # it must not end for good
                self._report_defect("redis bus", defect)
                self._report(type(defect).__name__)
            finally:
                self._pubsub = None
                self._hold()
            await asyncio.sleep(self._retry_seconds)

    async def _subscribe_all(self, pubsub: Any) -> None:
        """Subscribes to all current topics; afterwards each new subscription is made directly."""
        subscribed = {_PULSE}
        await pubsub.subscribe(self._channel(_PULSE))
        while late := self._mailboxes.keys() - subscribed:
            subscribed |= late
            await pubsub.subscribe(*map(self._channel, late))
        self._pubsub = pubsub

    async def _read(self, pubsub: Any) -> None:
        outages = self._redis.breaker.outages
        look_seconds = min(self._heartbeat_seconds, _LOOK_SECONDS)
        silent_seconds, is_waiting = 0.0, False
        while not is_cancelled():
            message = await pubsub.get_message(timeout=look_seconds)
            if message is not None:
                silent_seconds, is_waiting = 0.0, False
                self._take(message)
                continue
            if self._redis.breaker.outages != outages:
                raise TimeoutError  # after an outage a proxy in between may have dropped this connection silently
            silent_seconds += look_seconds
            if silent_seconds >= 2 * self._heartbeat_seconds:
                raise TimeoutError
            if silent_seconds >= self._heartbeat_seconds and not is_waiting:
                is_waiting = True
                await pubsub.ping()

    def _take(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        topic = "" if channel is None else channel.decode().removeprefix(self._redis.prefix)
        readers = self._mailboxes.get(topic, {})
        if message["type"] == "message":
            for mailbox in readers:
                mailbox.put(message["data"])
        elif message["type"] == "subscribe" and readers:
            in_force = self._in_force[topic]
            if topic in self._missed or in_force.done():  # done: redis-py has connected anew on its own
                self._missed.discard(topic)
                for mailbox in readers:
                    mailbox.lose()
            if not in_force.done():
                in_force.set_result(None)

    def _hold(self) -> None:
        """Marks the connection as lost: new subscribers wait until it is restored."""
        for topic, in_force in self._in_force.items():
            if in_force.done():
                self._missed.add(topic)
                self._in_force[topic] = in_force.get_loop().create_future()

    def _report(self, lost: str | None) -> None:
        """Reports the loss or return of the connection, once per change and without the library's text, which may name
        too much."""
        if lost is None:
            if self._health.findings or not self._health.is_ready:
                _log.info("Redis is connected")
            self._health = Health(is_ready=True, detail="connected")
        else:
            finding = f"REDIS_URL: the server cannot be reached ({lost}); sessions are refused"
            if finding not in (*self._health.findings, self._health.detail):
                _log.warning(finding)
            if self._health.is_ready:
                self._health = Health(is_ready=True, detail="connection lost", findings=(finding,))
            else:
                self._health = Health(is_ready=False, detail=finding)
