"""Whose changes the client of a session hears of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import few_tenants, principals

from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import NO_CAPABILITIES

ACME, BETA = TenantId("acme"), TenantId("beta")


@pytest.mark.parametrize(
    ("hears", "owners"),
    [
        ({}, [None]),
        ({"hears_only": ACME}, [None, ACME]),
        ({"hears_all": True}, [None, ACME, BETA]),
        ({"hears_only": ACME, "hears_all": True}, [None, ACME, BETA]),
    ],
)
def test_a_client_hears_of_global_changes_and_of_its_tenants_and_an_admins_of_all(hears, owners):
    session = Session(id="x", identity_key="k", revision="2025-11-25", capabilities=NO_CAPABILITIES, **hears)
    assert [owner for owner in (None, ACME, BETA) if session.hears_of(owner)] == owners


owners = st.none() | few_tenants


@given(principals(), owners)
def test_a_session_hears_of_what_its_caller_may_notice(principal: Principal, owner: TenantId | None) -> None:
    session = Session(
        "id",
        principal.identity_key,
        "2025-11-25",
        NO_CAPABILITIES,
        hears_only=principal.tenant,
        hears_all=principal.is_platform_admin,
    )
    assert session.hears_of(owner) == principal.hears_of(owner)
    assert principal.hears_of(owner) == (owner in {None, principal.tenant} or "stoa:admin" in principal.scopes)
