"""One Kafka cluster with one credential: connections to its brokers, and where the partitions of its topics are led.

aiokafka's client is not used: it resolves names itself and connects wherever the cluster's metadata leads, it asks for
topics in a way that makes brokers create them, and an idempotent send that nobody waits for any more stays in it for as
long as the broker is away. Its connection, protocol and record format are.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.protocol.metadata import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    MetadataRequest,
)

from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.kafka.connection import GuardedConnection
from stoa.infrastructure.kafka.problems import FAILURES, BrokerRefusal, NoBroker, WrongAnswer, reading_response

REQUEST_SECONDS = 30.0
METADATA_SECONDS = 60.0
"""For which the leaders of a topic are believed; an answer that contradicts them has them asked for at once."""
MAX_TOPICS = 10_000
CALLS = "calls"
"""Connections that calls share. One that waits for records has its own, because a broker answers in order."""
_CLOSE_SECONDS = 2.0


class _Topic(NamedTuple):
    leaders: Mapping[int, int]
    """The broker that leads each partition; -1: none now."""
    until: float


class Cluster:
    """Belongs to one event loop."""

    def __init__(
        self, servers: Sequence[str], options: Mapping[str, Any], rules: OutboundRules, resolver: HostResolver
    ) -> None:
        """`options`: of the connections, from `connection_options`."""
        self._servers = [_host_and_port(server) for server in servers]
        self._options = {"request_timeout_ms": int(REQUEST_SECONDS * 1000), "max_idle_ms": 540_000, **options}
        self._rules = rules
        self._resolver = resolver
        self._brokers: dict[int, tuple[str, int]] = {}
        self._topics: dict[str, _Topic] = {}
        self._connections: dict[tuple[Any, str], Any] = {}
        """GuardedConnections; the library has no complete types."""
        self._opening: dict[tuple[Any, str], asyncio.Lock] = {}
        self._closing: set[asyncio.Future[Any]] = set()
        self._is_closed = False
        logger = logging.getLogger("aiokafka")
        if logger.level == logging.NOTSET:  # it logs an error for each attempt; the call reports it once
            logger.setLevel(logging.CRITICAL)

    async def leaders(self, topic: str) -> Mapping[int, int]:
        """The leader of each partition. Raises BrokerRefusal for a topic that is not there or not allowed, NoBroker."""
        known = self._topics.get(topic)
        if known is not None and known.until > time.monotonic():
            return known.leaders
        response = await self._metadata([topic])
        with reading_response():
            entry: Any = next((entry for entry in response.topics if entry[1] == topic), None)
            if entry[0]:
                raise BrokerRefusal(entry[0])
            leaders = {row[1]: row[2] for row in entry[-1]}
            if not leaders:
                raise WrongAnswer("the topic has no partitions")
        if len(self._topics) >= MAX_TOPICS:
            self._topics.clear()
        self._topics[topic] = _Topic(leaders, time.monotonic() + METADATA_SECONDS)
        return leaders

    async def topics(self) -> dict[str, int]:
        """Names of all topics that this credential may see, but the cluster's own, with their number of partitions."""
        response = await self._metadata(None)
        with reading_response():
            return {
                entry[1]: len(entry[-1])
                for entry in response.topics
                if not entry[0] and not (len(entry) > 3 and entry[2]) and not entry[1].startswith("__")
            }

    def forget(self, topic: str) -> None:
        """Ask for its leaders again when they are needed."""
        self._topics.pop(topic, None)

    async def send(self, node: int, request: Any, channel: str = CALLS) -> Any:
        """The response of one broker. Raises NoBroker."""
        place = self._brokers.get(node)
        if place is None:
            self._topics.clear()
            raise NoBroker(OSError("the leader is not among the brokers"))
        connection = await self._connection((node, channel), place)
        return await self._ask(connection, request)

    def hang_up(self, channel: str) -> None:
        """Close the connections of one channel, and with them what waits there."""
        for key in [key for key in self._connections if key[1] == channel]:
            self._end(self._connections.pop(key))
            self._opening.pop(key, None)

    async def close(self) -> None:
        self._is_closed = True
        connections, self._connections = [*self._connections.values()], {}
        for connection in connections:
            self._end(connection)
        if self._closing:
            await asyncio.wait({*self._closing}, timeout=_CLOSE_SECONDS)

    def _end(self, connection: Any) -> None:
        """Closes a connection; `close` waits until it is."""
        end: asyncio.Future[Any] | None = connection.close()
        if end is not None and connection.was_opened and not end.done():
            self._closing.add(end)
            end.add_done_callback(self._closing.discard)

    async def _metadata(self, topics: list[str] | None) -> Any:
        """Of these topics, or of all. Never makes a topic where brokers make them by themselves."""
        connection = await self._any_connection()
        try:
            response = await self._ask(connection, MetadataRequest(topics, allow_auto_topic_creation=False))
        except NoBroker as failure:
            raise failure.unsent() from failure
        with reading_response():
            brokers = {row[0]: (row[1], int(row[2])) for row in response.brokers}
        if brokers:
            self._brokers = brokers
        return response

    async def _any_connection(self) -> Any:
        for (_, channel), connection in self._connections.items():
            if channel == CALLS and connection.connected():
                return connection
        places: list[tuple[Any, tuple[str, int]]] = [*self._brokers.items()]
        random.shuffle(places)
        places += [(f"bootstrap-{number}", server) for number, server in enumerate(self._servers)]
        failure = NoBroker(OSError("no broker is named"))
        for name, place in places:
            try:
                return await self._connection((name, CALLS), place)
            except NoBroker as problem:
                failure = problem
        self._brokers = {}  # the cluster may have moved; the next call begins with the servers that the manifest names
        raise failure

    async def _connection(self, key: tuple[Any, str], place: tuple[str, int]) -> Any:
        connection = self._connections.get(key)
        if connection is not None and connection.connected():
            return connection
        async with self._opening.setdefault(key, asyncio.Lock()):
            connection = self._connections.get(key)
            if connection is not None and connection.connected():
                return connection
            opened: Any = GuardedConnection(*place, self._rules, self._resolver, **self._options)
            try:
                await opened.connect()
            except FAILURES as failure:
                self._end(opened)
                raise NoBroker(failure) from failure
            except asyncio.CancelledError:
                self._end(opened)
                raise
            if self._is_closed:
                self._end(opened)
                raise NoBroker(OSError("the gateway is shutting down"))
            self._connections[key] = opened
            return opened

    async def _ask(self, connection: Any, request: Any) -> Any:
        try:
            return await connection.send(request)
        except TimeoutError as failure:
            self._end(connection)  # what comes late would be taken for the answer to the next request
            raise NoBroker(failure, was_sent=True) from failure
        except FAILURES as failure:
            raise NoBroker(failure, was_sent=True) from failure


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
