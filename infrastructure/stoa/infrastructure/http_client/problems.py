"""Explains to operators why an outbound connection failed, with hosts and addresses but nothing of the request."""

import errno
import os

import aiohttp
from aiohttp.http import HttpProcessingError

from stoa.infrastructure.http_client.resolver import NameNotResolved
from stoa.infrastructure.http_client.rules import ForbiddenAddress
from stoa.infrastructure.http_client.tls import causes, tls_problem, tls_remedy

_CLOSED = "it closed the connection before its answer"
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
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return _CLOSED
    if isinstance(cause, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, HttpProcessingError)):
        return "its answer is cut short, or no HTTP"
    if isinstance(cause, aiohttp.InvalidURL):
        return "its URL is none"
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return _BY_NUMBER.get(cause.errno) or os.strerror(cause.errno)
    return ""
