"""Translates errors of aiohttp, which opens WebSockets, into errors of the gateway; the only place that does."""

import aiohttp
from aiohttp.http import HttpProcessingError

from stoa.domain.errors import BackendError, BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.infrastructure.http_client import ForbiddenAddress
from stoa.infrastructure.http_client.tls import tls_problem

_TABLE: tuple[tuple[type[BaseException], type[BackendError], str], ...] = (
    # most specific first: several of these are also OSError, ConnectionError or TimeoutError
    (aiohttp.ServerTimeoutError, BackendTimedOut, "it did not answer in time"),
    (aiohttp.ClientConnectorCertificateError, BackendUnavailable, "its TLS certificate is not trusted"),
    (aiohttp.ClientConnectorDNSError, BackendUnavailable, "its host name does not resolve"),
    (aiohttp.ClientSSLError, BackendUnavailable, "the TLS handshake failed"),
    (aiohttp.ServerFingerprintMismatch, BackendUnavailable, "its TLS certificate is not the expected one"),
    (aiohttp.ClientConnectorError, BackendUnavailable, "nothing listens at its address (baseURL, endpoint)"),
    (aiohttp.ClientConnectionError, BackendUnavailable, "the connection was lost"),
    (aiohttp.UploadAbortedError, BackendUnavailable, "the connection was lost"),
    (aiohttp.ClientPayloadError, BackendProtocolError, "its answer is cut short or wrongly encoded"),
    (aiohttp.ClientResponseError, BackendProtocolError, "its answer is not HTTP"),
    (aiohttp.InvalidURL, BackendProtocolError, "it named an address that is none"),
    (aiohttp.RedirectClientError, BackendProtocolError, "it named an address that is none"),
    (aiohttp.NonHttpUrlClientError, BackendProtocolError, "it named an address that is none"),
    (HttpProcessingError, BackendProtocolError, "its answer is not HTTP"),
    (TimeoutError, BackendTimedOut, "it did not answer in time"),
    (OSError, BackendUnavailable, "the connection was lost"),
)

_NOTHING_WAS_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection was made."""

TRANSLATED = (aiohttp.ClientError, HttpProcessingError, OSError)
"""Errors of aiohttp for a peer that is unreachable, slow or breaks the protocol."""


def translated(error: BaseException, tool: str) -> BackendError:
    """The error to raise instead of `error`, whose text it does not repeat."""
    replacement, reason = next((replacement, reason) for kind, replacement, reason in _TABLE if isinstance(error, kind))
    if isinstance(getattr(error, "os_error", None), ForbiddenAddress):
        reason = "it is in a network that the gateway may not call"
    elif (tls := tls_problem(error)) is not None:
        replacement, reason = BackendUnavailable, tls
    problem = replacement(f"The back end of {tool} failed: {reason}")
    if not isinstance(problem, BackendProtocolError):
        problem.nothing_was_sent = isinstance(error, _NOTHING_WAS_SENT)
    return problem
