"""An identity provider for the developer's own machine: it signs every token that is requested.

Everyone who can reach it can be any user with any role, hence the refusals in its constructor. Its tokens look like
Keycloak's, so that a move to the real provider changes only the configuration.
"""

import uuid
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt

from stoa.application.ports import Clock, TokenIssuer
from stoa.domain.errors import InvalidInput, NotAuthenticated
from stoa.infrastructure.oidc.claims import ClaimMapping, principal_of
from stoa.infrastructure.oidc.compact_jws import MAX_TOKEN_LENGTH
from stoa.infrastructure.oidc.dev_key import load_or_create

_CLIENT = "stoa-cli"
_ALGORITHM = "ES256"


class DevIssuer(TokenIssuer):
    """Issues tokens of `issuer` for `audience`, signed with the key kept in `directory`, each with all of `scopes`.

    Raises InvalidInput in production, for an issuer that is not on this machine, and for an unusable key file.
    """

    def __init__(
        self,
        directory: Path,
        issuer: str,
        audience: str,
        clock: Clock,
        environment: str,
        scopes: Sequence[str] = ("openid",),
    ) -> None:
        if environment.strip().lower() in {"prod", "production"}:
            raise InvalidInput(
                "The dev issuer signs a token for anybody and does not run with ENVIRONMENT=prod; "
                "set KEYCLOAK_URL and KEYCLOAK_REALM to the identity provider"
            )
        if not _is_loopback(issuer):
            raise InvalidInput(
                "The dev issuer signs a token for anybody, so its URL must be on this machine, such as "
                "http://127.0.0.1:8080/dev; for another host set KEYCLOAK_URL and KEYCLOAK_REALM"
            )
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._scopes = tuple(scopes)
        self._key = load_or_create(directory)
        self._kid = self._key.thumbprint()

    def issue(self, *, subject: str, tenant: str | None, roles: frozenset[str], lifetime_seconds: int) -> str:
        """Signs a token. Raises InvalidInput for values that no verifier would accept."""
        if lifetime_seconds < 1:
            raise InvalidInput("A token must live for at least 1 second")
        claims = self._claims(subject, tenant, roles, lifetime_seconds)
        try:
            principal_of(claims, ClaimMapping())
        except NotAuthenticated as error:
            raise InvalidInput(f"No such token can be issued: {error.message}") from error
        header = {"alg": _ALGORITHM, "kid": self._kid}  # jwt.encode adds typ
        token = jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidInput(f"The token would be longer than {MAX_TOKEN_LENGTH} characters; name fewer roles")
        return token

    def key_set(self) -> dict[str, object]:
        return {"keys": [self._key.as_dict(private=False, kid=self._kid, use="sig", alg=_ALGORITHM)]}

    def _claims(self, subject: str, tenant: str | None, roles: frozenset[str], lifetime_seconds: int) -> dict[str, Any]:
        issued_at = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": subject,
            "aud": self._audience,
            "azp": _CLIENT,
            "typ": "Bearer",
            "iat": issued_at,
            "exp": issued_at + lifetime_seconds,
            "jti": str(uuid.uuid4()),
            "scope": " ".join(self._scopes),
            "realm_access": {"roles": sorted(roles)},
        }
        if tenant is not None:
            claims["tenant_id"] = tenant
        return claims


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in {"http", "https"} and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:  # neither a URL nor an address
        return False
