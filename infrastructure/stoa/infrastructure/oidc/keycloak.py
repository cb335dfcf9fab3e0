"""Keycloak as identity provider: its realm's keys, its claims, and on request its word that a token still stands.

What is promised: a token signed with a retired key is refused after REFRESH_SECONDS + CACHE_TIME at the latest, while
Keycloak answers; while it does not, after STALE_SECONDS + CACHE_TIME. A revoked token, or one of a disabled realm,
passes until it expires, unless tokens are introspected: then it is refused after CACHE_TIME.
"""

from pydantic import SecretStr

from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.infrastructure.oidc.claims import ClaimMapping
from stoa.infrastructure.oidc.introspection import Introspection
from stoa.infrastructure.oidc.jwt_verifier import JwtTokenVerifier
from stoa.infrastructure.oidc.provider_client import ProviderClient
from stoa.infrastructure.oidc.remote_keys import RemoteKeys


class KeycloakTokenVerifier(JwtTokenVerifier, HealthProbe):
    """Accepts access tokens of one realm. `client_id`: the gateway's own client, whose roles in `resource_access`
    count. With `introspection_secret` (that client's) every token is also introspected."""

    name = "identity"

    def __init__(
        self,
        *,
        url: str,
        realm: str,
        audiences: frozenset[str],
        clock: Clock,
        client_id: str = "stoa-mcp-gateway",
        tenant_claim: str = "tenant_id",
        requires_scopes: bool = False,
        introspection_secret: SecretStr | None = None,
        http: ProviderClient | None = None,
    ) -> None:
        issuer = f"{url.rstrip('/')}/realms/{realm}"
        self._http = http or ProviderClient()
        self._remote = RemoteKeys(issuer, self._http.get, clock)
        introspection = None
        if introspection_secret is not None:
            endpoint = f"{issuer}/protocol/openid-connect/token/introspect"
            introspection = Introspection(endpoint, client_id, introspection_secret, self._http)
        super().__init__(
            keys=self._remote,
            issuer=issuer,
            audiences=audiences,
            clock=clock,
            mapping=ClaimMapping(
                tenant_claim=tenant_claim, role_clients=frozenset({client_id}), requires_scopes=requires_scopes
            ),
            introspection=introspection,
        )

    async def start(self) -> None:
        """Fetch the keys; `health` says how it went. A provider that is away now is asked again later."""
        await self._remote.refresh()

    async def watch(self) -> None:
        """Keep the keys, and with them `health`, current until cancelled."""
        await self._remote.watch()

    def health(self) -> Health:
        problem = self._remote.problem
        findings = () if problem is None else (problem,)
        return Health(self._remote.is_current, problem or self.issuers[0], findings if self._remote.is_current else ())

    async def close(self) -> None:
        await self._http.close()
