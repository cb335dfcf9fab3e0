"""The trust store for all outbound connections, and explanations of TLS failures.

It trusts what OpenSSL trusts: the system's certificates, or those of the file SSL_CERT_FILE and the folder SSL_CERT_DIR
where these variables are set.
"""

import os
import ssl
from collections.abc import Iterator
from functools import cache
from typing import cast

from stoa.infrastructure.http_client.failures import NotConnected

TRUST = "add the certificate of its authority to the file that SSL_CERT_FILE names, or to the system's"
_HTTP = ("http/1.1",)
_MOST = 32

_CERTIFICATE: dict[int, str] = {
    # X509_V_ERR_* of OpenSSL's x509_vfy.h
    2: "its TLS certificate is of an unknown issuer",
    9: "its TLS certificate is not valid yet, or this machine's clock is slow",
    10: "its TLS certificate has expired",
    18: "its TLS certificate is self-signed",
    19: "its TLS certificate is of an unknown issuer",
    20: "its TLS certificate is of an unknown issuer, or the server leaves out a certificate between",
    21: "its TLS certificate is of an unknown issuer, or the server leaves out a certificate between",
    23: "its TLS certificate was revoked",
    62: "its TLS certificate is for another host name",
    63: "its TLS certificate is for another address",
    64: "its TLS certificate is for another address",
}
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})
"""OpenSSL verification errors that trusting another authority fixes."""

_NOT_TLS = "it does not speak TLS at this port; is it http://?"
_VERSION = "it speaks no version of TLS that is accepted (1.2 or newer)"
_CLIENT = "it asks for a client certificate, and the gateway has none"
_CUT = "it closed the connection during the TLS handshake"
_HANDSHAKE: dict[str, str] = {
    # reason codes of OpenSSL's sslerr.h
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _VERSION,
    "NO_PROTOCOLS_AVAILABLE": _VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _VERSION,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CLIENT,
    "SSLV3_ALERT_BAD_CERTIFICATE": _CLIENT,
    "TLSV1_ALERT_UNKNOWN_CA": _CLIENT,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it and the gateway have no cipher in common, or it asks for a client certificate",
    "TLSV1_UNRECOGNIZED_NAME": "it serves no such host name (SNI)",
    "SSLV3_ALERT_UNRECOGNIZED_NAME": "it serves no such host name (SNI)",
}


def http_context() -> ssl.SSLContext:
    """The shared TLS context for HTTP clients. Loading the certificates takes tens of milliseconds, so it is made once
    for each value of SSL_CERT_FILE and SSL_CERT_DIR."""
    return _http_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _http_context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # OpenSSL reads the variables
    context.set_alpn_protocols(list(_HTTP))
    return context


def tls_problem(error: BaseException) -> str | None:
    """Explains a TLS failure without repeating anything of the request; None for any other error."""
    tls_error = _tls_error(error)
    if tls_error is None:
        return _CUT if any(_is_cut_handshake(cause) for cause in causes(error)) else None
    if isinstance(tls_error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(tls_error.verify_code, "its TLS certificate is not trusted")
    if isinstance(tls_error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return _CUT
    return _HANDSHAKE.get(tls_error.reason or "", "the TLS handshake failed")


def tls_remedy(error: BaseException) -> str:
    """The remedy for an operator, if trusting another authority would fix the failure; else empty."""
    tls_error = _tls_error(error)
    is_untrusted = isinstance(tls_error, ssl.SSLCertVerificationError) and tls_error.verify_code in _UNTRUSTED
    return TRUST if is_untrusted else ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, including those that libraries keep in attributes of their own."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            wrapped = (getattr(cause, name, None) for name in ("certificate_error", "os_error"))
            waiting += [*wrapped, cause.__cause__, cause.__context__]
            if isinstance(cause, BaseExceptionGroup):
                waiting += cast("tuple[object, ...]", cause.exceptions)  # pyright: ignore[reportUnknownMemberType]


def _is_cut_handshake(cause: BaseException) -> bool:
    """True for a handshake that the peer cut off, as asyncio reports it through aiohttp or a NotConnected; a reset by
    the operating system has an errno."""
    inner = cause.__cause__ if isinstance(cause, NotConnected) else getattr(cause, "os_error", None)
    return isinstance(inner, ConnectionResetError) and inner.errno is None


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """OpenSSL's own error, which alone knows the reason; errors of aiohttp have these classes too."""
    return next(
        (cause for cause in causes(error) if isinstance(cause, ssl.SSLError) and type(cause).__module__ == "ssl"), None
    )
