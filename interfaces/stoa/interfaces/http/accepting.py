"""Accepting connections in several workers that share a listening socket, so that each gets as many.

An event loop accepts all connections that wait, so the worker that wakes first would have all of a burst: sixteen
connections of one client went to one of two workers. Here each worker accepts one at a time, and leaves a connection to
the others while one of them has fewer (docs/decisions/0079-balanced-workers.md).
"""

import asyncio
import logging
import mmap
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_log = logging.getLogger(__name__)

_PLACES = 256
_AWAY = -1
"""Count of a worker that accepts nothing."""
_LEFT_TO_OTHERS_SECONDS = 0.005
"""Time for a worker with fewer connections to accept one. Then it is busy or dead, and any other does."""
_AT_ONCE = 4
"""Connections that are accepted in one turn after they were left in vain: no worker's count has changed."""
_NO_ROOM_SECONDS = 1.0
"""Pause after the system refused to accept, which it does for lack of descriptors or memory."""


class ConnectionCounts:
    """The number of connections of each worker, in memory that forked processes share."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, _PLACES * 4)).cast("i")
        for place in range(_PLACES):
            self._counts[place] = _AWAY

    def __len__(self) -> int:
        return len(self._counts)

    def publish(self, place: int, count: int) -> None:
        self._counts[place] = count

    def withdraw(self, place: int) -> None:
        """Declares that the worker at this place accepts nothing."""
        self._counts[place] = _AWAY

    def snapshot(self) -> bytes:
        """All counts, to compare with those of another time."""
        return self._counts.tobytes()

    def has_most(self, place: int) -> bool:
        """True if another worker has fewer connections than this one."""
        own = self._counts[place]
        return any(_AWAY < count < own for count in self._counts)


class BalancedListener:
    """Accepts on one listening socket in the running loop. `connection` makes the protocol of a connection;
    `connections` returns how many this worker has; `secured` is passed on to `connect_accepted_socket`."""

    def __init__(
        self,
        listener: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        counts: ConnectionCounts,
        place: int,
        connections: Callable[[], int],
        secured: dict[str, Any],
    ) -> None:
        self.sockets: tuple[socket.socket, ...] = (listener,)
        """Empty once it is closed."""
        self._listener = listener
        self._connection = connection
        self._counts = counts
        self._place = place
        self._connections = connections
        self._secured = secured
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[Any]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self.publish()
        self._loop.add_reader(self._listener, self._on_waiting)

    def close(self) -> None:
        """Accepts nothing more; the socket stays open."""
        self.sockets = ()
        self._counts.withdraw(self._place)
        if self._pause is None:
            self._loop.remove_reader(self._listener)
        else:
            self._pause.cancel()

    def publish(self) -> None:
        """Tells the other workers how many connections this one has. Call it regularly: connections also end."""
        self._counts.publish(self._place, self._connections() + len(self._connecting))

    def _on_waiting(self) -> None:
        self.publish()
        if not self._counts.has_most(self._place):
            self._accept()
            return
        before = self._counts.snapshot()

        def take_what_is_left() -> None:
            self.publish()
            if self._counts.snapshot() == before:  # else another worker does accept, if slowly
                for _ in range(_AT_ONCE):
                    if not self._accept():
                        break

        self._wait(_LEFT_TO_OTHERS_SECONDS, take_what_is_left)

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        def go_on() -> None:
            self._pause = None
            self._loop.add_reader(self._listener, self._on_waiting)  # first, because `then` may pause again
            then()

        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, go_on)

    def _accept(self) -> bool:
        """True if a connection was there. Another worker may have been faster."""
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as caught:
            _log.error("cannot accept connections: %s", caught.strerror)
            self._wait(_NO_ROOM_SECONDS, lambda: None)
            return False
        accepted.setblocking(False)
        with suppress(OSError):  # it may have been reset already
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connecting = self._loop.create_task(self._connect(accepted))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        self.publish()
        return True

    async def _connect(self, accepted: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):  # a client that went away, or whose TLS handshake failed
            await self._loop.connect_accepted_socket(self._connection, accepted, **self._secured)
