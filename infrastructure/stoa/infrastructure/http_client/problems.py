"""Words for operators: why a connection to elsewhere failed. They name hosts and addresses, never what was sent."""

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
    """The first reason that says something, from the outermost error inwards; an error's class where none does."""
    tls = tls_problem(error)
    if tls is not None:
        remedy = tls_remedy(error)
        return f"{tls}; {remedy}" if remedy else tls
    chain = [*causes(error)]
    for one in chain:
        if isinstance(one, (ForbiddenAddress, NameNotResolved)):
            return str(one)
    return next((words for one in chain if (words := _words(one))), type(error).__name__)


def _words(one: BaseException) -> str:
    if isinstance(one, TimeoutError):
        return "it did not answer in time"
    if isinstance(one, aiohttp.ServerDisconnectedError):
        return _CLOSED
    if isinstance(one, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, HttpProcessingError)):
        return "its answer is cut short, or no HTTP"
    if isinstance(one, aiohttp.InvalidURL):
        return "its URL is none"
    if isinstance(one, OSError) and one.errno is not None and one.errno > 0:
        return _BY_NUMBER.get(one.errno) or os.strerror(one.errno)
    return ""
