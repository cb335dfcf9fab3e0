"""All connections of one worker: how many there may be, how long each may keep the gateway waiting, and how much of
what clients do not read is kept for them.

A connection is looked at once a second, never by the request, so the bounds cost the hot path nothing.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal, Protocol

Reason = Literal[
    "connections",
    "connections_per_address",
    "descriptors",
    "head_size",
    "head_deadline",
    "body_deadline",
    "write_deadline",
    "unread_bytes",
    "framing",
]
Told = Callable[[Reason, str, str], None]
_WORDS: dict[Reason, str] = {
    "connections": "all %d that one worker may have are open; see MAX_CONNECTIONS",
    "connections_per_address": "the address has all %d that it may have open; see MAX_CONNECTIONS_PER_ADDRESS",
    "descriptors": "no file descriptor is left, so no connection can be accepted; raise the limit on open files",
    "head_size": "its head is too large",
    "head_deadline": "no whole request head came in time",
    "body_deadline": "the body of its request came too slowly",
    "write_deadline": "its client did not read its answer",
    "unread_bytes": "too many bytes wait for clients that do not read",
    "framing": "it is not HTTP, or could be understood in two ways",
}

STATUS_OF: dict[Reason, int] = {
    "connections": 503,
    "connections_per_address": 429,
    "head_size": 431,
    "head_deadline": 408,
    "body_deadline": 408,
    "framing": 400,
}
"""What the client is answered, where it gets an answer; of malformed requests one of several."""

STATE_KEY = "stoa.connections"
"""Of the lifespan's state: where the server's protocol finds the Connections."""

_TICK_SECONDS = 1.0
_STOPPED_SECONDS = 2.0
_DESCRIPTORS_KEPT = 128
"""For files, back ends and shared stores: connections of clients leave at least so many, or a quarter of all."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection, one address, one caller and all of them may take of a worker."""

    connections: int = 8192
    """At the same time; fewer where the process may not open so many files."""
    connections_per_address: int = 4096
    """Behind a reverse proxy every client has its address."""
    head_bytes: int = 64 * 1024
    """Request line and header fields together (RFC 9112 sections 3 and 5); trailers and chunk extensions likewise."""
    head_fields: int = 256
    pipelined: int = 16
    """Requests that wait on one connection for the answer to an earlier one."""
    head_seconds: float = 10.0
    """From the first byte of a head, or from the connection's beginning, to its end."""
    body_seconds: float = 10.0
    """The whole body, or at least `least_rate` on the average of such a time."""
    write_seconds: float = 20.0
    """In which a client reads what waits for it, or at least `least_rate` on the average."""
    least_rate: int = 4096
    """Bytes a second."""
    linger_seconds: float = 3.0
    """How long a connection that is being closed goes on reading what was under way, so that its answer arrives."""
    linger_bytes: int = 8 * 1024 * 1024
    unread_bytes: int = 96 * 1024 * 1024
    """Of answers that wait for slow clients, in all."""
    unread_bytes_per_tenant: int = 32 * 1024 * 1024
    unread_bytes_per_caller: int = 16 * 1024 * 1024


class Connection(Protocol):
    """What the registry sees of a connection."""

    address: str
    account: tuple[Hashable, Hashable] | None
    """(tenant, caller) of the request that is being answered; None: a stranger's, which counts by address."""
    idle_since: float
    """While something waits for the client to read it: when it was last seen to read."""

    def unread(self) -> int:
        """Bytes that wait in this process for the client to read."""
        ...

    def note_reading(self, now: float) -> bool:
        """Compare what waits with what waited before. True: the client is slower than it may be."""
        ...

    def overdue(self, now: float) -> Reason | None:
        """The deadline that passed. To be asked again and again: it compares with what it saw before."""
        ...

    def expel(self, reason: Reason) -> None:
        """End it now."""
        ...

    def drain(self) -> None:
        """Keep it for no request after the one that is being answered."""
        ...

    def shutdown(self) -> None:
        """End it as soon as it is idle."""
        ...


class Connections:
    """The connections of one server process. `told` hears each refusal: why, in words, and of which address."""

    def __init__(
        self,
        bounds: Bounds = Bounds(),
        told: Told | None = None,
        descriptors: Callable[[], int | None] | None = None,
        can_open: Callable[[], bool] | None = None,
        is_proxy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`descriptors`: how many files the process may have open, None from it: without limit; `can_open`: is there
        room for one more? `is_proxy`: does an address stand for many clients, so that it has no bound of its own?"""
        self.bounds = bounds
        self.is_draining = False
        """The server is about to end: no connection is kept for another request."""
        self._told = told
        self._is_proxy = is_proxy
        self._can_open = can_open or _can_open
        allowed = (descriptors or _descriptor_limit)()
        spare = 0 if allowed is None else max(_DESCRIPTORS_KEPT, allowed // 4)
        self.most = bounds.connections if allowed is None else max(1, min(bounds.connections, allowed - spare))
        self._open: set[Connection] = set()
        self.idle: dict[Connection, None] = {}
        """Those that were answered and wait for another request, the idlest first. They give way to new ones."""
        self._by_address: dict[str, int] = {}
        self._stalled: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> Reason | None:
        """Take a connection up; the bound that refuses it, or None. Either way it is `closed` at its end."""
        count = self._by_address.get(connection.address, 0)
        self._open.add(connection)
        self._by_address[connection.address] = count + 1
        if self._timer is None:
            self._timer = loop.call_later(_TICK_SECONDS, self._tick, loop)
        if len(self._open) > self.most and not self._has_given_way():
            return "connections"
        is_beyond = count >= self.bounds.connections_per_address and not self._is_proxy(connection.address)
        return "connections_per_address" if is_beyond else None

    def _has_given_way(self) -> bool:
        """Close the idlest. Otherwise who keeps connections for nothing could keep everybody out."""
        idlest = next(iter(self.idle), None)
        if idlest is None:
            return False
        del self.idle[idlest]
        idlest.shutdown()
        return True

    def closed(self, connection: Connection) -> None:
        self.idle.pop(connection, None)
        self._stalled.discard(connection)
        if connection not in self._open:
            return
        self._open.discard(connection)
        count = self._by_address.get(connection.address, 1) - 1
        if count:
            self._by_address[connection.address] = count
        else:
            self._by_address.pop(connection.address, None)

    def stalled(self, connection: Connection, now: float) -> None:
        """More waits for this client than the transport likes: from now on it counts against the bounds of bytes."""
        self._stalled.add(connection)
        self.hold_bounds(now)

    def flowing(self, connection: Connection) -> None:
        self._stalled.discard(connection)

    def drain(self) -> None:
        """From now on no connection is kept for another request. Those that wait for one are left open: a request may
        be under way on them."""
        self.is_draining = True
        for connection in self._open:
            connection.drain()

    def look(self, now: float) -> None:
        """Close what is overdue, and what no bound has room for."""
        for connection in list(self._open):
            reason = connection.overdue(now)
            if reason is not None:
                self.expel(connection, reason)
        self.hold_bounds(now)
        if not self._can_open():  # the event loop drops connections without a word then
            self.report("descriptors")

    def hold_bounds(self, now: float) -> None:
        """Close connections until what waits fits: first those whose clients read nothing for the longest time. The
        share of a caller, or of a tenant, is closed only where its clients have stopped reading."""
        bounds, held, total = self.bounds, Counter[Hashable](), 0
        for connection in self._stalled:
            connection.note_reading(now)
        for connection in sorted(self._stalled, key=lambda one: one.idle_since, reverse=True):
            size = connection.unread()
            tenant, caller = connection.account or (None, connection.address)
            shares = [(("caller", caller), bounds.unread_bytes_per_caller)]
            if tenant is not None:
                shares.append((("tenant", tenant), bounds.unread_bytes_per_tenant))
            has_stopped = now - connection.idle_since >= _STOPPED_SECONDS
            is_beyond = any(held[key] + size > most for key, most in shares)
            if total + size > bounds.unread_bytes or (has_stopped and is_beyond):
                self.expel(connection, "unread_bytes")
                continue
            total += size
            for key, _ in shares:
                held[key] += size

    def expel(self, connection: Connection, reason: Reason) -> None:
        self.report(reason, connection.address)
        self._stalled.discard(connection)
        connection.expel(reason)

    def report(self, reason: Reason, address: str = "") -> None:
        """Tell it, in words that name what an operator can change."""
        if self._told is not None:
            bound = {"connections": self.most, "connections_per_address": self.bounds.connections_per_address}.get(
                reason
            )
            self._told(reason, _WORDS[reason] if bound is None else _WORDS[reason] % bound, address)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        try:
            self.look(now)
        finally:
            self._timer = loop.call_later(_TICK_SECONDS, self._tick, loop) if self._open else None


def _can_open() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def _descriptor_limit() -> int | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
