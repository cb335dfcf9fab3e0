"""Bearer tokens as OpenID Connect providers issue them: signed JWTs (RFC 7519, RFC 9068) on joserfc.

`JwtTokenVerifier` holds every rule; where the keys come from is a `KeyProvider`. `OidcTokenVerifier` gets them from any
OpenID provider, `KeycloakTokenVerifier` from a realm of Keycloak's; `DevIssuer` stands in for an identity provider on a
developer's machine.
"""

from stoa.infrastructure.oidc.back_channel import BackChannel
from stoa.infrastructure.oidc.claims import ClaimMapping
from stoa.infrastructure.oidc.dev_issuer import DevIssuer
from stoa.infrastructure.oidc.jwt_verifier import JwtTokenVerifier
from stoa.infrastructure.oidc.keycloak import KeycloakTokenVerifier
from stoa.infrastructure.oidc.keys import KeyProvider, StaticKeys
from stoa.infrastructure.oidc.provider import OidcTokenVerifier

__all__ = [
    "BackChannel",
    "ClaimMapping",
    "DevIssuer",
    "JwtTokenVerifier",
    "KeyProvider",
    "KeycloakTokenVerifier",
    "OidcTokenVerifier",
    "StaticKeys",
]
