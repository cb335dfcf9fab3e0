"""The names of environment variables for secrets."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.files.credentials import (
    ChainedCredentialSource,
    EnvironmentCredentialSource,
    FileCredentialSource,
)
from stoa.infrastructure.files.credentials.environment import variable_name

tenants = st.none() | st.from_regex(r"[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True).map(TenantId)
names = st.from_regex(r"[ab1]([-ab_.]{0,5}[ab1])?", fullmatch=True)
keys = st.from_regex(r"[-ab_.]{1,7}", fullmatch=True)


@pytest.mark.parametrize(
    ("tenant", "name", "key", "variable"),
    [
        (None, "pets", "token", "STOA_SECRET__GLOBAL__PETS__TOKEN"),
        ("team-a", "pets.api", "apiKey", "STOA_SECRET__TEAM_A__PETS_API__APIKEY"),
        ("global", "pets", "token", None),
        ("a--b", "pets", "token", None),
        ("a", "pets__x", "token", None),
    ],
)
def test_a_variable_is_named_after_tenant_name_and_key(tenant, name, key, variable):
    assert variable_name(tenant, name, key) == variable


@given(tenants, names, keys, tenants, names, keys)
def test_different_tenants_never_share_a_variable(tenant, name, key, other, its_name, its_key):
    assume(tenant != other)

    theirs = variable_name(other, its_name, its_key)
    assert theirs is None or variable_name(tenant, name, key) != theirs


few = st.text("a-_", min_size=1, max_size=4)


@given(few, few, few, few)
def test_names_that_differ_by_more_than_case_and_punctuation_never_share_a_variable(name, key, its_name, its_key):
    variable = variable_name(None, f"a{name}a", key)

    if variable is not None and variable == variable_name(None, f"a{its_name}a", its_key):
        assert (len(name), len(key)) == (len(its_name), len(its_key))


def test_the_message_says_which_variable_to_set():
    with pytest.raises(BackendUnavailable, match="set the environment variable STOA_SECRET__ACME__PETS__TOKEN"):
        EnvironmentCredentialSource({}).read(TenantId("acme"), SecretReference(name="pets"), "token")


def test_a_chain_says_for_each_source_where_to_put_the_secret(tmp_path):
    chain = ChainedCredentialSource([FileCredentialSource(tmp_path), EnvironmentCredentialSource({})])

    with pytest.raises(BackendUnavailable, match=r"acme/pets/token.*STOA_SECRET__ACME__PETS__TOKEN") as caught:
        chain.read(TenantId("acme"), SecretReference(name="pets"), "token")
    assert str(tmp_path) not in caught.value.message


def test_the_first_source_that_has_the_secret_gives_it():
    first = EnvironmentCredentialSource({"STOA_SECRET__GLOBAL__A__TOKEN": "1"})
    second = EnvironmentCredentialSource({"STOA_SECRET__GLOBAL__A__TOKEN": "2", "STOA_SECRET__GLOBAL__B__TOKEN": "3"})
    chain = ChainedCredentialSource([first, second])

    assert [chain.read(None, SecretReference(name=name), "token") for name in "ab"] == ["1", "3"]
