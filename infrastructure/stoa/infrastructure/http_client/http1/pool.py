"""The connections to one origin: the last one given back is taken first, so that those that are not needed grow old and
are closed.

An idle connection is closed before the peer would close it, because a request that crosses the peer's close may be
lost: after the time that the peer announces (`Keep-Alive: timeout=`), less a second; else after IDLE_SECONDS, which is
less than the five seconds of Node, uvicorn and Apache; and earlier still where the peer was seen to close sooner.
"""

import asyncio
import math
import re
import ssl
from collections import deque
from time import monotonic
from typing import NamedTuple

from yarl import URL

from stoa.infrastructure.http_client.failures import ConnectTimedOut, NoConnectionFree, NotConnected
from stoa.infrastructure.http_client.http1.connection import Connection
from stoa.infrastructure.http_client.http1.dialler import Dialler
from stoa.infrastructure.http_client.http1.response import Response

IDLE_SECONDS = 4.0
MAX_IDLE_SECONDS = 60.0
"""However long the peer would keep it."""
LEARNED_SECONDS = 600.0
"""How long an observed keep-alive time of the peer is believed: so many times itself, and at most so long. A peer that
was restarted closes connections of all ages, and too short a time costs a connection for each call."""
_SHORTEST_KEEP_ALIVE = 0.02
_SAFE_SHARE = 0.75

_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class Origin(NamedTuple):
    """Scheme, host and port of a URL (RFC 6454), with the Host header that names them. `tls`: the context of its
    connections, with an authority or a client certificate of its own; None: the client's."""

    is_encrypted: bool
    host: str
    port: int
    host_header: str
    tls: ssl.SSLContext | None = None


def origin_of(url: URL, tls: ssl.SSLContext | None = None) -> Origin:
    """Raises HttpFailure for a URL that is none of http or https with a host."""
    host, port = url.raw_host, url.port
    if url.scheme not in {"http", "https"} or not host or port is None:
        raise NotConnected("its URL is not an http or https URL with a host")
    return Origin(url.scheme == "https", host, port, str(url.host_port_subcomponent), tls)


class Pool:
    """`limit`: of open connections; `max_waiting`: of calls that wait for one of them."""

    def __init__(
        self, origin: Origin, dialler: Dialler, *, connect_seconds: float, limit: int, max_waiting: int
    ) -> None:
        self._origin = origin
        self._dialler = dialler
        self._connect_seconds = connect_seconds
        self._limit = limit
        self._max_waiting = max_waiting
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._places = 0
        """Connections that are open or being made."""
        self.connections: set[Connection] = set()
        self._learned_seconds = math.inf
        """A time for which the peer keeps idle connections, as far as it was observed."""
        self._learned_until = 0.0
        self._is_closing = False

    def take(self, now: float) -> Connection | None:
        """An idle connection that is in order; None: a new one is needed."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.expires > now and connection.is_quiet():
                connection.began = now
                return connection
            if connection.expires > now:
                self._learn(now - connection.idle_since, now)
            connection.close()
        return None

    async def connect(self) -> Connection:
        """A new connection, or one that another call gives back in between. Raises NotConnected."""
        is_waiting = self._places >= self._limit
        try:
            async with asyncio.timeout(self._connect_seconds):
                connection = None
                if is_waiting:
                    connection = await self._free_connection()
                    is_waiting = False
                else:
                    self._places += 1
                if connection is None:
                    connection = await self._new_connection()
        except TimeoutError as late:
            if is_waiting:
                raise self._none_free() from None
            raise ConnectTimedOut(f"no connection within {self._connect_seconds:g} s") from late
        connection.began = monotonic()
        return connection

    def give_back(self, connection: Connection, response: Response) -> None:
        """Keeps the connection for the next request, if the response leaves it in order."""
        if not connection.can_be_reused() or self._is_closing:
            connection.close()
            return
        now = monotonic()
        hint = response.fields.get(b"keep-alive")
        seconds = IDLE_SECONDS if hint is None else _announced(hint)
        connection.idle_since = now
        connection.expires = now + min(seconds, self._learned_seconds)
        if self._waiting:
            self._hand_over(connection)
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """Takes note that a kept connection turned out to be closed while its request was on the way."""
        if connection.idle_since:
            self._learn(connection.began - connection.idle_since, connection.began)

    def is_unused(self, now: float) -> bool:
        """True if nothing would be lost with the pool."""
        return not self._places and not self._waiting and now >= self._learned_until

    def look(self, now: float, head_seconds: float, body_seconds: float) -> None:
        """Closes connections that were idle for too long, and ends responses that take too long."""
        if now > self._learned_until:
            self._learned_seconds = math.inf
        for connection in [connection for connection in self._idle if connection.expires <= now]:
            self._idle.remove(connection)
            connection.close()
        for connection in tuple(self.connections):
            connection.expire(now, head_seconds, body_seconds)

    async def close(self, drain_seconds: float) -> None:
        """Closes idle connections now, and those in use after their response, at the latest after `drain_seconds`."""
        self._is_closing = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(NotConnected("the client was closed"))
        self._waiting.clear()
        open_connections = [connection.closed for connection in self.connections]
        if open_connections:
            await asyncio.wait(open_connections, timeout=drain_seconds)
        late = tuple(self.connections)
        for connection in late:
            connection.give_up()
        if late:
            await asyncio.wait([connection.closed for connection in late])

    async def _new_connection(self) -> Connection:
        """A connection on a place that is reserved."""
        origin = self._origin
        try:
            connection = await self._dialler.connect(
                origin.host, origin.port, self._on_closed, is_encrypted=origin.is_encrypted, tls=origin.tls
            )
        except BaseException:
            self._free_place()
            raise
        if connection.is_open:
            self.connections.add(connection)
        else:  # closed since it was made; sending says so
            self._free_place()
        return connection

    async def _free_connection(self) -> Connection | None:
        """Waits for a connection, or for a place for a new one (None), which is then reserved."""
        if len(self._waiting) >= self._max_waiting:
            raise self._none_free()
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                connection = waiter.result()  # given in the same moment: another call may have it
                if connection is None:
                    self._free_place()
                else:
                    self._hand_over(connection)
            raise

    def _none_free(self) -> NoConnectionFree:
        return NoConnectionFree(f"all {self._limit} connections to its host are in use")

    def _free_place(self) -> None:
        self._places -= 1
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._places += 1
                waiter.set_result(None)
                return

    def _hand_over(self, connection: Connection) -> None:
        """Gives the connection to the first call that waits, or keeps it."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def _on_closed(self, connection: Connection, is_closed_by_peer: bool) -> None:  # a callback
        if connection not in self.connections:  # its making failed
            return
        self.connections.remove(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            if is_closed_by_peer:
                now = monotonic()
                self._learn(now - connection.idle_since, now)
        self._free_place()

    def _learn(self, seconds: float, now: float) -> None:
        """Takes note that the peer closed a connection that had been idle for `seconds`."""
        if seconds >= _SHORTEST_KEEP_ALIVE:
            self._learned_seconds = min(self._learned_seconds, seconds * _SAFE_SHARE)
            self._learned_until = max(self._learned_until, now + min(LEARNED_SECONDS, LEARNED_SECONDS * seconds))


def _announced(keep_alive: bytes) -> float:
    """The seconds for which a connection may be kept after a Keep-Alive header (RFC 2068 section 19.7.1)."""
    found = _TIMEOUT.search(keep_alive)
    if found is None:
        return IDLE_SECONDS
    seconds = int(found[1])
    return min(MAX_IDLE_SECONDS, seconds - 1.0 if seconds >= 2 else seconds / 2)
