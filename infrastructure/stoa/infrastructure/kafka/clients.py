"""Clients of Kafka clusters: one for each cluster and credential, with its producer and its readers of reply topics."""

import asyncio
from typing import NamedTuple

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
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
        self, credentials: CredentialSource, rules: OutboundRules, resolver: HostResolver | None, count: CountReply
    ) -> None:
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver or HostResolver(DnsLookUp())
        self._is_own_resolver = resolver is None
        self._count = count
        self._open: dict[Upstream, Client] = {}
        self._replaced: dict[Client, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def open_requests(self) -> int:
        return sum(client.open_requests for client in (*self._open.values(), *self._replaced))

    def client(self, upstream: Upstream, secrets: SecretReader, token: str) -> Client:
        """The client for a call; another one when a secret has changed. `token`: the access token of `oauth2`. Raises
        BackendUnavailable."""
        material = secrets.material()
        current = self._open.get(upstream)
        if current is not None and current.material == material:
            current.token.latest = token or material.token
            return current
        latest = LatestToken(token or material.token)
        options = connection_options(upstream.security, material, latest, CLIENT_ID)
        cluster = Cluster(upstream.servers, options, self._rules, self._resolver)
        client = self._open[upstream] = Client(cluster, latest, material, self._count)
        if current is not None:
            loop = asyncio.get_running_loop()
            self._replaced[current] = loop.call_later(GRACE_SECONDS, self._end, current)
        return client

    async def close(self) -> None:
        for handle in self._replaced.values():
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
