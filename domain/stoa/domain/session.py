"""What a handshake agreed on, for the requests that follow it."""

from dataclasses import dataclass

from stoa.domain.dialogue import ClientCapabilities, LogLevel
from stoa.domain.operation import OperationKey


@dataclass(frozen=True, slots=True)
class Session:
    """It proves nothing about its user: every request is authenticated, and `identity_key` must be the caller's."""

    id: str
    """256 random bits, as visible ASCII."""
    identity_key: str
    revision: str
    capabilities: ClientCapabilities
    log_level: LogLevel = "warning"
    """Log messages below it are not sent."""
    watched: frozenset[tuple[str, OperationKey]] = frozenset()
    """URIs whose changes the client wants to hear of, with the resource that each is read from."""
