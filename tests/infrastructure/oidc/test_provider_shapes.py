"""Access tokens in the shapes of the identity providers that are common, as their documentation shows them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.infrastructure.oidc.forge import forge, good_header, new_verifier

from stoa.domain.errors import NotAuthenticated
from stoa.infrastructure.oidc import ClaimMapping
from stoa.infrastructure.oidc.claims import principal_of
from stoa.testing.clock import ManualClock

NOW = int(ManualClock().now().timestamp())
TIMES = {"iat": NOW, "exp": NOW + 3600}
TENANT_GUID = "8f1b7c52-6f0e-4a4c-9d2a-1c1b5f0f7a11"
API_GUID = "11112222-bbbb-3333-cccc-4444dddd5555"

ENTRA = {
    **TIMES,
    "nbf": NOW,
    "iss": f"https://login.microsoftonline.com/{TENANT_GUID}/v2.0",
    "aud": API_GUID,
    "azp": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
    "azpacr": "0",
    "oid": "00000000-0000-0000-66f3-3332eca7ea81",
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "tid": TENANT_GUID,
    "roles": ["Stoa.Admin", "Sales"],
    "groups": ["9f3c0d3a-0000-4000-8000-000000000001"],
    "scp": "access_as_user stoa:read",
    "uti": "fqiBqXLPj0eQa82S-IYFAA",
    "ver": "2.0",
}
OKTA = {
    **TIMES,
    "ver": 1,
    "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "iss": "https://dev-1.okta.example/oauth2/default",
    "aud": "api://stoa",
    "cid": "0oabskvc6442nkvQO0h7",
    "uid": "00ujmkLgagxeRrAg20g3",
    "scp": ["openid", "stoa:read", "stoa:write"],
    "sub": "ada@acme.example",
    "groups": ["Everyone", "stoa-devops", "/tenants/acme"],
}
AUTH0 = {
    **TIMES,
    "iss": "https://acme.eu.auth0.example/",
    "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
    "aud": ["https://gw.example.org/mcp", "https://acme.eu.auth0.example/userinfo"],
    "azp": "my_client_id",
    "scope": "openid profile stoa:read",
    "permissions": ["tools:use", "tools:run"],
    "https://acme.example/roles": ["viewer"],
    "https://acme.example/tenant": "acme",
}
COGNITO = {
    **TIMES,
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["devops"],
    "iss": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
    "version": 2,
    "client_id": "1example23456789",
    "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
    "token_use": "access",
    "scope": "aws.cognito.signin.user.admin stoa/stoa:read stoa/stoa:write",
    "auth_time": NOW,
    "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "username": "ada",
}
KEYCLOAK = {
    **TIMES,
    "iss": "https://auth.example.org/realms/stoa",
    "aud": ["stoa-gateway", "account"],
    "azp": "stoa-mcp",
    "sub": "3f1c",
    "typ": "Bearer",
    "scope": "openid stoa:read",
    "realm_access": {"roles": ["viewer", "default-roles-stoa"]},
    "resource_access": {"my.app": {"roles": ["devops"]}, "account": {"roles": ["manage-account"]}},
    "groups": ["/tenants/acme", "/tenants/acme/ops"],
}


def verifying(claims: dict[str, Any], audience: str, mapping: ClaimMapping, **rest: Any) -> Any:
    return new_verifier(issuer=claims["iss"], audiences=frozenset({audience}), mapping=mapping, **rest)


@pytest.mark.parametrize(
    ("claims", "header", "audience", "mapping", "expected"),
    [
        pytest.param(
            ENTRA,
            {},
            API_GUID,
            ClaimMapping(tenant_claim="tid", role_names={"Stoa.Admin": "tenant-admin"}),
            (TENANT_GUID, {"tenant-admin"}, {"stoa:read"}, ENTRA["azp"]),
            id="Entra ID, app roles",
        ),
        pytest.param(
            ENTRA,
            {},
            API_GUID,
            ClaimMapping(roles_claims=("groups",), role_names={"9f3c0d3a-0000-4000-8000-000000000001": "devops"}),
            (None, {"devops"}, {"stoa:read"}, ENTRA["azp"]),
            id="Entra ID, groups",
        ),
        pytest.param(
            OKTA,
            {"typ": None},
            "api://stoa",
            ClaimMapping(roles_claims=("groups",), role_names={"stoa-devops": "devops"}),
            ("acme", {"devops"}, {"stoa:read", "stoa:write"}, OKTA["cid"]),
            id="Okta",
        ),
        pytest.param(
            AUTH0,
            {"typ": "at+jwt"},
            "https://gw.example.org/mcp",
            ClaimMapping(roles_claims=("https://acme.example/roles",), tenant_claim="https://acme.example/tenant"),
            ("acme", {"viewer"}, {"stoa:read"}, "my_client_id"),
            id="Auth0, namespaced claims",
        ),
        pytest.param(
            AUTH0,
            {},
            "https://gw.example.org/mcp",
            ClaimMapping(roles_claims=("permissions",), role_names={"tools:run": "devops", "tools:use": "viewer"}),
            (None, {"devops", "viewer"}, {"stoa:read"}, "my_client_id"),
            id="Auth0, permissions",
        ),
        pytest.param(
            KEYCLOAK,
            {},
            "stoa-gateway",
            ClaimMapping(role_clients=frozenset({"my.app"})),
            (None, {"viewer", "default-roles-stoa", "devops"}, {"stoa:read"}, "stoa-mcp"),
            id="Keycloak, realm and client roles",
        ),
        pytest.param(
            KEYCLOAK,
            {},
            "stoa-gateway",
            ClaimMapping(
                roles_claims=("groups", "resource_access.account.roles"),
                role_names={"/tenants/acme/ops": "devops", "manage-account": "viewer"},
            ),
            (None, {"devops", "viewer"}, {"stoa:read"}, "stoa-mcp"),
            id="Keycloak, groups and another client's roles",
        ),
    ],
)
async def test_provider_shapes_yield_tenant_roles_scopes_and_client(
    claims: dict[str, Any],
    header: dict[str, Any],
    audience: str,
    mapping: ClaimMapping,
    expected: tuple[str | None, set[str], set[str], str],
) -> None:
    principal = await verifying(claims, audience, mapping).verify(forge(claims, good_header(**header)))
    assert (principal.tenant, principal.roles, principal.token_scopes, principal.client) == expected
    assert (principal.subject, principal.issuer) == (claims["sub"], claims["iss"])


async def test_provider_cognito_names_its_client_instead_of_an_audience_where_that_is_configured() -> None:
    mapping = ClaimMapping(roles_claims=("cognito:groups",), scope_prefix="stoa/")
    configured = verifying(COGNITO, COGNITO["client_id"], mapping, client_id_is_audience=True)
    principal = await configured.verify(forge(COGNITO))
    assert (principal.roles, principal.token_scopes) == ({"devops"}, {"stoa:read", "stoa:write"})
    for refused in (
        {**COGNITO, "client_id": "another"},
        {**COGNITO, "aud": "https://another.example"},
        {**COGNITO, "aud": []},
        {name: value for name, value in COGNITO.items() if name != "token_use"},
        {name: value for name, value in COGNITO.items() if name != "client_id"},
    ):
        with pytest.raises(NotAuthenticated, match="another audience"):
            await configured.verify(forge(refused))
    id_token = {**COGNITO, "token_use": "id", "aud": COGNITO["client_id"], "cognito:groups": ["devops"]}
    with pytest.raises(NotAuthenticated, match="not an access token"):
        await configured.verify(forge(id_token))
    with pytest.raises(NotAuthenticated, match="another audience"):
        await verifying(COGNITO, COGNITO["client_id"], mapping).verify(forge(COGNITO))


BASE = {"iss": "https://issuer.example", "sub": "ann", "exp": 1_800_000_000}


@pytest.mark.parametrize(
    ("path", "claims", "roles"),
    [
        ("a.b", {"a.b": ["flat"], "a": {"b": ["nested"]}}, {"flat"}),
        ("a.b", {"a": {"b": ["nested"]}}, {"nested"}),
        ("a.b.c", {"a.b": {"c": ["longest"]}, "a": {"b": {"c": ["nested"]}}}, {"longest"}),
        ("a.b.c", {"a.b": {}, "a": {"b.c": ["inner"]}}, {"inner"}),
        ("https://acme.example/app.roles", {"https://acme.example/app": {"roles": ["x"]}}, {"x"}),
        ("a.b", {"a": {"b": "one"}}, {"one"}),
        ("a.b", {"a": {}}, set()),
        ("a.b", {}, set()),
    ],
)
def test_claims_are_found_by_path_and_the_flat_name_wins(path: str, claims: dict[str, Any], roles: set[str]) -> None:
    assert principal_of({**BASE, **claims}, ClaimMapping(roles_claims=(path,))).roles == roles


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("a.b", {"a": []}),
        ("a.b", {"a": None}),
        ("a.b.c", {"a": {"b": "x"}}),
        ("a.b", {"a": {"b": {"c": ["x"]}}}),
        ("a.b", {"a": {"b": [1]}}),
        ("a", {"a": ""}),
    ],
)
def test_claims_of_the_wrong_type_on_a_path_are_refused_by_the_whole_path(path: str, claims: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated, match=f"claim {path} is malformed"):
        principal_of({**BASE, **claims}, ClaimMapping(roles_claims=(path,)))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scp": ["stoa:read", "stoa:write"]}, {"stoa:read", "stoa:write"}),
        ({"scp": "stoa:read stoa:write"}, {"stoa:read", "stoa:write"}),
        ({"scp": "stoa:read", "scope": "openid"}, {"stoa:read", "openid"}),
        ({"scp": []}, set()),
        ({"scope": "api://gw/stoa:read api://gw/other"}, {"stoa:read", "api://gw/other"}),
    ],
)
def test_scopes_come_from_scope_and_scp_as_string_or_array(claims: dict[str, Any], scopes: set[str]) -> None:
    held = principal_of({**BASE, "roles": ["devops"], **claims}, ClaimMapping(scope_prefix="api://gw/"))
    ours = {scope for scope in scopes if scope.startswith("stoa:")}
    assert held.scopes == (scopes if ours else scopes | {"stoa:read", "stoa:write"})
    assert held.token_scopes == (ours or None)


@given(st.lists(st.sampled_from(["viewer", "devops", "cpi-admin", "staff", "root"])))
def test_roles_with_a_mapping_are_only_those_that_it_names(groups: list[str]) -> None:
    mapping = ClaimMapping(roles_claims=("groups",), role_names={"staff": "viewer"})
    assert principal_of({**BASE, "groups": groups}, mapping).roles == ({"viewer"} if "staff" in groups else set())
