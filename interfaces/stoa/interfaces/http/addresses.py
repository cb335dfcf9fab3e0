"""Addresses: the network address that a request is counted under.

Behind a proxy every connection is the proxy's, and what the proxy says of the client can be forged by whoever reaches
the gateway without it. So X-Forwarded-For is read only from proxies that are named (TRUSTED_PROXIES), from the right,
where the nearest proxy appends, up to the first address that is none of them.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from stoa.domain.errors import InvalidInput

_FORWARDED = b"x-forwarded-for"
_MOST_HOPS = 16
_IPV6_PREFIX = 64
"""Bits of an IPv6 address that stand for one subscriber (RFC 6177): he chooses the others."""


class Addresses:
    """`proxies`: networks whose connections are those of trusted proxies."""

    def __init__(self, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._proxies = tuple(proxies)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Addresses":
        """CIDR blocks or addresses. Raises InvalidInput."""
        try:
            return cls([ip_network(text) for text in texts])
        except ValueError as wrong:
            raise InvalidInput(f"TRUSTED_PROXIES: {wrong}; write networks like 10.0.0.0/8,fd00::/8") from wrong

    def of(self, scope: Any) -> str | None:
        """The client's address; None: the connection has none, as over a Unix socket."""
        client = scope.get("client")
        if not client:
            return None
        peer = _counted_as(client[0])
        if not self._proxies or not self.is_proxy(client[0]):
            return peer
        return self._forwarded(scope["headers"]) or peer

    def _forwarded(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The first hop from the right that is no proxy; None where there is none that can be read."""
        said = b",".join(value for name, value in headers if name == _FORWARDED).decode("latin-1")
        nearest: str | None = None
        for hop in said.rsplit(",", _MOST_HOPS)[:0:-1] if said.count(",") >= _MOST_HOPS else said.split(",")[::-1]:
            text = _without_port(hop.strip())
            if _parse(text) is None:
                break
            nearest = _counted_as(text)
            if not self.is_proxy(text):
                break
        return nearest

    def is_proxy(self, text: str) -> bool:
        """Does this address belong to a trusted proxy?"""
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
    """`1.2.3.4:5` and `[::1]:5`, as some proxies write."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
