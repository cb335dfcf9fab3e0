"""The short way of a plain `POST /mcp`: from the server's protocol to the MCP door with no ASGI between
(docs/decisions/0069).

It takes requests that need nothing else of the HTTP door. What `Guard`, the routing by path and the reading of a body
do for a request is here one condition each; a request that fails any of them goes the ordinary way, which knows why.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from stoa.interfaces.http.cycle import RequestCycle
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.http.request_head import RequestHead
from stoa.interfaces.wire.bodies import STRANGERS_BYTES

SHORT_WAY_KEY: Final = "stoa.short_way"
"""Key in the lifespan's state under which the server's protocol finds the ShortWay."""

_TARGET = b"/mcp"
_JSON = b"application/json"
_ORDINARY = frozenset({b"origin", b"content-encoding", b"transfer-encoding"})
"""Header fields that the ordinary way handles: web pages get CORS headers, and bodies are decoded there."""


class ShortWay:
    """Takes a POST of JSON to the MCP endpoint whose body came whole with its head. `answer` is the door's."""

    def __init__(self, guard: Guard, answer: Callable[[RequestCycle, bytes], Awaitable[None]]) -> None:
        self._guard = guard
        self.answer = answer

    def body_of(self, cycle: RequestCycle) -> bytes | None:
        """The body of a request that goes the short way; None: any other."""
        request = cycle.request
        if request.is_short is None:
            request.is_short = self._takes(request)
        # A stranger's body is read no further than this, so that callers and strangers need no distinction here.
        return cycle.take_whole_body(STRANGERS_BYTES) if request.is_short else None

    def _takes(self, request: RequestHead) -> bool:
        fields = request.by_name
        return (
            request.target == _TARGET
            and request.method == b"POST"
            and request.version == "1.1"
            and fields.get(b"content-type") == _JSON
            and len(fields) == len(request.fields)  # which of two copies counts is not decided here
            and _ORDINARY.isdisjoint(fields)
            and self._guard.knows(fields[b"host"])
        )
