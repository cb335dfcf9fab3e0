"""Explains to operators why an outbound connection failed, with hosts and addresses but nothing of the request."""

import errno
import os

from stoa.infrastructure.http_client.failures import (
    ConnectionLost,
    HttpFailure,
    InvalidResponse,
    NoConnectionFree,
    ResponseTooLong,
)
from stoa.infrastructure.http_client.resolver import NameNotResolved
from stoa.infrastructure.http_client.rules import ForbiddenAddress
from stoa.infrastructure.http_client.tls import causes, tls_problem, tls_remedy

_CLOSED = "it closed the connection before its answer"
_NOT_HTTP = "its answer is cut short, or no HTTP"
_OF_AIOHTTP = {
    # by their names, so that a gateway that does not need aiohttp does not import it
    "ServerDisconnectedError": _CLOSED,
    "ClientPayloadError": _NOT_HTTP,
    "ClientResponseError": _NOT_HTTP,
    "HttpProcessingError": _NOT_HTTP,
    "InvalidURL": "its URL is none",
}
_BY_NUMBER = {
    errno.ECONNREFUSED: "nothing listens at its address",
    errno.ECONNRESET: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.ECONNABORTED: _CLOSED,
}


def connection_problem(error: BaseException) -> str:
    """The first informative message from the outermost error inwards; the error's class if there is none."""
    tls = tls_problem(error)
    if tls is not None:
        remedy = tls_remedy(error)
        return f"{tls}; {remedy}" if remedy else tls
    chain = [*causes(error)]
    for cause in chain:
        if isinstance(cause, (ForbiddenAddress, NameNotResolved)):
            return str(cause)
    return next((words for cause in chain if (words := _words(cause))), type(error).__name__)


def _words(cause: BaseException) -> str:
    if isinstance(cause, TimeoutError):
        return "it did not answer in time"
    if isinstance(cause, ConnectionLost):
        return _CLOSED
    if isinstance(cause, InvalidResponse) and not isinstance(cause, ResponseTooLong):
        return _NOT_HTTP
    if isinstance(cause, (ResponseTooLong, NoConnectionFree)) or type(cause) is HttpFailure:
        return str(cause)
    for kind in type(cause).__mro__:
        if kind.__name__ in _OF_AIOHTTP:
            return _OF_AIOHTTP[kind.__name__]
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return _BY_NUMBER.get(cause.errno) or os.strerror(cause.errno)
    return ""
