"""Http1Client: requests over kept connections.

A request whose connection is lost before any byte of a response came is sent once more, on a new connection, when that
cannot do harm: its method is idempotent (RFC 9110 section 9.2.2), or the peer had closed before it received anything of
it. Nothing else is ever sent twice (docs/decisions/0061-http1-client.md).
"""

import asyncio
import ssl
from collections.abc import Mapping
from time import monotonic
from typing import Literal, overload

from stoa.infrastructure.http_client.failures import ConnectionLost, HttpFailure
from stoa.infrastructure.http_client.http1.dialler import Dialler
from stoa.infrastructure.http_client.http1.pool import Origin, Pool
from stoa.infrastructure.http_client.http1.request import RequestWriter
from stoa.infrastructure.http_client.http1.response import Response
from stoa.infrastructure.http_client.http1.stream import OpenResponse
from stoa.infrastructure.http_client.lookups import DnsLookUp
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import OutboundRules

CONNECT_SECONDS = 10.0
"""For a free place, the look-up of the name, the connection and the TLS handshake together."""
ANSWER_SECONDS = 330.0
"""For the head of a response, and for its body: more than any tool may take (300 s), for callers without a deadline."""
DRAIN_SECONDS = 2.0
MAX_CONNECTIONS = 1024
"""To one origin."""
MAX_WAITING = 8192
"""Calls that wait for a connection to one origin: as many as the pipeline runs."""
LOOK_SECONDS = 1.0

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 section 9.2.2."""


class Http1Client:
    """One pool for each origin. Its connections belong to the loop of the first request.

    `rules` None: the operator named the addresses, and they are not checked. `resolver`: shared with other clients;
    None: its own, which asks DNS. `tls`: trusted authorities and the client's certificate for https; None: the trust
    store of all outbound connections. `headers`: sent with requests that do not set them.
    """

    def __init__(
        self,
        rules: OutboundRules | None,
        resolver: HostResolver | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] = {},
        connect_seconds: float = CONNECT_SECONDS,
        head_seconds: float = ANSWER_SECONDS,
        body_seconds: float = ANSWER_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
        max_waiting: int = MAX_WAITING,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._own_resolver = None
        if resolver is None:
            resolver = self._own_resolver = HostResolver(DnsLookUp())
        self._dialler = Dialler(rules, resolver, tls)
        self._writer = RequestWriter(headers)
        self._connect_seconds = connect_seconds
        self._head_seconds = head_seconds
        self._body_seconds = body_seconds
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._drain_seconds = drain_seconds
        self._pools: dict[Origin, Pool] = {}
        self._timer: asyncio.TimerHandle | None = None

    @overload
    async def request(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], body: bytes | None, limit: int
    ) -> Response: ...

    @overload
    async def request(
        self, origin: Origin, method: str, target: str, headers: Mapping[str, str], body: bytes | None, limit: None
    ) -> OpenResponse: ...

    @overload
    async def request(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit: int,
        *,
        may_stream: Literal[True],
    ) -> Response | OpenResponse: ...

    async def request(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit: int | None,
        *,
        may_stream: bool = False,
    ) -> Response | OpenResponse:
        """Sends a request and waits for its whole response, whose body has at most `limit` bytes. `limit` None: waits
        for the head only, and the body is read from the OpenResponse. `may_stream`: the same for a successful response
        whose content type is that of a stream. `target`: path and query, encoded. No redirect is
        followed. The caller keeps the deadline; cancelling closes the connection. Raises HttpFailure."""
        request = self._writer.write(method, target, origin.host_header, headers, body)
        pool = self._pools.get(origin) or self.pool(origin)
        is_head_request, is_repeatable = method == "HEAD", method in IDEMPOTENT
        connection = pool.take(monotonic()) or await pool.connect()
        first_loss: ConnectionLost | None = None
        while True:
            try:
                response = await connection.send(
                    request,
                    is_head_request=is_head_request,
                    limit=limit,
                    is_repeatable=is_repeatable,
                    may_stream=may_stream,
                )
            except ConnectionLost as lost:
                pool.lost(connection)
                if first_loss is not None or not (is_repeatable or lost.nothing_was_sent):
                    raise _later(lost, first_loss) from None
                first_loss = lost
            except BaseException:
                connection.abort()
                raise
            else:
                if connection.is_streaming:
                    return OpenResponse(response, connection, pool)
                pool.give_back(connection, response)
                return response
            try:
                connection = await pool.connect()
            except HttpFailure as failure:
                raise _later(failure, first_loss) from failure.__cause__

    def pool(self, origin: Origin) -> Pool:
        """The connections to an origin."""
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(
                origin,
                self._dialler,
                connect_seconds=self._connect_seconds,
                limit=self._max_connections,
                max_waiting=self._max_waiting,
            )
            if self._timer is None:
                self._schedule()
        return pool

    async def close(self) -> None:
        """Waits up to `drain_seconds` for the responses under way. A request after it opens new connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pools, self._pools = [*self._pools.values()], {}
        await asyncio.gather(*(pool.close(self._drain_seconds) for pool in pools))
        if self._own_resolver is not None:
            await self._own_resolver.close()

    def look(self, now: float) -> None:
        """Keeps the deadlines of all connections."""
        for origin, pool in tuple(self._pools.items()):
            pool.look(now, self._head_seconds, self._body_seconds)
            if pool.is_unused(now):
                del self._pools[origin]

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self.look(monotonic())
        self._timer = None
        if self._pools:
            self._schedule()


def _later(failure: HttpFailure, first_loss: ConnectionLost | None) -> HttpFailure:
    """The failure of the last attempt, which was not the only one: the first one may have taken effect."""
    if first_loss is not None and not first_loss.nothing_was_sent:
        failure.nothing_was_sent = False
    return failure
