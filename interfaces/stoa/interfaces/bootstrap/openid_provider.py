"""An external identity provider. It has its own module so that its HTTP client is imported only if it is used."""

from stoa.application.concurrency.supervisor import ReportDefect
from stoa.application.ports.clock import Clock
from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.oidc import ClaimMapping, KeycloakTokenVerifier, OidcTokenVerifier
from stoa.infrastructure.oidc.provider_client import ProviderClient
from stoa.interfaces.settings import Settings


def openid_provider(
    settings: Settings, clock: Clock, rules: OutboundRules, resolver: HostResolver, report: ReportDefect
) -> OidcTokenVerifier:
    """Keycloak, or the issuer of OIDC_ISSUER. `report`: called with defects while keys are fetched."""
    http = ProviderClient(rules, resolver)
    mapping = ClaimMapping(
        tenant_claim=settings.tenant_claim,
        roles_claims=settings.roles_claim,
        role_names=settings.role_mapping or None,
        scopes_claims=settings.scopes_claim,
        scope_prefix=settings.oidc_scope_prefix,
        requires_scopes=settings.require_scopes,
    )
    introspection_secret = settings.keycloak_client_secret if settings.token_introspection else None
    if settings.identity == "keycloak":
        return KeycloakTokenVerifier(
            url=settings.provider_url,
            realm=settings.keycloak_realm,
            internal_url=settings.keycloak_internal_url,
            audiences=settings.audiences,
            clock=clock,
            client_id=settings.keycloak_client_id,
            mapping=mapping,
            introspection_secret=introspection_secret,
            http=http,
            report=report,
        )
    return OidcTokenVerifier(
        issuer=settings.oidc_issuer,
        audiences=settings.audiences,
        clock=clock,
        mapping=mapping,
        client_id=settings.keycloak_client_id,
        introspection_secret=introspection_secret,
        client_id_is_audience=settings.client_id_as_audience,
        http=http,
        report=report,
    )
