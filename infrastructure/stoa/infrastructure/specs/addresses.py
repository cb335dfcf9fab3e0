"""Which network addresses the gateway may fetch from, so that a location in a manifest cannot reach inner services."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from stoa.domain.errors import InvalidInput, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From host and port to addresses in text form; raises OSError when the name is unknown."""

_TRANSLATED_BY_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def resolve_with_system(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def checked_addresses(
    host: str, port: int, location: str, *, resolve: Resolve, allow_private_networks: bool
) -> list[str]:
    """All addresses of `host`, each of them allowed. Raises InvalidInput or Unavailable, naming `location`."""
    try:
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in await resolve(host, port)]
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{location}: the host name does not resolve") from error
    if not addresses:
        raise Unavailable(f"{location}: the host name does not resolve")
    for address in map(_embedded, addresses):
        # link-local holds the metadata services of clouds: no API description is there, but credentials are
        if address.is_multicast or address.is_link_local:
            raise InvalidInput(f"{location}: its host is a link-local or multicast address, which is never fetched")
        if not (address.is_global or allow_private_networks):
            raise InvalidInput(
                f"{location}: its host is in a private network; use a public one, or allow private networks for specs"
            )
    return [str(address) for address in addresses]


def _embedded(address: Address) -> Address:
    """The IPv4 address that traffic to an IPv6 address of a transition mechanism ends at."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED_BY_NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
