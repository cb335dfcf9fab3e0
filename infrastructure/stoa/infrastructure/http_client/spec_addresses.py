"""Checks the addresses that API descriptions are fetched from, so that a location in a manifest cannot reach internal
services."""

from collections.abc import Awaitable, Callable, Sequence

from stoa.domain.errors import InvalidInput, Unavailable
from stoa.infrastructure.http_client import ForbiddenAddress, OutboundRules

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Resolves a host to addresses in text form; raises OSError if the name is unknown."""


async def checked_addresses(host: str, location: str, *, resolve: Resolve, rules: OutboundRules) -> list[str]:
    """Resolves `host` and returns its addresses once all of them are allowed. Raises InvalidInput or Unavailable,
    naming `location`."""
    try:
        addresses = [text.partition("%")[0] for text in await resolve(host)]
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{location}: the host name does not resolve") from error
    if not addresses:
        raise Unavailable(f"{location}: the host name does not resolve")
    for address in addresses:
        try:
            rules.check(address)
        except ForbiddenAddress as refused:
            message = f"{location}: its host must not be fetched from; name its network in OUTBOUND_NETWORKS if it may"
            raise InvalidInput(message) from refused
    return addresses
