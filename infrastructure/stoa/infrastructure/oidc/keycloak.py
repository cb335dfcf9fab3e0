"""Keycloak as identity provider."""

from dataclasses import replace

from pydantic import SecretStr

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.infrastructure.oidc.back_channel import BackChannel
from stoa.infrastructure.oidc.claims import ClaimMapping
from stoa.infrastructure.oidc.provider import OidcTokenVerifier
from stoa.infrastructure.oidc.provider_client import ProviderClient

_MAPPING = ClaimMapping()


class KeycloakTokenVerifier(OidcTokenVerifier):
    """Accepts access tokens of one realm. `url`: Keycloak's URL for clients; `internal_url`: its URL for this process,
    if different. `client_id`: the gateway's own client, whose roles in `resource_access` count."""

    def __init__(
        self,
        *,
        url: str,
        realm: str,
        audiences: frozenset[str],
        clock: Clock,
        internal_url: str = "",
        client_id: str = "stoa-mcp-gateway",
        mapping: ClaimMapping = _MAPPING,
        introspection_secret: SecretStr | None = None,
        http: ProviderClient | None = None,
        report: ReportDefect = log_defect,
    ) -> None:
        super().__init__(
            issuer=f"{url.rstrip('/')}/realms/{realm}",
            audiences=audiences,
            clock=clock,
            mapping=replace(mapping, role_clients=mapping.role_clients | {client_id}),
            client_id=client_id,
            introspection_secret=introspection_secret,
            back_channel=BackChannel(url, internal_url) if internal_url else None,
            http=http,
            report=report,
        )
