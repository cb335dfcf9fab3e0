"""Clients of Kafka clusters: one for each cluster and credential, with its producer and its readers of reply topics.

A broker knows a connection by the credential that opened it, so a credential in a caller's name is a client of this
caller alone. It is closed when the caller has made no call for a while.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.binding import Authentication
from stoa.infrastructure.http_client import DnsLookUp, HostResolver, OutboundRules
from stoa.infrastructure.kafka.binding import Security
from stoa.infrastructure.kafka.cluster import Cluster
from stoa.infrastructure.kafka.login_options import LatestToken, connection_options
from stoa.infrastructure.kafka.producer import Producer
from stoa.infrastructure.kafka.replies import CountReply, ReplyReader
from stoa.infrastructure.kafka.security import Material, SecretReader

CLIENT_ID = "stoa-mcp-gateway"
GRACE_SECONDS = 300.0
"""For the calls of a client that was replaced; no tool may take longer."""
CALLER_IDLE_SECONDS = 60.0
"""After the last call in a caller's name, until this caller's client is closed."""
MAX_CALLER_CLIENTS = 200
"""Callers who have clients of their own at once."""


class Upstream(NamedTuple):
    """A cluster and whose credential is shown there; equal ones share a client."""

    servers: tuple[str, ...]
    security: Security
    tenant: TenantId | None
    authentication: Authentication


class Client:
    """Belongs to one event loop."""

    def __init__(self, cluster: Cluster, token: LatestToken, material: Material, count: CountReply) -> None:
        self.cluster = cluster
        self.token = token
        self.material = material
        self.producer = Producer(cluster)
        self.calls = 0
        """Calls that use it now, and when the last one ended; kept of clients that belong to one caller."""
        self.idle_since = 0.0
        self._count = count
        self._replies: dict[str, ReplyReader] = {}

    @property
    def open_requests(self) -> int:
        """Requests that wait for their replies."""
        return sum(reader.waiting for reader in self._replies.values())

    async def replies(self, topic: str) -> ReplyReader:
        """The reader of a reply topic, which misses nothing from now on."""
        reader = self._replies.get(topic)
        if reader is None:
            await self.cluster.leaders(topic)  # only topics that exist are remembered
            reader = self._replies.setdefault(topic, ReplyReader(self.cluster, topic, self._count))
        await reader.begin()
        return reader

    async def close(self) -> None:
        for reader in self._replies.values():
            await reader.close()
        await self.producer.close()
        await self.cluster.close()


class Clients:
    """Opened by calls, closed together."""

    def __init__(
        self,
        credentials: CredentialSource,
        rules: OutboundRules,
        resolver: HostResolver | None,
        count: CountReply,
        *,
        caller_idle_seconds: float = CALLER_IDLE_SECONDS,
    ) -> None:
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver or HostResolver(DnsLookUp())
        self._is_own_resolver = resolver is None
        self._count = count
        self._caller_idle_seconds = caller_idle_seconds
        self._open: dict[tuple[Upstream, str], Client] = {}
        """By cluster and caller; an empty caller: all callers share the credential."""
        self._replaced: dict[Client, asyncio.TimerHandle] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def open_requests(self) -> int:
        return sum(client.open_requests for client in (*self._open.values(), *self._replaced))

    @contextmanager
    def lent(self, upstream: Upstream, secrets: SecretReader, token: str, caller: str) -> Generator[Client]:
        """The client for one call; another one when a secret has changed. `token`: the access token of `oauth2`.
        `caller`: whose credential that is; empty: the gateway's own. Raises BackendUnavailable."""
        client = self._client(upstream, secrets, token, caller)
        client.calls += 1
        try:
            yield client
        finally:
            client.calls -= 1
            client.idle_since = asyncio.get_running_loop().time()

    def _client(self, upstream: Upstream, secrets: SecretReader, token: str, caller: str) -> Client:
        material = secrets.material()
        current = self._open.get((upstream, caller))
        if current is not None and current.material == material:
            current.token.latest = token or material.token
            return current
        if caller:
            self._make_room()
        latest = LatestToken(token or material.token)
        options = connection_options(upstream.security, material, latest, CLIENT_ID)
        cluster = Cluster(upstream.servers, options, self._rules, self._resolver)
        client = self._open[upstream, caller] = Client(cluster, latest, material, self._count)
        if current is not None:
            loop = asyncio.get_running_loop()
            self._replaced[current] = loop.call_later(GRACE_SECONDS, self._end, current)
        return client

    def _make_room(self) -> None:
        """For one more client of a caller."""
        callers = [key for key in self._open if key[1]]
        if len(callers) >= MAX_CALLER_CLIENTS:
            idle = [key for key in callers if not self._open[key].calls]
            if not idle:
                message = f"{MAX_CALLER_CLIENTS} callers use Kafka in their own names now; try again later"
                raise BackendUnavailable(message, nothing_was_sent=True)
            self._end(self._open.pop(min(idle, key=lambda key: self._open[key].idle_since)))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._caller_idle_seconds, self._end_idle)

    def _end_idle(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() - self._caller_idle_seconds
        for key, client in [*self._open.items()]:
            if key[1] and not client.calls and client.idle_since <= until:
                self._end(self._open.pop(key))
        is_needed = any(caller for _, caller in self._open)
        self._sweep = loop.call_later(self._caller_idle_seconds, self._end_idle) if is_needed else None

    async def close(self) -> None:
        for handle in (*self._replaced.values(), *([] if self._sweep is None else [self._sweep])):
            handle.cancel()
        clients, self._open, self._replaced = [*self._open.values(), *self._replaced], {}, {}
        await asyncio.gather(*(client.close() for client in clients), *self._ending, return_exceptions=True)
        if self._is_own_resolver:
            await self._resolver.close()

    def _end(self, client: Client) -> None:
        self._replaced.pop(client, None)
        task = asyncio.create_task(client.close(), name="end a Kafka client")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
