"""How brokers are reached and logged in to, the same for whoever writes and whoever reads."""

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class KafkaLogin:
    """TLS trusts what the system trusts. `username` and `password` are for the SASL protocols."""

    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "PLAIN"
    username: str = ""
    password: SecretStr | None = None

    def options(self, servers: str, client_id: str) -> dict[str, Any]:
        """For a client of aiokafka; `servers` as `HOST:PORT,...`."""
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
