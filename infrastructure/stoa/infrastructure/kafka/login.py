"""Connection security and login for Kafka brokers, shared by the publisher and the reader."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import SecretStr

from stoa.application.ports.token_endpoint import TokenRequest
from stoa.domain.errors import InvalidInput

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class KafkaCertificates(NamedTuple):
    """PEM files; None: the system's authorities, and no certificate of the client."""

    authority: Path | None = None
    chain: Path | None = None
    key: Path | None = None
    """None: it is in the file of the chain."""


@dataclass(frozen=True, slots=True)
class KafkaLogin:
    """Security protocol and credentials. `username` and `password` are for the SASL protocols; with OAUTHBEARER they
    are the client id and secret that `token_url` grants an access token to."""

    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "PLAIN"
    username: str = ""
    password: SecretStr | None = None
    certificates: KafkaCertificates = KafkaCertificates()
    token_url: str = ""
    scopes: tuple[str, ...] = ()

    def options(self, servers: str, client_id: str) -> dict[str, Any]:
        """Options of an aiokafka client; `servers` as `HOST:PORT,...`. Raises InvalidInput for certificates that cannot
        be used."""
        options: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in servers.split(",") if server.strip()],
            "client_id": client_id,
            "security_protocol": self.protocol,
        }
        password = "" if self.password is None else self.password.get_secret_value()
        if self.protocol.startswith("SASL_") and self.mechanism == "OAUTHBEARER":
            from stoa.infrastructure.kafka.token_provider import EndpointTokens  # with an HTTP client

            tokens = EndpointTokens(TokenRequest(self.token_url, self.username, password, scopes=self.scopes))
            options |= {"sasl_mechanism": self.mechanism, "sasl_oauth_token_provider": tokens}
        elif self.protocol.startswith("SASL_"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": password,
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._tls_context()
        return options

    def _tls_context(self) -> ssl.SSLContext:
        authority, chain, key = self.certificates
        try:
            context = ssl.create_default_context(cafile=authority)
        except (OSError, ValueError):
            raise InvalidInput(f"KAFKA_CA_FILE={authority}: is no readable file of certificates in PEM") from None
        try:
            if chain is not None:
                context.load_cert_chain(chain, key, password=lambda: "")  # an encrypted key fails instead of asking
        except (OSError, ValueError):
            raise InvalidInput(
                "KAFKA_CERTIFICATE_FILE and KAFKA_KEY_FILE: are no readable certificate in PEM with its key"
            ) from None
        return context
