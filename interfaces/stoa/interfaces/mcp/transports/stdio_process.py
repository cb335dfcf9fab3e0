"""The connection of this process's standard input and output, served by a StdioDoor.

Reading and writing block in threads of their own: that works for pipes, files and terminals alike, and threads that are
stuck in it do not keep the process from ending.
"""

import asyncio
import queue
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from stoa.domain.access.identity import TenantId
from stoa.interfaces.mcp.engine.engine import McpEngine
from stoa.interfaces.mcp.transports.stdio import StdioDoor
from stoa.interfaces.mcp.transports.stdio_connection import StdioConnection
from stoa.interfaces.wire.credentials import CredentialNow
from stoa.interfaces.wire.views import EVERYTHING, View

T = TypeVar("T")


async def serve_process(
    engine: McpEngine,
    credential: CredentialNow,
    connection: StdioConnection,
    *,
    tenant: TenantId | None = None,
    view: View = EVERYTHING,
) -> None:
    """Serve the client of the connection until it goes away, or SIGTERM or SIGINT."""
    with _end_signals() as end_signal:
        reader, writer = _Worker("stdin"), _Worker("stdout")

        async def receive() -> bytes:
            return await reader.run(connection.read)

        async def send(message: bytes) -> None:
            await writer.run(lambda: connection.write(message))

        door = StdioDoor(engine, send, credential, tenant=tenant, view=view)
        serving = asyncio.create_task(door.serve(receive, connection.take_over()))
        ending = asyncio.create_task(end_signal.wait())
        try:
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            is_told = not serving.done()
            serving.cancel()
            await asyncio.wait({serving})
        if not is_told:
            serving.result()


@contextmanager
def _end_signals() -> Generator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets."""
    loop, end_signal = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    with suppress(NotImplementedError):  # Windows ends the process itself
        for number in signals:
            loop.add_signal_handler(number, end_signal.set)
    try:
        yield end_signal
    finally:
        with suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


class _Worker:
    """Runs blocking calls one after the other in a thread that dies with the process."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((future, job))
        return await future

    def _work(self) -> None:
        while True:
            future, job = self._jobs.get()
            try:
                result, error = job(), None
            except OSError as caught:
                result, error = None, caught
            with suppress(RuntimeError):  # the loop is closed: the result is of no use any more
                self._loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: "asyncio.Future[Any]", result: Any, error: OSError | None) -> None:
    if future.done():  # its waiter was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
