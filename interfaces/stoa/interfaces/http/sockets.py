"""Sockets to listen on."""

import errno
import socket
from typing import Any


def bound(host: str, port: int) -> list[socket.socket]:
    """Binds a socket, not yet listening, for each address of a name. `::` accepts IPv4 as well if the system can.
    Raises OSError if there is no address."""
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    for family, address in _addresses(host, port):
        try:
            listeners.append(_bound(family, address))
        except OSError as caught:
            if caught.errno == errno.EADDRINUSE:  # another program has it; to be reached by half is no use
                for opened in listeners:
                    opened.close()
                raise
            failure = caught  # such as a family that this machine has not
    if failure is not None and not listeners:
        raise failure
    return listeners


def _bound(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Set explicitly, because the default differs by system. Except for `::`, IPv4 has a socket of its own.
            is_all = address[0] == "::" and socket.has_dualstack_ipv6()
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_all else 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """The distinct addresses, IPv4 first."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    named = dict.fromkeys((family, address) for family, _, _, _, address in entries)
    return sorted(named, key=lambda entry: entry[0] != socket.AF_INET)
