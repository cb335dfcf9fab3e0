"""Secrets of connections to brokers, read for each call. What is made of them is in `login_options`.

Equal material shares connections; a changed secret makes other material, and with it new connections.
"""

from typing import NamedTuple

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
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
        check_authentication(authentication, security, whose)

    @property
    def is_oauth2(self) -> bool:
        return self._authentication.type == "oauth2"

    @property
    def is_of_caller(self) -> bool:
        """True if each caller's calls carry a token in this caller's name."""
        grant = self._authentication.grant
        return grant is not None and grant.type == "tokenExchange"

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


def check_authentication(authentication: Authentication, security: Security, whose: str) -> None:
    """Raises InvalidInput for a combination that cannot work. `whose`: names the tool in messages."""
    kind, mechanism = authentication.type, security.mechanism
    if kind == "apiKey":
        raise InvalidInput(f"{whose}: authentication.type apiKey is for HTTP; Kafka takes basic, bearer or oauth2")
    if not security.is_sasl:
        if kind != "none":
            raise InvalidInput(f"{whose}: authentication.type {kind} needs securityProtocol SASL_SSL or SASL_PLAINTEXT")
        return
    wanted = {"bearer", "oauth2"} if mechanism == "OAUTHBEARER" else {"basic"}
    if kind not in wanted:
        raise InvalidInput(
            f"{whose}: saslMechanism {mechanism} needs authentication.type {' or '.join(sorted(wanted))}"
        )
    if kind != "oauth2" and authentication.secret is None:
        raise InvalidInput(f"{whose}: authentication.type {kind} needs authentication.secretRef")
