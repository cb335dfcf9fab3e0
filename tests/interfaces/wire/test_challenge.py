"""WWW-Authenticate values that are legal whatever a policy's reason says."""

import re

from hypothesis import given
from hypothesis import strategies as st
from tests.interfaces.doors import METADATA_URL, RESOURCE

from stoa.domain.errors import InvalidInput, NotAuthenticated, NotPermitted, OperationNotFound, QuotaExceeded
from stoa.domain.policy.decision import Decision

_QUOTED = r'"[\x20-\x21\x23-\x5b\x5d-\x7e]*"'
_CHALLENGE = re.compile(rf"Bearer (?:[a-z_]+={_QUOTED})(?:, [a-z_]+={_QUOTED})*")
scopes = st.frozensets(st.sampled_from(["stoa:read", "stoa:write", "stoa:admin", "crm:x"]), min_size=1)


@given(st.text(), scopes)
def test_a_denial_that_scopes_would_change_is_a_legal_challenge_with_all_of_them(
    reason: str, missing: frozenset[str]
) -> None:
    value = RESOURCE.challenge(NotPermitted(Decision(False, reason, (), missing)))
    assert value is not None
    assert _CHALLENGE.fullmatch(value)
    assert f'scope="{" ".join(sorted({"stoa:read", *missing}))}"' in value
    assert value.startswith('Bearer error="insufficient_scope", ')


@given(st.text())
def test_a_bad_token_is_a_legal_challenge(message: str) -> None:
    value = RESOURCE.challenge(NotAuthenticated(message))
    assert value is not None
    assert _CHALLENGE.fullmatch(value)
    assert value.startswith('Bearer error="invalid_token", ')


def test_a_missing_token_is_challenged_without_an_error() -> None:
    value = RESOURCE.challenge(NotAuthenticated("A bearer token is required", is_missing=True))
    assert value == f'Bearer resource_metadata="{METADATA_URL}", scope="stoa:read"'


def test_where_no_credential_would_help_there_is_no_challenge() -> None:
    for error in (
        NotPermitted(Decision(False, "closed")),
        OperationNotFound("x"),
        InvalidInput("x"),
        QuotaExceeded("caller", 1),
    ):
        assert RESOURCE.challenge(error) is None
