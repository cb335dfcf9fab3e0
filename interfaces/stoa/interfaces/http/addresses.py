"""Determines the network address that a request is counted under.

Behind a proxy every connection is the proxy's, and X-Forwarded-For can be forged by every client that reaches the
gateway directly. So it is read only from named proxies (TRUSTED_PROXIES), from the right, where the nearest proxy
appends, up to the first address that is not a named proxy.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from stoa.domain.errors import InvalidInput

_FORWARDED = b"x-forwarded-for"
_MOST_HOPS = 16
_IPV6_PREFIX = 64
"""Bits of an IPv6 address that identify one subscriber (RFC 6177), who chooses the others."""


class Addresses:
    """Determines client addresses. `proxies`: networks of trusted proxies."""

    def __init__(self, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._proxies = tuple(proxies)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Addresses":
        """Parses CIDR blocks or addresses. Raises InvalidInput."""
        try:
            return cls([ip_network(text) for text in texts])
        except ValueError as wrong:
            raise InvalidInput(f"TRUSTED_PROXIES: {wrong}; write networks like 10.0.0.0/8,fd00::/8") from wrong

    def of(self, scope: Any) -> str | None:
        """The client's address; None if the connection has none, as over a Unix socket."""
        client = scope.get("client")
        if not client:
            return None
        peer = client[0] if ":" not in client[0] else _counted_as(client[0])
        if not self._proxies or not self.is_proxy(client[0]):
            return peer
        return self._forwarded(scope["headers"]) or peer

    def _forwarded(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The first hop from the right that is not a proxy; None if there is no readable one."""
        hops = b",".join(value for name, value in headers if name == _FORWARDED).decode("latin-1")
        nearest: str | None = None
        for hop in hops.rsplit(",", _MOST_HOPS)[:0:-1] if hops.count(",") >= _MOST_HOPS else hops.split(",")[::-1]:
            text = _without_port(hop.strip())
            if _parse(text) is None:
                break
            nearest = _counted_as(text)
            if not self.is_proxy(text):
                break
        return nearest

    def is_proxy(self, text: str) -> bool:
        """True if this address belongs to a trusted proxy."""
        address = _parse(text)
        return address is not None and any(address in network for network in self._proxies)


@lru_cache(maxsize=4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _counted_as(text: str) -> str:
    if ":" not in text:
        return text
    address = _parse(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), _IPV6_PREFIX), strict=False))
    return text if address is None else str(address)


def _without_port(text: str) -> str:
    """The address in `1.2.3.4:5` or `[::1]:5`, which some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
