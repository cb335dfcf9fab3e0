"""Bounds on the connections of one worker: their number, how long each may keep the gateway waiting, and how many
unread bytes are held for clients.

Connections are checked once a second, not per request, so the bounds cost the hot path nothing.
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from stoa.interfaces.http.fair_starts import FairStarts

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
"""HTTP status by reason, for refusals that are answered; a malformed request may get another one."""

STATE_KEY = "stoa.connections"
"""Key in the lifespan's state under which the server's protocol finds the Connections."""

_TICK_SECONDS = 1.0
_STOPPED_SECONDS = 2.0
_AT_ONCE = 64
"""Connections that are looked at in one turn of the loop."""
_DESCRIPTORS_KEPT = 128
"""File descriptors that client connections leave for files, back ends and shared stores: at least so many, or a quarter
of all."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of one worker for one connection, one address, one caller, and all together."""

    connections: int = 8192
    """Concurrent connections; fewer if the process may not open so many files."""
    connections_per_address: int = 4096
    """Concurrent connections of one address. Behind a reverse proxy all clients share the proxy's address."""
    head_bytes: int = 64 * 1024
    """Request line and header fields together (RFC 9112 sections 3 and 5); trailers and chunk extensions likewise."""
    head_fields: int = 256
    pipelined: int = 16
    """Requests that wait on one connection for the answer to an earlier one."""
    head_seconds: float = 10.0
    """Time for a head, from its first byte or from the beginning of the connection."""
    body_seconds: float = 10.0
    """Time for a whole body, unless it averages at least `least_rate` over such a time."""
    write_seconds: float = 20.0
    """Time for a client to read its pending bytes, unless it averages at least `least_rate`."""
    least_rate: int = 4096
    """Lowest accepted rate of a slow client, in bytes per second."""
    linger_seconds: float = 3.0
    """Time for which a closing connection goes on reading, so that its answer arrives."""
    linger_bytes: int = 8 * 1024 * 1024
    unread_bytes: int = 96 * 1024 * 1024
    """Bytes of answers that wait for slow clients, in total."""
    unread_bytes_per_tenant: int = 32 * 1024 * 1024
    unread_bytes_per_caller: int = 16 * 1024 * 1024


class Connection(Protocol):
    """A connection as the registry sees it."""

    address: str
    account: tuple[Hashable, Hashable] | None
    """(tenant, caller) of the request that is being answered; None for a stranger's, which counts by address."""
    idle_since: float
    """Time at which the client was last seen reading, while bytes wait for it."""

    def unread(self) -> int:
        """Bytes that wait in this process for the client to read."""
        ...

    def note_reading(self, now: float) -> bool:
        """Compares the waiting bytes with those of the last check. True: the client reads too slowly."""
        ...

    def overdue(self, now: float) -> Reason | None:
        """The deadline that passed, or None. Call it regularly: it compares with its last check."""
        ...

    def expel(self, reason: Reason) -> None:
        """Ends the connection at once."""
        ...

    def drain(self) -> None:
        """Accepts no request after the one that is being answered."""
        ...

    def shutdown(self) -> None:
        """Ends the connection as soon as it is idle."""
        ...


class Connections:
    """The connections of one server process. `told` is called with each refusal: reason, message and address."""

    def __init__(
        self,
        bounds: Bounds = Bounds(),
        told: Told | None = None,
        descriptors: Callable[[], int | None] | None = None,
        can_open: Callable[[], bool] | None = None,
        is_proxy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`descriptors`: returns how many files the process may open, None for no limit; `can_open`: returns whether
        there is room for one more. `is_proxy`: returns whether an address stands for many clients, so that it has no
        bound of its own."""
        self.bounds = bounds
        self.starts = FairStarts()
        self.is_draining = False
        """True once the server is about to end: no connection is kept for another request."""
        self._report = told
        self._is_proxy = is_proxy
        self._can_open = can_open or _can_open
        allowed = (descriptors or _descriptor_limit)()
        spare = 0 if allowed is None else max(_DESCRIPTORS_KEPT, allowed // 4)
        self.most = bounds.connections if allowed is None else max(1, min(bounds.connections, allowed - spare))
        self._open: set[Connection] = set()
        self.idle: dict[Connection, float] = {}
        """Connections that wait for another request, and until when, longest idle first. They give way to new ones."""
        self._by_address: dict[str, int] = {}
        self._stalled: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> Reason | None:
        """Registers a connection; returns the bound that refuses it, or None. In both cases `closed` is called at its
        end."""
        count = self._by_address.get(connection.address, 0)
        self._open.add(connection)
        self._by_address[connection.address] = count + 1
        if self._timer is None:
            self._timer = loop.call_later(_TICK_SECONDS, self._tick, loop)
        if len(self._open) > self.most and not self._has_given_way():
            return "connections"
        is_beyond = count >= self.bounds.connections_per_address and not self._is_proxy(connection.address)
        return "connections_per_address" if is_beyond else None

    def stranger_on(self, connection: Connection) -> int:
        """The sender of a request without a credential, for FairStarts: the address, or of a proxy the connection."""
        return hash(connection if self._is_proxy(connection.address) else connection.address)

    def _has_given_way(self) -> bool:
        """Closes the longest idle connection. Otherwise clients that hold idle connections could lock all others
        out."""
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
        """Marks a client with more waiting bytes than the transport's high-water mark: from now on they count against
        the bounds."""
        self._stalled.add(connection)
        self.hold_bounds(now)

    def flowing(self, connection: Connection) -> None:
        self._stalled.discard(connection)

    def drain(self) -> None:
        """Stops keeping connections for another request. Idle ones are left open, because a request may already be on
        its way."""
        self.is_draining = True
        for connection in self._open:
            connection.drain()

    def look(self, now: float) -> None:
        """Closes overdue connections, and those that exceed a bound."""
        for _ in self._pieces(now):
            pass

    def _pieces(self, now: float) -> Iterator[bool]:
        """`look` in pieces, False after each: eight thousand connections would keep the event loop for 25 ms."""
        for number, connection in enumerate(list(self._open), 1):
            reason = connection.overdue(now) if connection in self._open else None
            if reason is not None:
                self.expel(connection, reason)
            if number % _AT_ONCE == 0:
                yield False
        self.hold_bounds(now)
        yield from self._end_idle(now)
        if not self._can_open():  # the event loop drops connections without a word then
            self.report("descriptors")

    def _end_idle(self, now: float) -> Iterator[bool]:
        """Ends the connections whose keep-alive time is over; in pieces like `look`."""
        for number in itertools.count(1):
            connection, until = next(iter(self.idle.items()), (None, now))
            if connection is None or now < until:
                return
            del self.idle[connection]
            connection.shutdown()
            if number % _AT_ONCE == 0:
                yield False

    def hold_bounds(self, now: float) -> None:
        """Closes connections until the waiting bytes fit the bounds, first those whose clients have read nothing for
        the longest time. The share of a caller, or of a tenant, is closed only where its clients have stopped
        reading."""
        bounds, held, total = self.bounds, Counter[Hashable](), 0
        for connection in self._stalled:
            connection.note_reading(now)
        # The most recent readers come first, so that they use up the bounds and the slowest clients exceed them.
        for connection in sorted(self._stalled, key=lambda stalled: stalled.idle_since, reverse=True):
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
        """Reports a refusal, naming the setting that an operator can change."""
        if self._report is not None:
            bound = {"connections": self.most, "connections_per_address": self.bounds.connections_per_address}.get(
                reason
            )
            self._report(reason, _WORDS[reason] if bound is None else _WORDS[reason] % bound, address)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._go_on(loop, self._pieces(loop.time()))

    def _go_on(self, loop: asyncio.AbstractEventLoop, pieces: Iterator[bool]) -> None:
        is_over = True
        try:
            is_over = next(pieces, True)
        finally:
            if not is_over:
                loop.call_soon(self._go_on, loop, pieces)
            else:
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
