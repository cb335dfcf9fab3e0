"""The mapping from claims to a Principal."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.access.identity import Principal
from stoa.domain.errors import NotAuthenticated
from stoa.infrastructure.oidc.claims import ClaimMapping, principal_of

MAPPING = ClaimMapping(role_clients=frozenset({"gateway", "console"}))
BASE = {"iss": "https://issuer.example", "sub": "ann", "exp": 1_800_000_000}


def principal(mapping=MAPPING, **claims):
    return principal_of({**BASE, **claims}, mapping)


def refusal(mapping=MAPPING, **claims):
    with pytest.raises(NotAuthenticated) as caught:
        principal(mapping, **claims)
    assert caught.value.__context__ is None
    return caught.value.message


def test_the_least_token_yields_a_principal_without_tenant_roles_or_client():
    assert principal() == Principal(
        subject="ann", issuer="https://issuer.example", expires_at=datetime(2027, 1, 15, 8, tzinfo=UTC)
    )


def test_roles_come_from_the_realm_the_configured_clients_and_the_plain_claim():
    held = principal(
        realm_access={"roles": ["devops"]},
        resource_access={
            "gateway": {"roles": ["viewer"]},
            "console": {"roles": ["tenant-admin"]},
            "stranger": {"roles": ["cpi-admin"]},
        },
        roles=["auditor"],
    )
    assert held.roles == {"devops", "viewer", "tenant-admin", "auditor"}
    assert held.scopes == {"stoa:read", "stoa:write"}


def test_roles_of_a_client_that_is_not_configured_mean_nothing_even_when_malformed():
    assert principal(resource_access={"stranger": 5}).roles == frozenset()


@pytest.mark.parametrize(
    ("scope", "roles", "scopes", "limit"),
    [
        (None, ["devops"], {"stoa:read", "stoa:write"}, None),
        ("openid profile", ["devops"], {"openid", "profile", "stoa:read", "stoa:write"}, None),
        ("openid stoa:read", ["devops"], {"openid", "stoa:read"}, {"stoa:read"}),
        ("openid  stoa:admin ", ["viewer"], {"openid"}, {"stoa:admin"}),
        ("stoa:admin stoa:read stoa:write", ["viewer"], {"stoa:read"}, {"stoa:admin", "stoa:read", "stoa:write"}),
        ("stoa:admin", [], set(), {"stoa:admin"}),
        ("stoa:admin", ["stoa:admin", "root"], set(), {"stoa:admin"}),
        ("stoa:read", ["cpi-admin"], {"stoa:read"}, {"stoa:read"}),
        ("stoa:other", ["cpi-admin"], set(), {"stoa:other"}),
        ("STOA:ADMIN", ["viewer"], {"STOA:ADMIN", "stoa:read"}, None),
    ],
)
def test_scopes_are_what_the_roles_give_limited_by_those_of_the_token(scope, roles, scopes, limit):
    held = principal(roles=roles, **({} if scope is None else {"scope": scope}))
    assert (held.scopes, held.token_scopes) == (scopes, limit)
    assert held.is_platform_admin == ("stoa:admin" in scopes)


def test_scopes_that_are_demanded_and_missing_leave_nothing_of_what_the_roles_give():
    demanding = ClaimMapping(requires_scopes=True)
    for claims in ({}, {"scope": "openid"}):
        held = principal(demanding, roles=["cpi-admin"], **claims)
        assert held.scopes <= {"openid"}
        assert not any(held.token_covers(scope) for scope in ("stoa:read", "stoa:write", "stoa:admin"))
    assert principal(demanding, roles=["devops"], scope="stoa:read").scopes == {"stoa:read"}


def test_only_a_space_separates_scopes():
    assert principal(scope="a\u00a0stoa:admin").scopes == {"a\u00a0stoa:admin"}


def test_an_empty_scope_claim_grants_nothing():
    assert principal(scope="").scopes == frozenset()


@pytest.mark.parametrize(
    ("claims", "client"),
    [
        ({"azp": "claude", "client_id": "other"}, "claude"),
        ({"client_id": "other"}, "other"),
        ({}, None),
    ],
)
def test_the_client_is_azp_or_else_client_id(claims, client):
    assert principal(**claims).client == client


@pytest.mark.parametrize(
    ("claims", "tenant"),
    [
        ({"tenant_id": "acme"}, "acme"),
        ({"tenant_id": "acme", "groups": ["/tenants/globex"]}, "acme"),
        ({"groups": ["/staff", "/tenants/globex"]}, "globex"),
        ({"groups": ["/tenants/globex", "/tenants/globex"]}, "globex"),
        ({"groups": ["/tenants/globex", "/tenants/acme"]}, None),
        ({"groups": ["/staff"]}, None),
        ({"groups": []}, None),
        ({}, None),
    ],
)
def test_the_tenant_is_its_claim_or_else_the_only_tenant_group(claims, tenant):
    assert principal(**claims).tenant == tenant


def test_the_tenant_claim_can_have_another_name():
    assert principal(ClaimMapping(tenant_claim="org"), org="acme", tenant_id="globex").tenant == "acme"


@pytest.mark.parametrize("name", ["Acme", "ac_me", "\u0430cme", "acme\u2024x", "-acme", "a" * 64, "acme ", "a/b", "*"])
def test_a_tenant_that_is_not_an_rfc_1123_label_is_refused(name):
    for claims in ({"tenant_id": name}, {"groups": [f"/tenants/{name}"]}):
        message = refusal(**claims)
        assert "tenant" in message
        assert name not in message


def test_a_tenant_with_a_newline_at_its_end_is_refused():
    assert "tenant_id" in refusal(tenant_id="acme\n")


@pytest.mark.parametrize("missing", ["sub", "iss", "exp"])
def test_a_token_without_subject_issuer_or_expiry_is_refused(missing):
    with pytest.raises(NotAuthenticated, match=missing):
        principal_of({name: value for name, value in BASE.items() if name != missing}, MAPPING)


@pytest.mark.parametrize("subject", ["", None, 5, ["ann"], {"name": "ann"}, True, "a\x00b", "a\x1fb", "a\nb", "\ud800"])
def test_a_subject_that_is_not_plain_text_is_refused(subject):
    assert refusal(sub=subject) == "The token's claim sub is malformed"


@pytest.mark.parametrize(
    "expiry", [None, "1800000000", True, -1, 1e300, 10**30, float("nan"), float("inf"), [], 253402300800]
)
def test_an_expiry_that_is_not_a_date_is_refused(expiry):
    assert refusal(exp=expiry) == "The token's claim exp is malformed"


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": ["stoa:admin"]},
        {"scope": None},
        {"azp": 5},
        {"azp": ""},
        {"client_id": []},
        {"tenant_id": None},
        {"tenant_id": ["acme"]},
        {"groups": "/tenants/acme"},
        {"groups": ["/tenants/acme", 5]},
        {"roles": "cpi-admin"},
        {"roles": {"cpi-admin": True}},
        {"roles": [["cpi-admin"]]},
        {"roles": ["a\x1fb"]},
        {"realm_access": ["cpi-admin"]},
        {"realm_access": {"roles": "cpi-admin"}},
        {"resource_access": []},
        {"resource_access": {"gateway": []}},
        {"resource_access": {"gateway": {"roles": [None]}}},
    ],
)
def test_a_claim_of_the_wrong_type_is_refused_by_name(claims):
    name = next(iter(claims))
    assert name in refusal(**claims)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_names = [*BASE, "azp", "client_id", "scope", "roles", "groups", "realm_access", "resource_access", "tenant_id"]


@given(st.dictionaries(st.sampled_from(_names), _json))
def test_any_claims_end_in_a_principal_or_a_refusal(claims):
    try:
        found = principal_of({**BASE, **claims}, MAPPING)
    except NotAuthenticated as refused:
        assert len(refused.message) < 100
    else:
        assert found.identity_key
        assert found.authorization_key
