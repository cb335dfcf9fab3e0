"""Makes connections: resolves the host, applies the outbound rules to each address, connects, does the TLS handshake.

The rules look at the numeric address that is connected to, so a name that changes its address (DNS rebinding) gains
nothing. Addresses are tried as RFC 8305 says: the families in turn, the next one when the one before has failed or has
taken ATTEMPT_DELAY_SECONDS.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, zip_longest

from stoa.infrastructure.http_client.failures import NotConnected
from stoa.infrastructure.http_client.http1.connection import Connection, OnClosed
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import ForbiddenAddress, OutboundRules
from stoa.infrastructure.http_client.tls import http_context

ATTEMPT_DELAY_SECONDS = 0.25


class Dialler:
    """`rules` None: the operator named the address, and it is not checked. `tls`: of https connections, with trusted
    authorities and the client's certificate; None: the trust store of all outbound connections, no certificate."""

    def __init__(self, rules: OutboundRules | None, resolver: HostResolver, tls: ssl.SSLContext | None) -> None:
        self._rules = rules
        self._resolver = resolver
        self._tls = tls

    async def connect(
        self, host: str, port: int, on_closed: OnClosed, *, is_encrypted: bool, tls: ssl.SSLContext | None = None
    ) -> Connection:
        """`tls`: instead of the one of all connections. Raises NotConnected, whose __cause__ is the reason. The caller
        keeps the deadline."""
        try:
            addresses = self._allowed(await self._resolver.addresses(host))
            sock = await _first_connected(in_turn(addresses), port)
        except OSError as caught:
            raise NotConnected("no connection could be made") from caught
        connection = Connection(sock, on_closed, is_encrypted=is_encrypted)
        try:  # from here on the loop closes the socket
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                sock=sock,
                ssl=(tls or self._tls or http_context()) if is_encrypted else None,
                server_hostname=host.rstrip(".") if is_encrypted else None,
            )
        except OSError as caught:
            raise NotConnected("the TLS handshake failed") from caught
        return connection

    def _allowed(self, addresses: Sequence[str]) -> list[str]:
        if self._rules is None:
            return [*addresses]
        allowed: list[str] = []
        refusal: ForbiddenAddress | None = None
        for address in addresses:
            try:
                self._rules.check(address)
            except ForbiddenAddress as caught:
                refusal = caught
            else:
                allowed.append(address)
        if not allowed and refusal is not None:
            raise refusal
        return allowed


def in_turn(addresses: Sequence[str]) -> list[str]:
    """The addresses with their families in turn, that of the first one first (RFC 8305 section 4)."""
    is_first_v6 = ":" in addresses[0]
    same = [address for address in addresses if (":" in address) == is_first_v6]
    other = [address for address in addresses if (":" in address) != is_first_v6]
    return [address for address in chain.from_iterable(zip_longest(same, other)) if address is not None]


async def _first_connected(addresses: Sequence[str], port: int) -> socket.socket:
    """The socket of the first address that accepts. Raises OSError, the reason of the first one that failed."""
    if len(addresses) == 1:
        return await _connected(addresses[0], port)
    return await first_of([partial(_connected, address, port) for address in addresses])


async def first_of(
    attempts: Sequence[Callable[[], Awaitable[socket.socket]]], delay_seconds: float = ATTEMPT_DELAY_SECONDS
) -> socket.socket:
    """Begins the attempts one by one, `delay_seconds` apart or as soon as one has failed, and returns the first socket;
    later ones are closed. Raises OSError, the reason of the first failure."""
    waiting = [*attempts]
    running: set[asyncio.Future[socket.socket]] = set()
    problem: OSError | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=delay_seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                try:
                    sock = attempt.result()
                except OSError as caught:
                    problem = problem or caught
                else:
                    running |= done - {attempt}
                    return sock
        raise problem or OSError("there is no address")
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_close_late)


def _close_late(attempt: "asyncio.Future[socket.socket]") -> None:
    """Closes the socket of an attempt that was given up after it had succeeded, and takes note of a failure."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connected(address: str, port: int) -> socket.socket:
    # Numeric, so that nothing is looked up; only the scope of a link-local address is understood here.
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family, kind, protocol, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=flags)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock
