"""TLS and SASL for Kafka tools: what a connection to a broker needs, read from secrets.

Equal material shares connections; a changed secret makes other material, and with it new connections.
"""

import os
import ssl
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable, InvalidInput
from stoa.domain.operations.binding import Authentication, SecretReference
from stoa.infrastructure.kafka.binding import Security


class Material(NamedTuple):
    """Secrets of one connection, as values. Never shown: it is used as a key, and in options of the client."""

    username: str = ""
    password: str = ""
    token: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return "Material(...)"


class SecretReader:
    """Reads the secrets of one tool's connection, for each call, as every secret is."""

    def __init__(
        self,
        authentication: Authentication,
        security: Security,
        tenant: TenantId | None,
        credentials: CredentialSource,
        whose: str,
    ) -> None:
        """Raises InvalidInput for a combination that cannot work."""
        self._authentication = authentication
        self._security = security
        self._tenant = tenant
        self._credentials = credentials
        _check(authentication, security, whose)

    @property
    def is_oauth2(self) -> bool:
        return self._authentication.type == "oauth2"

    def material(self) -> Material:
        """Raises BackendUnavailable."""
        security, reference = self._security, self._authentication.secret
        username = password = token = ""
        if self._authentication.type == "bearer" and reference is not None:
            token = self._read(reference, "token")
        if self._authentication.type == "basic" and reference is not None:
            both = SecretReference(name=reference.name)  # a key would name one entry; user name and password are two
            username, password = self._read(both, "username"), self._read(both, "password")
        ca = "" if security.ca is None else self._read(security.ca, "ca.crt")
        if security.client is None:
            return Material(username, password, token, ca)
        pair = SecretReference(name=security.client.name)
        return Material(username, password, token, ca, self._read(pair, "tls.crt"), self._read(pair, "tls.key"))

    def _read(self, reference: SecretReference, entry: str) -> str:
        return self._credentials.read(self._tenant, reference, entry)


def _check(authentication: Authentication, security: Security, whose: str) -> None:
    kind, mechanism = authentication.type, security.mechanism
    if kind == "apiKey":
        raise InvalidInput(f"{whose}: authentication.type apiKey is for HTTP; Kafka takes basic, bearer or oauth2")
    if not security.is_sasl:
        if kind != "none":
            raise InvalidInput(f"{whose}: authentication.type {kind} needs securityProtocol SASL_SSL or SASL_PLAINTEXT")
        return
    if authentication.grant is not None and authentication.grant.type == "tokenExchange":
        raise InvalidInput(f"{whose}: connections to Kafka are shared by callers, so tokenExchange is not possible")
    wanted = {"bearer", "oauth2"} if mechanism == "OAUTHBEARER" else {"basic"}
    if kind not in wanted:
        raise InvalidInput(
            f"{whose}: saslMechanism {mechanism} needs authentication.type {' or '.join(sorted(wanted))}"
        )
    if kind != "oauth2" and authentication.secret is None:
        raise InvalidInput(f"{whose}: authentication.type {kind} needs authentication.secretRef")


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
