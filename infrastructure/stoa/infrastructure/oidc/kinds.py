"""Distinguishes access tokens from the other tokens that a provider signs with the same keys."""

from collections.abc import Mapping
from typing import Any, cast

from stoa.infrastructure.oidc.claims import CLIENT_CLAIMS

_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""Values of the header `typ` for access tokens (RFC 9068 section 2.1)."""
_OF_OTHER_TOKENS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens (OpenID Connect Core section 3.3.2.11) and of logout tokens (Back-Channel Logout section 2.4)."""
_SCOPE_CLAIMS = ("scope", "scp")


def is_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """True for an access token.

    Keycloak says so in the claim `typ` (Bearer, against ID, Refresh, Offline, Logout, DPoP), Amazon Cognito in
    `token_use`, RFC 9068 in the header. Without any of these, an ID token is recognised by its own claims, or by an
    audience that is its own client and no scope; accepting one would turn a login at an application into a login here.
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
