"""The addresses that outbound connections may reach: public ones and the private networks that the operator names.
Link-local, multicast and unspecified addresses are always refused, because cloud metadata services are link-local.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from stoa.domain.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED_BY_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenAddress(OSError):
    """An address that the rules exclude. The text is for operators and names the address."""


@dataclass(frozen=True, slots=True)
class OutboundRules:
    private_networks: tuple[Network, ...] = ()
    """Private networks that may be reached in addition to public addresses."""
    allows_public: bool = True
    """False for requests in clear text, which must not cross a public network."""

    @classmethod
    def parse(cls, networks: Iterable[str]) -> "OutboundRules":
        """Parses `all`, `none` or CIDR blocks. Raises InvalidInput."""
        parsed: list[Network] = []
        for text in networks:
            if text == "all":
                parsed += ANYWHERE.private_networks
            elif text != "none":
                try:
                    parsed.append(ipaddress.ip_network(text))
                except ValueError as caught:
                    raise InvalidInput(f"{text!r} is not a network; write all, none, or 10.0.0.0/8") from caught
        return cls(tuple(parsed))

    def check(self, address: str) -> None:
        """Raises ForbiddenAddress for an excluded address and for text that is not an address."""
        try:
            target = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError as caught:
            raise ForbiddenAddress(f"{address} is not an address") from caught
        if target.is_multicast or target.is_link_local or target.is_unspecified:
            raise ForbiddenAddress(f"{address} is a link-local, multicast or unspecified address, which is never used")
        if target.is_global and not self.allows_public:
            raise ForbiddenAddress(f"{address} is public, and the connection would not be encrypted; write https://")
        if not target.is_global and not any(target in network for network in self.private_networks):
            raise ForbiddenAddress(f"{address} is in a private network that OUTBOUND_NETWORKS does not name")


ANYWHERE = OutboundRules((ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0")))
PUBLIC_ONLY = OutboundRules()


def _embedded(address: Address) -> Address:
    """The IPv4 address that traffic to an IPv6 address of a transition mechanism ends at."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED_BY_NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
