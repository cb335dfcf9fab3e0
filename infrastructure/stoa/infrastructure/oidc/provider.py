"""Verifies tokens of any OpenID provider by its published keys and claims, and on request by introspection.

Guarantees: a token signed with a retired key is refused after REFRESH_SECONDS + CACHE_TIME at the latest, while the
provider answers; while it does not, after STALE_SECONDS + CACHE_TIME. A revoked token, or one of a disabled realm,
passes until it expires, unless tokens are introspected: then it is refused after CACHE_TIME.
"""

from pydantic import SecretStr

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.infrastructure.oidc.back_channel import BackChannel
from stoa.infrastructure.oidc.claims import ClaimMapping
from stoa.infrastructure.oidc.introspection import Introspection
from stoa.infrastructure.oidc.jwt_verifier import JwtTokenVerifier
from stoa.infrastructure.oidc.provider_client import ProviderClient
from stoa.infrastructure.oidc.remote_keys import RemoteKeys


class OidcTokenVerifier(JwtTokenVerifier, HealthProbe):
    """Accepts access tokens whose `iss` is `issuer`. With `introspection_secret` (of the client `client_id`) every
    token is also introspected."""

    name = "identity"

    def __init__(
        self,
        *,
        issuer: str,
        audiences: frozenset[str],
        clock: Clock,
        mapping: ClaimMapping,
        client_id: str = "stoa-mcp-gateway",
        introspection_secret: SecretStr | None = None,
        client_id_is_audience: bool = False,
        back_channel: BackChannel | None = None,
        http: ProviderClient | None = None,
        report: ReportDefect = log_defect,
    ) -> None:
        self._http = http or ProviderClient()
        introspects = introspection_secret is not None
        self._remote = RemoteKeys(
            issuer, self._http.get, clock, back_channel=back_channel, introspects=introspects, report=report
        )
        introspection = None
        if introspection_secret is not None:
            introspection = Introspection(
                lambda: self._remote.introspection_endpoint, client_id, introspection_secret, self._http
            )
        super().__init__(
            keys=self._remote,
            issuer=issuer,
            audiences=audiences,
            clock=clock,
            mapping=mapping,
            introspection=introspection,
            client_id_is_audience=client_id_is_audience,
        )

    async def start(self) -> None:
        """Fetches the keys; `health` shows the result. If the provider is unreachable, keys are fetched later."""
        await self._remote.refresh()

    async def watch(self) -> None:
        """Keeps the keys, and with them `health`, current until cancelled."""
        await self._remote.watch()

    def health(self) -> Health:
        problem = self._remote.problem
        findings = () if problem is None else (problem,)
        return Health(self._remote.is_current, problem or self.issuers[0], findings if self._remote.is_current else ())

    async def close(self) -> None:
        await self._http.close()
