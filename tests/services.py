"""A Redis within this process, and a wire to a server that can be cut. The real servers are in tests/live."""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from redis.exceptions import ResponseError

from stoa.application.concurrency.circuit_breaker import CircuitBreaker
from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.redis import RedisConnection


class _Replies:
    """The commands of one connection. An error is a reply like any other; the library would hang up after it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def read_response(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error


class _Handler(TCPFakeRequestHandler):
    disable_nagle_algorithm = True  # each reply of a pipeline is written by itself, and would wait 40 ms for the next

    def setup(self) -> None:
        super().setup()
        self.current_client = _Replies(self.current_client)  # type: ignore[assignment]


class _Server(TcpFakeServer):
    request_queue_size = 128


@contextmanager
def redis_in_process() -> Generator[str]:
    """The URL of a peer that speaks Redis's protocol over a socket, from threads of this process."""
    server = _Server(("127.0.0.1", 0))
    server.RequestHandlerClass = _Handler
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Wire:
    """A way to a server that a test can cut and mend."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cut = self._is_silent = self._hangs_up = False
        self._silenced: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.came = 0
        """Connections that were made."""

    def cut(self) -> None:
        self._is_cut = True
        self.drop()

    def silence(self) -> None:
        """Lose every byte, also of new connections. Those that there are stay silent when it is mended: what stood in
        between has forgotten them."""
        self._is_silent = True
        self._silenced |= self._ends

    def hang_up(self) -> None:
        """Accept connections and close them, as a load balancer does that has no server behind it."""
        self._hangs_up = True
        for end in self._ends:
            end.close()

    def drop(self) -> None:
        """Break all connections; new ones may be made at once."""
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        self._is_cut = self._is_silent = self._hangs_up = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        if self._is_cut:
            writer.transport.abort()
            return
        if self._hangs_up:
            writer.close()
            return
        if self._is_silent:
            self._silenced.add(writer)
        self._ends.add(writer)  # may be cut while the other end is being connected
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._ends.add(far_writer)
        if self._is_silent:
            self._silenced.add(far_writer)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, far_writer))
                both.create_task(self._copy(far_reader, writer))
        finally:
            self._ends -= {writer, far_writer}

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if target in self._silenced:
                    continue
                target.write(data)
                await target.drain()
        target.transport.abort()


@asynccontextmanager
async def wire(url: str) -> AsyncGenerator[Wire]:
    made = Wire(url)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    try:
        yield made
    finally:
        server.close()
        made.drop()
        await asyncio.sleep(0)


@asynccontextmanager
async def connections(*urls: str, prefix: str = "", **options: Any) -> AsyncGenerator[tuple[RedisConnection, ...]]:
    """Connections that see the same keys, and nobody else's unless `prefix` says so. Each failure shows: no breaker
    opens, unless `breaker` is one that does."""
    prefix = prefix or secrets.token_hex(8)
    options.setdefault("breaker", CircuitBreaker(SystemClock(), failures=1_000_000))
    made = tuple(RedisConnection(url, prefix=prefix, **options) for url in urls)
    try:
        yield made
    finally:
        for redis in made:
            await redis.close()
