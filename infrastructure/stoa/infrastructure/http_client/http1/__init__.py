"""The HTTP/1.1 client of the gateway: whole requests out, bounded responses in (RFC 9110, RFC 9112).

    Http1Client → Pool (one origin) → Connection → ResponseReader (llhttp)
                       ↘ Dialler (addresses, rules, TLS)

A response comes whole, or its body is read piece by piece (OpenResponse). WebSockets and HTTP/2 are outside it:
 docs/decisions/0061-http1-client.md.
"""

from stoa.infrastructure.http_client.http1.client import Http1Client
from stoa.infrastructure.http_client.http1.response import Response
from stoa.infrastructure.http_client.http1.stream import OpenResponse

__all__ = ["Http1Client", "OpenResponse", "Response"]
