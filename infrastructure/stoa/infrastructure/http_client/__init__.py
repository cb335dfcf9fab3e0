"""Rules for outbound connections and the resolver of host names, used for API descriptions, identity providers and back
ends. Shared by the adapter families; not a family itself."""

from stoa.infrastructure.http_client.lookups import DnsLookUp, SystemLookUp
from stoa.infrastructure.http_client.resolver import HostResolver, NameNotResolved
from stoa.infrastructure.http_client.rules import ANYWHERE, PUBLIC_ONLY, ForbiddenAddress, OutboundRules

__all__ = [
    "ANYWHERE",
    "PUBLIC_ONLY",
    "DnsLookUp",
    "ForbiddenAddress",
    "HostResolver",
    "NameNotResolved",
    "OutboundRules",
    "SystemLookUp",
]
