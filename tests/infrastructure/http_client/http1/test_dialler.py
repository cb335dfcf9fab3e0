"""Making connections: which address, TLS with own authorities and client certificates, and a cut over TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from tests.infrastructure.http_client.http1.peer import OK
from tests.infrastructure.http_client.tls_server import Identity, identity
from yarl import URL

from stoa.infrastructure.http_client import PUBLIC_ONLY, ForbiddenAddress, HostResolver
from stoa.infrastructure.http_client.failures import NotConnected, ResponseCutShort
from stoa.infrastructure.http_client.http1 import Http1Client
from stoa.infrastructure.http_client.http1.dialler import first_of, in_turn
from stoa.infrastructure.http_client.http1.pool import origin_of
from stoa.infrastructure.http_client.resolver import Found, LookUp


class Names(LookUp):
    def __init__(self, *addresses: str, ttl_seconds: float = 60.0) -> None:
        self.addresses = addresses
        self._ttl_seconds = ttl_seconds

    async def __call__(self, name: str) -> Found:
        return Found(self.addresses, self._ttl_seconds)

    async def close(self) -> None:
        """Nothing is open."""


# Which address


def test_addresses_are_tried_with_their_families_in_turn() -> None:
    assert in_turn(["::1", "::2", "::3", "1.1.1.1"]) == ["::1", "1.1.1.1", "::2", "::3"]
    assert in_turn(["1.1.1.1", "1.1.1.2", "::1"]) == ["1.1.1.1", "::1", "1.1.1.2"]


Attempt = Callable[[], Awaitable[socket.socket]]


def attempt(begun: list[int], number: int, outcome: socket.socket | OSError | None) -> Attempt:
    async def made() -> socket.socket:
        begun.append(number)
        if outcome is None:
            return await asyncio.get_running_loop().create_future()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    return made


async def test_addresses_that_hang_or_fail_give_way_to_the_next() -> None:
    with socket.socket() as good, socket.socket() as unused:
        for outcomes in ([None, good], [OSError("a"), good], [None, OSError("b"), good], [good, unused]):
            begun: list[int] = []
            attempts = [attempt(begun, number, outcome) for number, outcome in enumerate(outcomes)]
            assert await first_of(attempts, 0.001) is good
            assert begun == [number for number, outcome in enumerate(outcomes) if outcome is not unused]


async def test_addresses_that_all_fail_give_the_reason_of_the_first() -> None:
    with pytest.raises(OSError, match="first"):
        await first_of([attempt([], 0, OSError("first")), attempt([], 1, OSError("second"))], 60)


async def test_addresses_of_a_name_are_tried_until_one_accepts() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = Http1Client(None, HostResolver(Names("127.0.0.2", "::1", "127.0.0.1")))
    response = await http.request(origin_of(URL(f"http://api.test:{port}")), "GET", "/", {}, None, 10)
    assert response.status == 200
    await http.close()
    server.close()


async def test_addresses_are_judged_at_each_connection_whatever_the_name_said_before() -> None:
    """Rebinding: a name that was allowed leads to a private address later."""
    names = Names("203.0.113.1", ttl_seconds=0.0)
    resolver = HostResolver(names)
    assert await resolver.addresses("api.test") == ("203.0.113.1",)
    http = Http1Client(PUBLIC_ONLY, resolver)
    for names.addresses in (("127.0.0.1",), ("::1", "10.0.0.1"), ("169.254.169.254",)):
        with pytest.raises(NotConnected) as refused:
            await http.request(origin_of(URL("http://api.test:1")), "GET", "/", {}, None, 1)
        assert isinstance(refused.value.__cause__, ForbiddenAddress)
    await http.close()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://EXAMPLE.test", (False, "example.test", 80, "example.test")),
        ("https://example.test:443/x", (True, "example.test", 443, "example.test")),
        ("http://[::1]:8080", (False, "::1", 8080, "[::1]:8080")),
        ("http://bücher.test", (False, "xn--bcher-kva.test", 80, "xn--bcher-kva.test")),
    ],
)
def test_origin_of_a_url(url: str, origin: tuple[object, ...]) -> None:
    assert origin_of(URL(url))[:4] == origin


@pytest.mark.parametrize("url", ["ftp://example.test", "/path", "http://", "mailto:a@b.test"])
def test_origin_needs_http_and_a_host(url: str) -> None:
    with pytest.raises((NotConnected, ValueError)):
        origin_of(URL(url))


# TLS


@pytest.fixture(scope="module")
def server_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("server"), "api.test")


@pytest.fixture(scope="module")
def client_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("client"), "gateway")


def server_context(server: Identity, client: Identity | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.chain, server.key)
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.authority)
    return context


def client_context(authority: Path, own: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if own is not None:
        context.load_cert_chain(own.chain, own.key)
    return context


async def over_tls(server: ssl.SSLContext, client: ssl.SSLContext, *, host: str = "api.test", calls: int = 1) -> int:
    """Makes `calls` over kept connections; returns the number of connections. Raises HttpFailure."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK)
        except (EOFError, OSError):
            writer.close()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, __: None)  # handshakes that fail on purpose
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    origin = origin_of(URL(f"https://{host}:{listener.sockets[0].getsockname()[1]}"))
    http = Http1Client(None, HostResolver(Names("127.0.0.1")), tls=client)
    try:
        for _ in range(calls):
            assert (await http.request(origin, "POST", "/", {}, b"", 100)).body == b"{}"
    finally:
        await http.close()
        listener.close()
    return connections


async def test_tls_trusts_an_own_authority_and_keeps_the_connection(server_identity: Identity) -> None:
    assert await over_tls(server_context(server_identity), client_context(server_identity.authority), calls=5) == 1


@pytest.mark.parametrize("is_own", [True, False])
async def test_tls_refuses_another_authority_and_another_name(server_identity: Identity, is_own: bool) -> None:
    context = client_context(server_identity.authority) if is_own else ssl.create_default_context()
    with pytest.raises(NotConnected) as refused:
        await over_tls(server_context(server_identity), context, host="other.test" if is_own else "api.test")
    assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
    assert refused.value.nothing_was_sent


async def test_tls_shows_the_client_certificate(server_identity: Identity, client_identity: Identity) -> None:
    server = server_context(server_identity, client_identity)
    assert await over_tls(server, client_context(server_identity.authority, client_identity), calls=2) == 1
    with pytest.raises(OSError):
        await over_tls(server, client_context(server_identity.authority))


@pytest.mark.parametrize("is_clean", [True, False])
def test_tls_body_that_the_end_delimits_must_end_cleanly(server_identity: Identity, is_clean: bool) -> None:
    """Anyone on the way can end a TCP connection; only the peer can end TLS (RFC 9112 section 9.8). uvloop tells the
    two apart; asyncio's own loop does not."""
    uvloop.run(_ended_over_tls(server_identity, is_clean))


async def _ended_over_tls(server_identity: Identity, is_clean: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await writer.drain()
        if is_clean:
            writer.close()
        else:
            below = socket.socket(fileno=writer.transport.get_extra_info("socket").fileno())
            below.shutdown(socket.SHUT_WR)
            below.detach()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(server_identity))
    origin = origin_of(URL(f"https://api.test:{listener.sockets[0].getsockname()[1]}"))
    http = Http1Client(None, HostResolver(Names("127.0.0.1")), tls=client_context(server_identity.authority))
    try:
        async with asyncio.timeout(10):
            if is_clean:
                assert (await http.request(origin, "GET", "/", {}, None, 100)).body == b"half"
            else:
                with pytest.raises(ResponseCutShort):
                    await http.request(origin, "GET", "/", {}, None, 100)
    finally:
        await http.close()
        listener.close()
