"""Telling a client how to authenticate: RFC 9728 protected resource metadata and RFC 6750 challenges."""

from collections.abc import Iterable
from dataclasses import dataclass

from stoa.domain.errors import NotAuthenticated, NotPermitted, StoaError
from stoa.domain.identity import SCOPE_ADMIN, SCOPE_READ, SCOPE_WRITE
from stoa.domain.json_value import JsonObject

BASE_SCOPE = SCOPE_READ
"""What a client should ask for first; more is asked for when a tool needs it."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The gateway as an OAuth 2.1 resource server."""

    url: str
    """The URL that clients connect to, character for character: `https://gateway.example/mcp`."""
    metadata_url: str
    authorization_servers: tuple[str, ...]

    def metadata(self) -> JsonObject:
        """The RFC 9728 section 2 document."""
        return {
            "resource": self.url,
            "authorization_servers": list(self.authorization_servers),
            "scopes_supported": [SCOPE_READ, SCOPE_WRITE, SCOPE_ADMIN],
            "bearer_methods_supported": ["header"],
            "resource_name": "STOA MCP Gateway",
        }

    def challenge(self, error: StoaError) -> str | None:
        """The WWW-Authenticate value for this error; None when no credential would help."""
        if isinstance(error, NotAuthenticated):
            if error.is_missing:
                return self._bearer(scopes=[BASE_SCOPE])
            return self._bearer("invalid_token", error.message, [BASE_SCOPE])
        if isinstance(error, NotPermitted) and error.decision.missing_scopes:
            needed = sorted({BASE_SCOPE, *error.decision.missing_scopes})
            return self._bearer("insufficient_scope", error.decision.reason, needed)
        return None

    def _bearer(self, error: str | None = None, description: str = "", scopes: Iterable[str] = ()) -> str:
        parts = [f'resource_metadata="{self.metadata_url}"', f'scope="{" ".join(scopes)}"']
        if error is not None:
            # RFC 6750 section 3: printable ASCII without quote and backslash. A policy's reason may be anything.
            safe = "".join(c for c in description.replace('"', "'") if " " <= c <= "~" and c != "\\")
            parts = [f'error="{error}"', f'error_description="{safe}"', *parts]
        return "Bearer " + ", ".join(parts)
