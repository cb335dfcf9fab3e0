"""Load at a fixed rate, whatever the system does (wrk2's method): latency counts from the time at which a request
should have been sent, so that a system that stalls does not spare itself the requests that it holds up.

One thread, blocking sockets, and `select` over the connections that wait for an answer: its timer is finer than those
of event loops, which wait for whole milliseconds. It reports its own lag, because that would pass for latency.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.errors import CannotMeasure
from bench.wire import numbered

_FIRST, _LAST = 100_000, 999_999
_ANSWER_SECONDS = 10.0
_CHUNK = 1 << 16
MOST_LAG_MS = 1.0
"""Milliseconds that the generator itself may be late, at the 99th percentile."""
LEAST_KEPT = 0.99
"""The part of the rate that must have been sent in time."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """One round at one rate."""

    ms: tuple[float, ...]
    """Latency of each call, in ascending order."""
    kept: float
    """The part of the calls that were sent before the round ended. Below LEAST_KEPT the system is saturated, or the
    generator lags."""
    lag_ms: float
    """Delay of calls that had a free connection, at the 99th percentile: the generator's own fault."""
    cpu_share: float
    """Part of one processor that the generator took."""
    wrong: int
    """Calls whose answer was not right."""

    def percentile(self, percent: float) -> float:
        return percentile(self.ms, percent)


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The least of the values that at least `percent` of them do not exceed (nearest rank)."""
    rank = -(-len(ascending) * percent // 100)
    return ascending[max(0, int(rank) - 1)]


class Connection:
    """One connection and the call that it makes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno = self.socket.fileno
        self.due = 0.0
        self.free_since = 0.0
        self._number = b""
        self._read = b""

    def send(self, template: str, number: int, due: float) -> None:
        self.due, self._number, self._read = due, b"%d" % number, b""
        self.socket.sendall(numbered(template, number))

    def receive(self) -> bool | None:
        """True if the answer is right; None: it has not come whole. Raises CannotMeasure."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise CannotMeasure("a connection was closed in the middle of a call")
        self._read += data
        head, separator, body = self._read.partition(b"\r\n\r\n")
        if not separator:
            return None
        _, has_length, rest = head.lower().partition(b"content-length:")
        if not has_length:
            raise CannotMeasure("an answer does not say how long it is")
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return None
        return head.startswith(b"HTTP/1.1 200") and self._number in body


class OpenLoop:
    """Connections to one port on 127.0.0.1, which call with `template`."""

    def __init__(
        self, port: int, template: str, connections: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._template = template
        self._connections = [Connection(port) for _ in range(connections)]
        self._number = _FIRST

    def close(self) -> None:
        for connection in self._connections:
            connection.socket.close()

    def run(self, rate: float, seconds: float) -> Latencies:
        """Raises CannotMeasure when a connection breaks or an answer does not come."""
        latencies: list[float] = []
        lags: list[float] = []
        waiting: set[Connection] = set()
        free = deque(self._connections)
        count = max(1, round(rate * seconds))
        wrong = sent = 0
        clock, spent = self._clock, time.process_time()
        begin = clock()
        end = begin + seconds
        while True:
            now, due = clock(), begin + sent / rate
            is_over = sent == count or now >= end
            if not is_over and due <= now and free:
                connection = free.popleft()
                # A call that waited for a connection was held up by the system, not by this loop.
                lags.append(now - max(due, connection.free_since))
                connection.send(self._template, self._next(), due)
                waiting.add(connection)
                sent += 1
                continue
            if is_over and not waiting:
                break
            for connection in self._readable(waiting, _ANSWER_SECONDS if is_over or not free else due - now):
                is_right = connection.receive()
                if is_right is not None:
                    connection.free_since = clock()
                    latencies.append((connection.free_since - connection.due) * 1e3)
                    wrong += not is_right
                    waiting.discard(connection)
                    free.append(connection)
        elapsed, spent = clock() - begin, time.process_time() - spent
        lag = percentile(sorted(lags), 99) * 1e3
        return Latencies(tuple(sorted(latencies)), sent / count, lag, spent / elapsed, wrong)

    def _readable(self, waiting: Iterable[Connection], seconds: float) -> Iterable[Connection]:
        """Those with something to read, none after the time. Raises CannotMeasure for a call without answer."""
        readable, _, _ = select.select(waiting, (), (), max(0.0, seconds))
        if not readable:
            now = self._clock()
            if any(now - connection.due > _ANSWER_SECONDS for connection in waiting):
                raise CannotMeasure(f"a call was not answered within {_ANSWER_SECONDS:g} s")
        return readable

    def _next(self) -> int:
        self._number = self._number + 1 if self._number < _LAST else _FIRST
        return self._number
