"""Applies the outbound rules at the socket of each connection, where the address is numeric and the rules cannot be
bypassed."""

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from stoa.infrastructure.http_client.lookups import DnsLookUp
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import OutboundRules
from stoa.infrastructure.http_client.tls import http_context

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


def guarded_connector(
    rules: OutboundRules | None,
    resolver: HostResolver | None,
    *,
    limit: int = 100,
    receive_bytes: int | None = None,
) -> aiohttp.TCPConnector:
    """Connects where `rules` allow; elsewhere it fails with aiohttp.ClientConnectorError, whose `os_error` is the
    ForbiddenAddress. A name is resolved once, and what was checked is what is connected to. `rules` None: an address
    that the operator set is connected to whatever it is. `resolver` None: asks DNS by itself. `receive_bytes`: what the
    system keeps of what has come; None: as much as it likes."""

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if rules is not None:
            rules.check(str(address[0]))
        opened = socket.socket(family, kind, protocol)
        if receive_bytes is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        return opened

    return aiohttp.TCPConnector(
        limit=limit,
        resolver=_Resolver(resolver),
        use_dns_cache=False,
        socket_factory=open_socket,
        ssl=http_context(),
    )


class _Resolver(AbstractResolver):
    def __init__(self, hosts: HostResolver | None) -> None:
        self._hosts = hosts or HostResolver(DnsLookUp())

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  # both families: the connection takes one that works
    ) -> list[ResolveResult]:
        addresses = await self._hosts.addresses(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Closes the HostResolver if it was made here; a resolver passed in is closed by its owner."""
