"""The rules where they cannot be got round: at the socket of each connection, when its address is a number already."""

import socket
from typing import Any

import aiohttp

from stoa.infrastructure.outbound.rules import OutboundRules

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


def guarded_connector(rules: OutboundRules, *, limit: int = 100) -> aiohttp.TCPConnector:
    """Connects where `rules` allow; elsewhere it fails with aiohttp.ClientConnectorError, whose `os_error` is the
    ForbiddenAddress. A name is resolved once, and what was checked is what is connected to."""

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        rules.check(str(address[0]))
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(limit=limit, socket_factory=open_socket)
