"""Translates errors of aiohttp into errors of the gateway; the only place that does."""

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

TRANSLATED = (aiohttp.ClientError, HttpProcessingError, OSError)
"""Errors of aiohttp for a peer that is unreachable, slow or breaks the protocol."""


def translated(error: BaseException, tool: str) -> BackendError:
    """The error to raise instead of `error`, whose text it does not repeat."""
    if isinstance(getattr(error, "os_error", None), ForbiddenAddress):
        return BackendUnavailable(f"The back end of {tool} failed: it is in a network that the gateway may not call")
    tls = tls_problem(error)
    if tls is not None:
        return BackendUnavailable(f"The back end of {tool} failed: {tls}")
    for kind, replacement, reason in _TABLE:
        if isinstance(error, kind):
            return replacement(f"The back end of {tool} failed: {reason}")
    raise error
