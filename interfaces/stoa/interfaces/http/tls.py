"""TLS without a proxy in front: the server's certificate, reloaded when its files change."""

import logging
import ssl
from pathlib import Path

from stoa.domain.errors import InvalidInput

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class ServerTls:
    """`context` is what connections are accepted with. `reload` replaces the certificate in it, for new connections.

    TLS 1.2 or newer (RFC 9325 section 3.1.1), and HTTP/1.1 where the client asks by ALPN (RFC 7301).
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises InvalidInput if the files cannot be used."""
        self._certificate = certificate
        self._key = key
        self._stamp = self._stamp_now()
        self.context = self._read()

    def reload_if_changed(self) -> None:
        """Reloads changed files; an unchanged check costs two calls of stat(2). Unusable files are tried again after
        their next change."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            self.reload()

    def reload(self) -> bool:
        """Reloads the certificate. False: the files cannot be used, and the last good certificate stays."""
        try:
            self._read()  # first, because a context whose certificate and key do not match could serve no client
            self._load(self.context)
        except InvalidInput as caught:
            _log.error("the TLS certificate was not replaced: %s", caught.message)
            return False
        _log.info("TLS certificate read again", extra={"file": str(self._certificate)})
        return True

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ValueError) as caught:  # SSLError is an OSError
            reason = getattr(caught, "reason", None) or getattr(caught, "strerror", None) or "unusable"
            raise InvalidInput(
                f"TLS_CERT={self._certificate}, TLS_KEY={self._key}: {reason}; give a PEM file with the certificate "
                "and its chain, and one with its key, which has no password"
            ) from caught

    def _stamp_now(self) -> _Stamp:
        return tuple(_stamp(path) for path in (self._certificate, self._key))


def _stamp(path: Path) -> tuple[int, int, int]:
    """The stamp of a file. A missing file has one too, because it may come back."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def _no_password() -> str:
    """Returns no password; without this OpenSSL would prompt on the terminal."""
    raise ValueError("the key has a password")
