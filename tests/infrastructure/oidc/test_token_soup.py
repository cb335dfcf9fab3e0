"""Whatever arrives as a token ends in a Principal or in NotAuthenticated, and says nothing about itself."""

import string

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.infrastructure.oidc.forge import as_bytes, encode, forge, good_claims, good_header, new_verifier

from stoa.domain.access.identity import Principal
from stoa.domain.errors import NotAuthenticated

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_header_names = ["alg", "kid", "typ", "crit", "cty", "b64", "jwk", "jku", "enc", "zip"]
_headers = st.builds(
    lambda changes: good_header() | changes,
    st.dictionaries(st.sampled_from(_header_names), _json | st.sampled_from(["none", "HS256", "RS256", "EdDSA", "ec"])),
)
_claims = st.builds(
    lambda changes: good_claims() | changes,
    st.dictionaries(st.sampled_from([*good_claims(), "nbf", "roles", "groups", "client_id", "resource_access"]), _json),
)
_segments = st.one_of(
    (_json | _headers | _claims).map(lambda value: encode(as_bytes(value))),
    st.binary(max_size=60).map(encode),
    st.text(string.ascii_letters + string.digits + "-_=+/ .", max_size=20),
)


@st.composite
def damaged(draw):
    """A right token with a piece cut out, doubled or replaced."""
    token = forge()
    start, end = sorted(draw(st.tuples(st.integers(0, len(token)), st.integers(0, len(token)))))
    return token[:start] + draw(st.text(max_size=5) | st.just(token[start:end] * 2)) + token[end:]


_tokens = st.one_of(
    st.text(),
    st.lists(_segments, max_size=6).map(".".join),
    damaged(),
    st.builds(forge, _claims, _headers),
    st.builds(forge, _json | st.binary(max_size=60), _headers),
    st.builds(forge, _claims),
)

_verifier = new_verifier()


@settings(max_examples=150, deadline=None)
@given(_tokens)
@example("")
@example("..")
@example("e30.e30.")
@example("\ud800.e30.e30")
@example("A" * 10**6)
async def test_token_soup_ends_in_a_principal_or_a_refusal(token):
    try:
        principal = await _verifier.verify(token)
    except NotAuthenticated as refused:
        assert len(refused.message) < 100
        assert refused.__cause__ is refused.__context__ is None
        assert not refused.is_missing
        assert all(len(part) < 8 or part not in refused.message for part in token.split("."))
    else:
        assert isinstance(principal, Principal)
        assert principal.identity_key
        assert principal.authorization_key
        assert principal == await _verifier.verify(token)
