"""Reasons why a request has no response. Their texts are for operators and repeat nothing of request or response.

HttpFailure
├─ NotConnected            no connection was made; __cause__ says why
│  ├─ ConnectTimedOut
│  └─ NoConnectionFree     all connections to the host are in use
├─ ConnectionLost          the connection ended before any byte of a response
├─ ResponseTimedOut        the response did not come, or stopped coming
└─ InvalidResponse         the peer broke the protocol
   ├─ ResponseCutShort     the connection ended within the response
   └─ ResponseTooLong
"""

from collections.abc import Generator
from contextlib import contextmanager


class HttpFailure(OSError):
    """A request without a usable response. `nothing_was_sent`: the peer has read nothing of the request, as far as TCP
    tells; otherwise the request may have taken effect."""

    nothing_was_sent = False


@contextmanager
def after_another_request() -> Generator[None]:
    """For a further request of one call: whatever becomes of it, something of the call was sent."""
    try:
        yield
    except HttpFailure as failure:
        failure.nothing_was_sent = False
        raise


class NotConnected(HttpFailure):
    nothing_was_sent = True


class ConnectTimedOut(NotConnected, TimeoutError):
    pass


class NoConnectionFree(NotConnected):
    pass


class ConnectionLost(HttpFailure):
    def __init__(self, *, nothing_was_sent: bool) -> None:
        super().__init__("the connection was closed before the response")
        self.nothing_was_sent = nothing_was_sent


class ResponseTimedOut(HttpFailure, TimeoutError):
    pass


class InvalidResponse(HttpFailure):
    pass


class ResponseCutShort(InvalidResponse):
    pass


class ResponseTooLong(InvalidResponse):
    """The body has more bytes than the caller takes."""
