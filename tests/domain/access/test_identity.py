"""Principals: what roles imply, which tenant they look at, and keys that tell them apart."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import few_tenants, principals, roles, tenants, token_limits

from stoa.domain.access.identity import ALL_SCOPES, ROLE_SCOPES, Principal, TenantId, scopes_of

awkward = st.text(st.sampled_from(["a", "b", "\x1f", "\x00", ",", '"', "\\", "[", "]", "é"]), max_size=4)


def test_known_roles_imply_the_documented_scopes_and_unknown_ones_none():
    assert scopes_of(["cpi-admin"]) == {"stoa:admin", "stoa:write", "stoa:read"}
    assert scopes_of(["tenant-admin"]) == scopes_of(["devops"]) == {"stoa:write", "stoa:read"}
    assert scopes_of(["viewer"]) == {"stoa:read"}
    assert scopes_of(["root", "VIEWER"]) == frozenset()


@given(st.frozensets(roles), st.frozensets(roles))
def test_more_roles_never_imply_fewer_scopes(some, more):
    assert scopes_of(some) | scopes_of(more) == scopes_of(some | more)


@given(st.frozensets(roles))
def test_only_the_platform_role_makes_a_platform_admin(held):
    assert Principal.of("ann", roles=held).is_platform_admin == ("cpi-admin" in held)
    assert "cpi-admin" in ROLE_SCOPES


any_scopes = st.frozensets(st.sampled_from([*ALL_SCOPES, "stoa:other", "openid", "STOA:admin"]))


@given(st.frozensets(roles), token_limits, any_scopes)
def test_scopes_are_what_roles_and_token_both_give_and_never_the_union(held, limit, scopes):
    ann = Principal(subject="ann", roles=held, token_scopes=limit, scopes=scopes)
    own = {scope for scope in ann.scopes if scope.startswith("stoa:")}
    assert ann.scopes - own == {scope for scope in scopes if not scope.startswith("stoa:")}
    expected = scopes & scopes_of(held)
    assert own == (expected if limit is None else expected & limit)
    assert ann.is_platform_admin == ("cpi-admin" in held and "stoa:admin" in own)
    assert type(ann).model_validate(dict(ann)) == ann


@given(principals(), any_scopes)
def test_scopes_of_a_token_that_steps_up_grow_as_far_as_the_roles_and_no_further(principal, wanted):
    stronger = principal.stepped_up(wanted)
    assert stronger.scopes >= principal.scopes
    gained = {scope for scope in stronger.scopes - principal.scopes if scope.startswith("stoa:")}
    assert gained == wanted & scopes_of(principal.roles) - principal.scopes
    assert (stronger.roles, stronger.tenant, stronger.subject) == (principal.roles, principal.tenant, principal.subject)


@pytest.mark.parametrize(
    ("roles", "limit", "covered"),
    [
        (["viewer"], None, {"stoa:read", "stoa:write", "stoa:admin"}),
        (["viewer"], {"stoa:read"}, {"stoa:read"}),
        (["cpi-admin"], {"stoa:admin"}, {"stoa:read", "stoa:write", "stoa:admin"}),
        (["tenant-admin"], {"stoa:admin"}, {"stoa:admin"}),
        (["cpi-admin"], set(), set()),
    ],
)
def test_scopes_of_a_token_cover_what_they_name_and_of_a_platform_admin_everything(roles, limit, covered):
    ann = Principal.of("ann", roles=roles, token_scopes=limit)
    assert {scope for scope in ALL_SCOPES if ann.token_covers(scope)} == covered


@given(principals())
def test_asking_for_nothing_or_for_ones_own_tenant_changes_nothing(principal):
    assert principal.acting_for(None) is principal
    if principal.tenant is not None:
        assert principal.acting_for(principal.tenant) is principal


@given(principals(), tenants)
def test_only_a_platform_admin_looks_into_another_tenant(principal, tenant):
    acting = principal.acting_for(tenant)
    if tenant == principal.tenant:
        assert acting is principal
    elif not principal.is_platform_admin:
        assert acting is None
    else:
        assert acting is not None
        assert acting.tenant == tenant
        assert acting.model_copy(update={"tenant": principal.tenant}) == principal


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a-", "x" * 64, "a\n", "\ud800", "../acme", "a\x1fb"])
def test_nobody_looks_into_what_no_tenant_can_be_called(name):
    assert Principal.of("root", roles=["cpi-admin"]).acting_for(TenantId(name)) is None
    with pytest.raises(ValidationError):
        Principal.of("ann", tenant=name)


@given(principals(), few_tenants)
def test_looking_into_another_tenant_changes_what_is_authorised_but_not_who_it_is(principal, tenant):
    before = principal.authorization_key
    acting = principal.acting_for(tenant)
    if acting is None or acting is principal:
        return
    assert acting.identity_key == principal.identity_key
    assert acting.authorization_key != before
    assert acting.authorization_key == type(acting).model_validate(dict(acting)).authorization_key


identities = st.tuples(awkward, awkward.filter(bool), st.none() | awkward)


@given(identities, identities)
def test_identity_keys_are_equal_for_equal_identities_only(one, other):
    def key(identity: tuple[str, str, str | None]) -> str:
        issuer, subject, client = identity
        return Principal(issuer=issuer, subject=subject, client=client).identity_key

    assert (key(one) == key(other)) == (one == other)


some_names = st.frozensets(awkward, max_size=3)
rights = st.tuples(st.none() | few_tenants, some_names, some_names, st.none() | some_names)


@given(rights, rights)
def test_authorization_keys_are_equal_for_equal_rights_only(one, other):
    def key(held: tuple[TenantId | None, frozenset[str], frozenset[str], frozenset[str] | None]) -> str:
        tenant, some_roles, scopes, limit = held
        return Principal(
            subject="ann", tenant=tenant, roles=some_roles, scopes=scopes, token_scopes=limit
        ).authorization_key

    assert (key(one) == key(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"issuer": "a\x1fb", "subject": "c"}, {"issuer": "a", "subject": "b\x1fc"}),
        ({"subject": "a\x1fb"}, {"subject": "a", "client": "b"}),
        ({"subject": "a", "client": ""}, {"subject": "a", "client": None}),
    ],
)
def test_a_separator_inside_a_part_does_not_join_two_callers(one, other):
    assert Principal(**one).identity_key != Principal(**other).identity_key


def test_a_role_does_not_pass_for_a_scope():
    role = Principal(subject="a", roles=frozenset({"admin"}))
    scope = Principal(subject="a", scopes=frozenset({"admin"}))
    assert role.authorization_key != scope.authorization_key


def test_half_a_surrogate_pair_in_a_role_does_no_harm():
    assert Principal(subject="a", roles=frozenset({"\ud800"})).authorization_key


@given(principals())
def test_a_principal_cannot_be_changed(principal):
    with pytest.raises(ValidationError):
        principal.tenant = "acme"


def test_keys_are_digests_that_do_not_change_from_one_release_to_the_next():
    """Counters, sessions and tasks are kept under them by replicas of other versions."""
    ann = Principal.of("ann", tenant="acme", roles=["viewer"], client="app", issuer="https://issuer.example")
    identity = ["https://issuer.example", "ann", "app"]
    assert ann.identity_key == hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    rights = [ann.identity_key, "acme", ["viewer"], ["stoa:read"]]
    assert ann.authorization_key == hashlib.sha256(json.dumps(rights).encode()).hexdigest()


def test_rights_have_one_key_in_whatever_order_they_came():
    names = [f"r{number}" for number in range(50)]
    one, other = (
        Principal(subject="a", roles=frozenset(order), scopes=frozenset(order)) for order in (names, names[::-1])
    )
    assert one.authorization_key == other.authorization_key
    digest = hashlib.sha256(json.dumps([one.identity_key, None, sorted(names), sorted(names)]).encode()).hexdigest()
    assert one.authorization_key == digest


def test_the_most_powerful_role_stands_first():
    assert list(ROLE_SCOPES) == ["cpi-admin", "tenant-admin", "devops", "viewer"]


@given(principals())
def test_a_principal_of_roles_holds_them_and_what_they_imply(principal):
    again = Principal.of(
        principal.subject,
        tenant=principal.tenant,
        roles=iter(principal.roles),
        client=principal.client,
        issuer=principal.issuer,
        token_scopes=principal.token_scopes,
    )
    assert again == principal
    if principal.token_scopes is None:
        assert again.scopes == scopes_of(principal.roles)


def test_a_caller_has_a_name():
    with pytest.raises(ValidationError, match="subject"):
        Principal(subject="")
    assert Principal(subject="a").subject == "a"
    assert Principal.of("a") == Principal(subject="a")


@given(principals(), st.none() | few_tenants)
def test_nobody_notices_what_other_tenants_do(principal, owner):
    may_see = owner in {None, principal.tenant} or principal.is_platform_admin
    assert principal.hears_of(owner) == may_see


def test_a_viewer_hears_of_its_own_and_of_what_is_global_and_an_admin_of_everything():
    owners = [None, TenantId("acme"), TenantId("beta")]
    ann = Principal.of("ann", tenant="acme", roles=["viewer"])
    assert [ann.hears_of(owner) for owner in owners] == [True, True, False]
    assert all(Principal.of("root", roles=["cpi-admin"]).hears_of(owner) for owner in owners)
