"""Sessions of the handshake era: the agreement of one `initialize`, for the requests that follow it."""

from dataclasses import dataclass

from stoa.domain.access.fair_share import Holder
from stoa.domain.access.identity import TenantId
from stoa.domain.client_requests.client_request import ClientCapabilities, LogLevel
from stoa.domain.operations.operation import OperationKey

MAX_WATCHED_RESOURCES = 100
"""Upper bound on the URIs that one session or one listen stream watches: the policy is asked about all of them at once.
"""
MAX_WATCHED_TEXT = 16 * 1024
"""Upper bound on the characters of all URIs that one session watches."""


@dataclass(frozen=True, slots=True)
class Session:
    """The state of one client between requests. A session proves nothing about its user: every request is
    authenticated, and `identity_key` must be the caller's."""

    id: str
    """256 random bits, as visible ASCII."""
    identity_key: str
    revision: str
    capabilities: ClientCapabilities
    hears_only: TenantId | None = None
    """The tenant whose changes the client is notified of, in addition to global ones."""
    hears_all: bool = False
    """Notify the client of the changes of every tenant, as for a platform admin."""
    log_level: LogLevel = "warning"
    """Log messages below this level are not sent."""
    watched: frozenset[tuple[str, OperationKey]] = frozenset()
    """The URIs that the client watches for changes, each with the resource that it is read from."""

    @property
    def holder(self) -> Holder:
        """The caller whose share of sessions this one counts in."""
        return Holder(self.hears_only, self.identity_key)

    def hears_of(self, owner: TenantId | None) -> bool:
        """Same rule as `Principal.hears_of`, for the caller who began the session."""
        return owner is None or owner == self.hears_only or self.hears_all
