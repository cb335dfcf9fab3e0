"""Connection security and login for Kafka brokers, shared by the publisher and the reader."""

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class KafkaLogin:
    """Security protocol and credentials. TLS trusts the system's certificates; `username` and `password` are for the
    SASL protocols."""

    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "PLAIN"
    username: str = ""
    password: SecretStr | None = None

    def options(self, servers: str, client_id: str) -> dict[str, Any]:
        """Options of an aiokafka client; `servers` as `HOST:PORT,...`."""
        options: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in servers.split(",") if server.strip()],
            "client_id": client_id,
            "security_protocol": self.protocol,
        }
        if self.protocol.startswith("SASL_"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": "" if self.password is None else self.password.get_secret_value(),
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = ssl.create_default_context()
        return options
