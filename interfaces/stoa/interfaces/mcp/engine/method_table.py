"""The methods that clients may call: one row per method, made by `composition.py` and injected into the eras."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from stoa.interfaces.mcp.exchange import MethodCall, Reply

Handler = Callable[[MethodCall], Awaitable[bytes | Reply]]
"""Returns the JSON-RPC result as bytes, or a Reply with headers, events or a session. Raises Fault or StoaError."""


class Method(NamedTuple):
    """One method: its handler, and where it exists."""

    handler: Handler
    in_handshake_era: bool = True
    in_stateless_era: bool = True
    needs_session: bool = False
    """True if the method does not exist on a server without sessions."""
    limits_itself: bool = True
    """The handler counts the request against its caller's rate limit. In a batch the era counts the others, or one
    HTTP request would buy fifty free ones (docs/decisions/0015)."""


MethodTable = Mapping[str, Method]
