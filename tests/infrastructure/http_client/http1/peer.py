"""A peer on loopback that follows a script for each connection, with the power to reset, close early and say nonsense;
it remembers the requests that it has read."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from yarl import URL

from stoa.infrastructure.http_client.http1 import Http1Client, Response
from stoa.infrastructure.http_client.http1.pool import Origin, origin_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Peer:
    origin: Origin
    requests: list[bytes] = field(default_factory=list[bytes])
    """The requests that the peer has read as a whole, in their order."""
    connections: int = 0
    open_connections: int = 0


class Wire:
    """The peer's side of one connection. A raw socket: asyncio's streams would read ahead and close politely."""

    def __init__(self, peer: Peer, sock: socket.socket, number: int) -> None:
        self._peer = peer
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self.number = number

    async def request(self) -> bytes:
        """Reads one request. Raises EOFError when the client has closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        while len(body) < length:
            body += await self._more()
        self._peer.requests.append(head + b"\r\n\r\n" + body)
        return head

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def has_received(self) -> None:
        """Waits until something has arrived, without reading it."""
        received = asyncio.Event()
        self._loop.add_reader(self._socket, received.set)
        await received.wait()
        self._loop.remove_reader(self._socket)

    async def ends(self) -> None:
        """Waits until the client closes; what it sends until then is not counted as read."""
        try:
            while await self._loop.sock_recv(self._socket, 65536):
                pass
        except OSError:
            pass

    def close(self) -> None:
        """Closes: FIN, or RST if something was received and not read."""
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _more(self) -> bytes:
        data = await self._loop.sock_recv(self._socket, 65536)
        if not data:
            raise EOFError
        return data


Script = Callable[[Wire], Awaitable[None]]


@asynccontextmanager
async def peer(script: Script, *, address: str = "127.0.0.1") -> AsyncIterator[Peer]:
    """`script` runs for each connection; the connection is closed after it."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server((address, 0))
    listener.setblocking(False)
    made = Peer(origin_of(URL(f"http://{address}:{listener.getsockname()[1]}")))

    async def serve(sock: socket.socket, number: int) -> None:
        made.open_connections += 1
        try:
            await script(Wire(made, sock, number))
        except (EOFError, OSError):
            pass
        finally:
            sock.close()
            made.open_connections -= 1

    async def accept() -> None:
        async with asyncio.TaskGroup() as connections:
            while True:
                sock, _ = await loop.sock_accept(listener)
                sock.setblocking(False)
                made.connections += 1
                connections.create_task(serve(sock, made.connections))

    accepting = asyncio.create_task(accept())
    try:
        yield made
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        listener.close()


@asynccontextmanager
async def client(**options: object) -> AsyncIterator[Http1Client]:
    made = Http1Client(None, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def asked(
    http: Http1Client,
    server: Peer,
    method: str = "GET",
    target: str = "/",
    *,
    headers: Mapping[str, str] = {},
    body: bytes | None = None,
    limit: int = 100_000,
) -> Response:
    async with asyncio.timeout(20):
        return await http.request(server.origin, method, target, headers, body, limit)


def answering(*responses: bytes) -> Script:
    """Answers the requests of each connection with `responses` in turn, the last of them again and again."""

    async def script(wire: Wire) -> None:
        number = 0
        while True:
            await wire.request()
            await wire.send(responses[min(number, len(responses) - 1)])
            number += 1

    return script


def in_turn(*scripts: Script) -> Script:
    """A script for each connection, the last one for all that follow."""

    async def script(wire: Wire) -> None:
        await scripts[min(wire.number, len(scripts)) - 1](wire)

    return script


def bodies(requests: Sequence[bytes]) -> list[bytes]:
    return [request.partition(b"\r\n\r\n")[2] for request in requests]
