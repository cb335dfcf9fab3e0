"""Telling access tokens from the other tokens that a provider signs with the same keys."""

from collections.abc import Mapping
from typing import Any, cast

from stoa.infrastructure.oidc.claims import CLIENT_CLAIMS

_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""In the header: RFC 9068 section 2.1."""
_OF_OTHER_TOKENS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens (OpenID Connect Core section 3.3.2.11) and of logout tokens (Back-Channel Logout section 2.4)."""
_SCOPE_CLAIMS = ("scope", "scp")


def is_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """Is a signed token one for calling an API?

    Keycloak says so itself in the claim `typ` (Bearer, against ID, Refresh, Offline, Logout, DPoP), Amazon Cognito in
    `token_use`, RFC 9068 in the header. Where nothing says so, an ID token is told by its own claims, or by its being
    for the very client that it was given to, with no scope: then a login at an application would be a login here.
    """
    if claims.get("typ", "Bearer") != "Bearer" or claims.get("token_use", "access") != "access":
        return False
    header_type = header.get("typ")
    if "typ" in claims or (isinstance(header_type, str) and header_type.lower() in _ACCESS_TOKEN_TYPES):
        return True
    if not _OF_OTHER_TOKENS.isdisjoint(claims):
        return False
    if any(name in claims for name in _SCOPE_CLAIMS):
        return True
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    client = next((claims[name] for name in CLIENT_CLAIMS if name in claims), None)
    return client is not None and client not in audiences
