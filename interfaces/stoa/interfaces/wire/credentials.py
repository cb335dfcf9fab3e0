"""The credential and the tenant of a request, read the same way by all doors."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import BearerToken, Credential

CredentialNow = Callable[[], Awaitable[Credential]]
"""Returns the credential of the next message of a connected client, whose token may have to be renewed."""


def credential_of(authorization: str | None) -> Credential:
    """The bearer token of an Authorization header (RFC 6750 section 2.1), or None. Other schemes prove nothing here."""
    scheme, _, token = (authorization or "").partition(" ")
    return BearerToken(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


def tenant_of(query: bytes) -> TenantId | None:
    """The tenant that a URL's query asks for; the last one counts."""
    chosen = parse_qs(query.decode("latin-1")).get("tenant_id") if query else None
    return TenantId(chosen[-1]) if chosen else None
