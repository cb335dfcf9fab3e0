"""Tells clients how to authenticate: RFC 9728 protected resource metadata and RFC 6750 challenges."""

from collections.abc import Iterable
from dataclasses import dataclass

from stoa.domain.access.identity import SCOPE_READ, stoa_scopes
from stoa.domain.errors import NotAuthenticated, NotPermitted, StoaError
from stoa.domain.schema.json_value import JsonObject

BASE_SCOPE = SCOPE_READ
"""The scope that a client asks for first; a refused call names those that its tool needs beyond it."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The gateway as an OAuth 2.1 resource server."""

    url: str
    """The URL that clients connect to, character for character: `https://gateway.example/mcp`."""
    metadata_url: str
    authorization_servers: tuple[str, ...]
    """Issuers that clients can get a token from. Empty: there is none, so OAuth is not announced."""
    scope_prefix: str = ""
    """Precedes our scopes at the authorization server; see OIDC_SCOPE_PREFIX."""

    def metadata(self) -> JsonObject:
        """The RFC 9728 section 2 document. `scopes_supported` is the minimal set: clients ask for all that it names
        (MCP 2025-11-25, Authorization, "Scope Selection Strategy") and a provider refuses a scope that its user must
        not have."""
        servers = {"authorization_servers": list(self.authorization_servers)} if self.authorization_servers else {}
        return {
            "resource": self.url,
            **servers,
            "scopes_supported": [self._at_provider(BASE_SCOPE)],
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
        parts = [f'scope="{" ".join(map(self._at_provider, scopes))}"']
        if self.authorization_servers:
            parts.insert(0, f'resource_metadata="{self.metadata_url}"')
        if error is not None:
            # RFC 6750 section 3: printable ASCII without quote and backslash. A policy's reason may be anything.
            safe = "".join(c for c in description.replace('"', "'") if " " <= c <= "~" and c != "\\")
            parts = [f'error="{error}"', f'error_description="{safe}"', *parts]
        return "Bearer " + ", ".join(parts)

    def _at_provider(self, scope: str) -> str:
        return self.scope_prefix + scope if stoa_scopes([scope]) else scope
