"""Translates failures of the HTTP/1.1 client into errors of the gateway, for those who call a back end by it."""

from stoa.domain.errors import BackendError, BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.infrastructure.http_client.failures import (
    ConnectionLost,
    ConnectTimedOut,
    HttpFailure,
    InvalidResponse,
    NoConnectionFree,
    NotConnected,
    ResponseCutShort,
    ResponseTimedOut,
)
from stoa.infrastructure.http_client.resolver import NameNotResolved
from stoa.infrastructure.http_client.rules import ForbiddenAddress
from stoa.infrastructure.http_client.tls import causes, tls_problem

_TABLE: tuple[tuple[type[OSError], type[BackendError], str], ...] = (
    # most specific first
    (ConnectTimedOut, BackendTimedOut, "it did not answer in time"),
    (NoConnectionFree, BackendUnavailable, "all connections to it are in use"),
    (NotConnected, BackendUnavailable, "nothing listens at its address (baseURL, endpoint)"),
    (ConnectionLost, BackendUnavailable, "the connection was lost before its answer; the call may have taken effect"),
    (ResponseTimedOut, BackendTimedOut, "it did not answer in time"),
    (ResponseCutShort, BackendProtocolError, "its answer is cut short or wrongly encoded"),
    (InvalidResponse, BackendProtocolError, "its answer is not HTTP"),
    (HttpFailure, BackendProtocolError, "the request cannot be sent"),
    (TimeoutError, BackendTimedOut, "it did not answer in time"),
    (OSError, BackendUnavailable, "the connection was lost"),
)


def translated_failure(failure: OSError, tool: str) -> BackendError:
    """The error to raise instead of `failure`: of the client, or of anything else that a connection is made of."""
    kind, reason = next((kind, reason) for of, kind, reason in _TABLE if isinstance(failure, of))
    if isinstance(failure, NotConnected):
        kind, reason = _not_connected(failure) or (kind, reason)
    elif isinstance(failure, ConnectionLost) and failure.nothing_was_sent:
        reason = "the connection was lost before it received the call"
    message = f"The back end of {tool} failed: {reason}"
    if issubclass(kind, BackendProtocolError):
        return kind(message)
    return kind(message, nothing_was_sent=isinstance(failure, HttpFailure) and failure.nothing_was_sent)


def _not_connected(failure: NotConnected) -> tuple[type[BackendUnavailable] | type[BackendTimedOut], str] | None:
    """The reason that the failure's causes give; None: no particular one."""
    tls = tls_problem(failure)
    if tls is not None:
        return BackendUnavailable, tls
    for cause in causes(failure):
        if isinstance(cause, ForbiddenAddress):
            return BackendUnavailable, "it is in a network that the gateway may not call"
        if isinstance(cause, NameNotResolved):
            return BackendUnavailable, "its host name does not resolve"
        if isinstance(cause, TimeoutError):
            return BackendTimedOut, "it did not answer in time"
    return None
