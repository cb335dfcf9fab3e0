"""TLS and SASL of a connection to a broker, as aiokafka's connection takes them."""

import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from stoa.domain.errors import BackendUnavailable
from stoa.infrastructure.kafka.binding import Security
from stoa.infrastructure.kafka.security import Material


class LatestToken(AbstractTokenProvider):  # type: ignore[misc]
    """The access token for connections that are opened from now on."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.latest = token

    async def token(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  # it says None, and means text
        return self.latest


def connection_options(security: Security, material: Material, token: LatestToken, client_id: str) -> dict[str, Any]:
    """Options of aiokafka's connection. Raises BackendUnavailable for certificates that cannot be used."""
    options: dict[str, Any] = {"client_id": client_id, "security_protocol": security.protocol}
    if security.is_sasl:
        options["sasl_mechanism"] = security.mechanism
        if security.mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = token
        else:
            options |= {"sasl_plain_username": material.username, "sasl_plain_password": material.password}
    if security.is_tls:
        options["ssl_context"] = _tls_context(material)
    return options


def _tls_context(material: Material) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=material.ca or None)
        if material.certificate:
            _load_client_certificate(context, material.certificate, material.key)
    except (ssl.SSLError, ValueError, OSError):
        raise BackendUnavailable("The certificates for the Kafka cluster cannot be used; they must be PEM") from None
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python's module reads certificates from files only: one that this user alone may read, for a moment."""
    descriptor, path = tempfile.mkstemp(prefix="stoa-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{certificate.strip()}\n{key.strip()}\n")
        context.load_cert_chain(path, password=lambda: "")  # an encrypted key fails instead of asking the terminal
    finally:
        Path(path).unlink()
