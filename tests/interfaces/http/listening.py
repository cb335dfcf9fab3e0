"""A World behind the gateway's own HTTP protocol on a loopback port, and sockets that say what a test writes."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interfaces.doors import World

from stoa.interfaces.http.connections import STATE_KEY, Bounds, Connections
from stoa.interfaces.http.lifecycle import LIFECYCLE_KEY, Lifecycle
from stoa.interfaces.http.server import GatewayServer, config_of

WAIT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75
STANDARD = Bounds()


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Listening:
    port: int
    connections: Connections
    refusals: list[str]
    protocols: set[Any]
    tasks: set[Any]
    server: GatewayServer
    lifecycle: Lifecycle
    serving: "asyncio.Task[None]"
    open_clients: list["Client"] = field(default_factory=list)

    @property
    def protocol(self) -> Any:
        """Of the one connection that is open."""
        (one,) = self.protocols
        return one

    async def connect(self, receive_buffer: int | None = None) -> "Client":
        plain = socket.socket()
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.port))
        except OSError:
            plain.close()
            raise
        client = Client(plain)
        self.open_clients.append(client)
        return client

    async def end(self) -> None:
        """As SIGTERM does."""
        self.server.should_exit = True
        await asyncio.wait_for(asyncio.shield(self.serving), WAIT_SECONDS)

    async def settle(self, condition: Any) -> None:
        """Wait until something is so on the server's side, which shares this loop."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await asyncio.sleep(0.001)


class Client:
    """A connection as bytes."""

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain
        self._rest = b""

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _more(self) -> bytes:
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                return await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            except ConnectionError:
                return b""

    async def response(self, *, has_body: bool = True) -> Response | None:
        """The next response; None: the connection was closed instead. That to HEAD has no body."""
        while b"\r\n\r\n" not in self._rest:
            data = await self._more()
            if not data:
                assert not self._rest, f"half a response: {self._rest!r}"
                return None
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if status == 100 or not has_body:
            return Response(status, headers, b"")
        size = int(headers.get("content-length", "0"))
        while len(self._rest) < size:
            data = await self._more()
            assert data, "the body is cut off"
            self._rest += data
        body, self._rest = self._rest[:size], self._rest[size:]
        return Response(status, headers, body)

    async def until(self, part: bytes) -> bytes:
        """All that came, as soon as `part` did."""
        while part not in self._rest:
            data = await self._more()
            assert data, f"the connection ended: {self._rest!r}"
            self._rest += data
        return self._rest

    async def all(self) -> list[Response]:
        """Every response until the server closes the connection."""
        found: list[Response] = []
        while (one := await self.response()) is not None:
            found.append(one)
        return found

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def listening(
    world: World, bounds: Bounds = STANDARD, *, grace_seconds: float = 1.0, tls: tuple[Path, Path] | None = None
) -> AsyncGenerator[Listening]:
    """Until the test ends, or its server did."""
    refusals: list[str] = []
    connections = Connections(bounds, lambda reason, *_: refusals.append(reason))
    lifecycle = Lifecycle(
        connections,
        world.gateway.invoke_operation.running,
        world.engine.end_streams,
        drain_seconds=0.0,
        grace_seconds=grace_seconds,
        reloads={"catalogue": world.gateway.loader.execute},
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"] |= {STATE_KEY: connections, LIFECYCLE_KEY: lifecycle}
        await world.app(scope, receive, send)

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    cert, key = tls or (None, None)
    server = GatewayServer(config_of(app, KEEP_ALIVE_SECONDS, tls_cert=cert, tls_key=key, date_header=False))
    serving = asyncio.create_task(server._serve([listener]))
    state = server.server_state
    port = listener.getsockname()[1]
    found = Listening(port, connections, refusals, state.connections, state.tasks, server, lifecycle, serving)
    try:
        await found.settle(lambda: server.started)
        yield found
    finally:
        for client in found.open_clients:
            client.close()
        server.should_exit = True
        await asyncio.wait_for(serving, WAIT_SECONDS)
        listener.close()
