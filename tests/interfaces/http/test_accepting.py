"""Workers that share a listening socket accept as many connections each."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import pytest

from stoa.interfaces.http.accepting import BalancedListener, ConnectionCounts

WORKERS = 2


class Worker:
    """One that accepts on a socket which it shares with others, here in one loop."""

    def __init__(self, listener: socket.socket, counts: ConnectionCounts, place: int) -> None:
        self.open: set[asyncio.Transport] = set()
        self.changed = asyncio.Event()
        self.socket = listener
        self.listener = BalancedListener(
            listener, lambda: Connection(self), counts, place, lambda: len(self.open), secured={}
        )


class Connection(asyncio.Protocol):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._worker.open.add(self._transport)
        self._worker.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.open.discard(self._transport)
        self._worker.changed.set()


async def until(holds: Callable[[], bool], workers: list[Worker]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            waits = [asyncio.ensure_future(worker.changed.wait()) for worker in workers]
            _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in pending:
                wait.cancel()
            for worker in workers:
                worker.changed.clear()


@asynccontextmanager
async def serving(counts: ConnectionCounts, number: int = WORKERS) -> AsyncIterator[tuple[list[Worker], int]]:
    """Workers, and the port on which all of them listen."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        workers = [Worker(bound.dup(), counts, place) for place in range(number)]
        for worker in workers:
            worker.listener.start(1024)
        try:
            yield workers, bound.getsockname()[1]
        finally:
            for worker in workers:
                worker.listener.close()
                worker.socket.close()
                for transport in worker.open:
                    transport.abort()


def connect(port: int, number: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]


@pytest.mark.parametrize("number", [16, 64, 256])
async def test_accepting_spreads_a_burst_of_connections_evenly(number: int) -> None:
    async with serving(ConnectionCounts()) as (workers, port):
        clients = connect(port, number)
        await until(lambda: sum(len(worker.open) for worker in workers) == number, workers)
        for worker in workers:
            assert abs(len(worker.open) - number / WORKERS) <= 1
        for client in clients:
            client.close()


async def test_accepting_takes_one_connection_in_a_turn_of_the_loop() -> None:
    """A burst of a thousand must not keep the loop until all of them are accepted."""
    async with serving(ConnectionCounts(), number=1) as ((worker,), port):
        clients = connect(port, 64)
        opened = [0]
        while opened[-1] < 64:
            await asyncio.sleep(0)
            opened.append(len(worker.open))
        assert max(after - before for before, after in pairwise(opened)) == 1
        for client in clients:
            client.close()


async def test_accepting_evens_out_after_connections_of_one_worker_have_ended() -> None:
    async with serving(ConnectionCounts()) as (workers, port):
        clients = connect(port, 32)
        await until(lambda: sum(len(worker.open) for worker in workers) == 32, workers)
        for transport in workers[0].open:
            transport.abort()
        await until(lambda: not workers[0].open, workers)
        workers[0].listener.publish()
        clients += connect(port, 16)
        await until(lambda: sum(len(worker.open) for worker in workers) == 32, workers)
        assert abs(len(workers[0].open) - 16) <= 1
        for client in clients:
            client.close()


async def test_accepting_does_not_wait_for_a_worker_that_hangs() -> None:
    counts = ConnectionCounts()
    counts.publish(1, 0)  # one that has no connection, and never accepts one
    async with serving(counts, number=1) as (workers, port):
        clients = connect(port, 20)
        await until(lambda: len(workers[0].open) == 20, workers)
        for client in clients:
            client.close()


async def test_accepting_ends_when_the_listener_is_closed() -> None:
    counts = ConnectionCounts()
    async with serving(counts) as (workers, port):
        workers[0].listener.close()
        clients = connect(port, 8)
        await until(lambda: len(workers[1].open) == 8, workers)
        assert not workers[0].open
        workers[0].listener.start(1024)  # as the end of the test expects it
        for client in clients:
            client.close()


async def test_accepting_pauses_when_the_system_has_no_room(caplog: pytest.LogCaptureFixture) -> None:
    class Full(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            raise OSError(errno.EMFILE, "Too many open files")

    with Full() as listener:
        listener.bind(("127.0.0.1", 0))
        worker = Worker(listener, ConnectionCounts(), 0)
        worker.listener.start(16)
        clients = connect(listener.getsockname()[1], 1)
        while not caplog.records:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert [record.message for record in caplog.records] == ["cannot accept connections: Too many open files"]
        worker.listener.close()
        clients[0].close()


def test_counts_know_who_has_most() -> None:
    counts = ConnectionCounts()
    counts.publish(0, 5)
    assert not counts.has_most(0)
    counts.publish(3, 4)
    assert counts.has_most(0)
    assert not counts.has_most(3)
    counts.withdraw(3)
    assert not counts.has_most(0)
