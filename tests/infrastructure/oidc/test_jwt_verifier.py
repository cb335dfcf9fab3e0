"""What JwtTokenVerifier accepts and refuses beyond the laws of its port."""

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey
from tests.infrastructure.oidc.forge import (
    AUDIENCE,
    ISSUER,
    as_bytes,
    encode,
    forge,
    good_claims,
    good_header,
    new_verifier,
    private_key,
)

from stoa.domain.errors import IdentityUnavailable, InvalidInput, NotAuthenticated
from stoa.infrastructure.oidc import KeyProvider
from stoa.infrastructure.oidc.keys import ALGORITHMS
from stoa.testing.clock import ManualClock

NOW = int(ManualClock().now().timestamp())


async def refusal(token, verifier=None):
    with pytest.raises(NotAuthenticated) as caught:
        await (verifier or new_verifier()).verify(token)
    assert caught.value.__context__ is None
    assert len(caught.value.message) < 100
    return caught.value.message


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_token_like_keycloaks_is_accepted_with_each_algorithm(alg):
    principal = await new_verifier().verify(forge(alg=alg))
    assert (principal.subject, principal.tenant, principal.client) == ("3f1c", "acme", "claude")
    assert principal.roles == {"devops", "offline_access"}
    assert principal.scopes == {"openid", "profile", "stoa:read", "stoa:write"}
    assert principal.issuer == ISSUER


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+JWT"])
async def test_the_usual_types_are_accepted(typ):
    await new_verifier().verify(forge(header=good_header(typ=typ)))


@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "JOSE", "", 5, None, ["JWT"]])
async def test_any_other_type_is_refused(typ):
    assert "typ" in await refusal(forge(header={**good_header(), "typ": typ}))


@pytest.mark.parametrize("typ", ["ID", "Refresh", "Offline", "DPoP", "Logout", 5, None])
async def test_a_keycloak_token_of_another_kind_is_refused(typ):
    assert "not an access token" in await refusal(forge({**good_claims(), "typ": typ}))


async def test_the_kind_may_be_missing():
    await new_verifier().verify(forge(good_claims(typ=None)))


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "HS512", "RS1", "RSA", "ES256K", "Ed448", "rs256", ""])
async def test_other_algorithms_are_refused(alg):
    assert "algorithm" in await refusal(forge(header=good_header() | {"alg": alg}))


@pytest.mark.parametrize("alg", [None, 5, ["ES256"], {"ES256": 1}, True])
async def test_an_algorithm_that_is_not_a_name_is_refused(alg):
    assert "algorithm" in await refusal(forge(header=good_header() | {"alg": alg}))


@pytest.mark.parametrize("signature", ["", "AA"])
async def test_an_unsigned_token_is_refused(signature):
    for alg in ("none", "ES256", "RS256", "EdDSA"):
        header = {"alg": alg, "typ": "JWT", "kid": private_key(alg if alg != "none" else "ES256").kid}
        await refusal(f"{encode(as_bytes(header))}.{encode(as_bytes(good_claims()))}.{signature}")


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("claimed", ["HS256", "same"])
async def test_a_public_key_is_never_taken_for_a_shared_secret(alg, claimed):
    public = private_key(alg).public_key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = good_header(alg) | {"alg": alg if claimed == "same" else claimed}
    signing_input = f"{encode(as_bytes(header))}.{encode(as_bytes(good_claims()))}"
    for secret in (pem, pem.strip(), json.dumps(private_key(alg).as_dict(private=False)).encode(), b""):
        signature = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        await refusal(f"{signing_input}.{encode(signature)}")


@pytest.mark.parametrize(
    ("alg", "other"),
    [("RS256", "ES256"), ("ES256", "EdDSA"), ("EdDSA", "RS256"), ("PS256", "RS256"), ("ES384", "ES256")],
)
async def test_a_key_verifies_its_own_algorithm_only(alg, other):
    message = await refusal(forge(header=good_header(alg) | {"kid": private_key(other).kid}, alg=alg))
    assert "does not publish" in message


async def test_a_key_brought_by_the_token_itself_is_not_used():
    own = ECKey.generate_key("P-256").as_dict(private=False)
    for header in ({"jwk": own}, {"jku": "https://evil.example/jwks"}, {"x5c": ["MIIB"]}):
        message = await refusal(forge(header=good_header(kid="theirs") | header))
        assert "does not publish" in message
        await new_verifier().verify(forge(header=good_header() | header))  # ignored beside a key of the issuer


async def test_one_changed_character_anywhere_breaks_the_token():
    token = forge()
    for position in range(0, len(token), 3):
        swapped = "A" if token[position] != "A" else "B"
        await refusal(token[:position] + swapped + token[position + 1 :])


@pytest.mark.parametrize("kid", [None, "", 5, ["ec"], {}])
async def test_a_token_that_does_not_name_its_key_is_refused(kid):
    assert "kid" in await refusal(forge(header={**good_header(), "kid": kid}))


@pytest.mark.parametrize(
    "extension", [{"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"cty": "JWT"}]
)
async def test_extensions_and_nested_tokens_are_refused(extension):
    assert "extension" in await refusal(forge(header=good_header() | extension))


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), ISSUER[:-1], "", None, 5, [ISSUER]])
async def test_the_issuer_must_be_the_same_to_the_letter(issuer):
    assert await refusal(forge({**good_claims(), "iss": issuer})) == "The token is from another issuer"


@pytest.mark.parametrize("audience", [AUDIENCE, "stoa-gateway", ["x", AUDIENCE], [AUDIENCE, "stoa-gateway"]])
async def test_any_of_the_configured_audiences_will_do(audience):
    await new_verifier().verify(forge(good_claims(aud=audience)))


@pytest.mark.parametrize(
    "audience", [None, "", "account", AUDIENCE + "/", [], ["account"], [AUDIENCE, 5], {AUDIENCE: 1}, 5]
)
async def test_a_token_for_another_audience_is_refused(audience):
    assert await refusal(forge({**good_claims(), "aud": audience})) == "The token is for another audience"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_the_issuers_clock_may_run_ahead_by_thirty_seconds(claim):
    await new_verifier().verify(forge(good_claims(**{claim: NOW + 30})))
    assert claim in await refusal(forge(good_claims(**{claim: NOW + 31})))
    assert claim in await refusal(forge(good_claims() | {claim: "now"}))


async def test_an_expiry_is_not_extended():
    await new_verifier().verify(forge(good_claims(exp=NOW + 0.5)))
    assert await refusal(forge(good_claims(exp=NOW))) == "The token has expired"
    assert await refusal(forge(good_claims(exp=None))) == "The token has no expiry (exp)"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(good_claims()).replace('"sub"', '"sub": "root", "sub"').encode(),
        json.dumps(good_claims()).replace('"roles"', '"roles": ["cpi-admin"], "roles"').encode(),
        json.dumps(good_claims(extra=float("nan"))).encode(),
        json.dumps(good_claims()).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(good_claims()).encode(),
        json.dumps(good_claims(sub="x")).encode().replace(b'"x"', b'"\xff"'),
        b'{"exp": ' + b"9" * 5000 + b"}",
        b"[" * 9000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"[]",
        b"null",
        b'"text"',
        b"",
        b"{",
    ],
)
async def test_a_payload_that_is_not_one_unambiguous_json_object_is_refused(payload):
    await refusal(forge(payload))


async def test_duplicate_members_in_the_header_are_refused():
    header = json.dumps(good_header()).replace('"alg"', '"alg": "none", "alg"').encode()
    assert await refusal(forge(header=header)) == "The token is not a signed JWT"


@pytest.mark.parametrize("change", ["", " ", "\n", "=", ".", ".AAAA", "\u00e9", "\ud800", "\x00"])
async def test_nothing_may_follow_or_precede_a_token(change):
    if change:
        await refusal(forge() + change)
        await refusal(change + forge())
    else:
        await refusal("")


async def test_an_encrypted_token_is_refused():
    header = encode(as_bytes({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "rsa"}))
    assert await refusal(f"{header}.AAAA.AAAA.AAAA.AAAA") == "The token is not a signed JWT"


async def test_a_token_beyond_sixteen_kibibytes_is_refused_even_when_it_is_right():
    token = forge(good_claims(padding="x" * 11_000))
    await new_verifier().verify(token)
    assert "longer than the 16384 characters" in await refusal(forge(good_claims(padding="x" * 12_500)))


async def test_an_oversized_token_is_called_oversized_whatever_is_in_it():
    for token in ("x" * 16_385, "\u00e9" * 16_385, "." * 10**6):
        assert "longer than" in await refusal(token)
    assert "longer than" not in await refusal("x" * 16_384)


def test_a_verifier_without_audience_is_refused_at_construction():
    with pytest.raises(InvalidInput, match="ALLOWED_AUDIENCES"):
        new_verifier(audiences=frozenset())


class CountingKeys(KeyProvider):
    """Counts the questions; can fail."""

    def __init__(self, clock=None, *, fails=False, takes_seconds=0):
        self.asked = []
        self._clock, self._fails, self._takes_seconds = clock, fails, takes_seconds

    async def key_for(self, kid, alg):
        self.asked.append((kid, alg))
        if self._fails:
            raise IdentityUnavailable("The identity provider cannot be reached")
        if self._clock:
            self._clock.advance(self._takes_seconds)
        return private_key(alg)


async def test_a_verified_token_is_not_verified_again_for_a_minute():
    clock, keys = ManualClock(), CountingKeys()
    verifier = new_verifier(clock, keys=keys)
    token = forge()
    for _ in range(3):
        await verifier.verify(token)
        clock.advance(19.9)
    assert len(keys.asked) == 1
    clock.advance(1)
    await verifier.verify(token)
    assert len(keys.asked) == 2


async def test_refused_tokens_are_not_remembered_as_accepted():
    verifier = new_verifier()
    token = forge(good_claims(aud="account"))
    for _ in range(2):
        await refusal(token, verifier)


async def test_memory_is_bounded_and_the_oldest_token_is_forgotten_first():
    keys = CountingKeys()
    verifier = new_verifier(keys=keys, cache_entries=3)
    tokens = [forge(good_claims(jti=str(number))) for number in range(4)]
    for token in tokens:
        await verifier.verify(token)
    for token in tokens[1:]:
        await verifier.verify(token)
    assert len(keys.asked) == 4
    await verifier.verify(tokens[0])
    assert len(keys.asked) == 5


async def test_a_strangers_token_does_not_make_the_provider_look_for_a_key():
    keys = CountingKeys()
    verifier = new_verifier(keys=keys)
    for token in (
        forge({**good_claims(), "iss": "https://evil.example"}),
        forge(header=good_header() | {"alg": "HS256"}),
    ):
        await refusal(token, verifier)
    assert keys.asked == []


async def test_a_provider_that_cannot_learn_its_keys_is_not_the_callers_fault():
    with pytest.raises(IdentityUnavailable):
        await new_verifier(keys=CountingKeys(fails=True)).verify(forge())


async def test_a_token_that_expires_while_its_key_is_fetched_is_refused():
    clock = ManualClock()
    verifier = new_verifier(clock, keys=CountingKeys(clock, takes_seconds=10))
    assert await refusal(forge(good_claims(exp=NOW + 5)), verifier) == "The token has expired"


OF_ANOTHER_PROVIDER = {"typ": None, "realm_access": None, "roles": ["viewer"], "scope": None, "azp": None}
GATEWAYS_OWN = "stoa-gateway"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": AUDIENCE, "azp": "claude"},
        {"aud": [AUDIENCE, "account"], "client_id": "claude"},
        {"aud": GATEWAYS_OWN, "azp": GATEWAYS_OWN, "scope": "stoa:read"},
        {"aud": GATEWAYS_OWN, "scope": "stoa:read"},
        {"aud": GATEWAYS_OWN, "cid": "0oa1", "scp": ["stoa:read"]},
        {"aud": GATEWAYS_OWN, "appid": "9f3c", "ver": "1.0"},
        {"aud": AUDIENCE, "client_id": "claude", "token_use": "access"},
        {"aud": GATEWAYS_OWN, "azp": GATEWAYS_OWN, "typ": "Bearer", "nonce": "n"},
    ],
)
async def test_access_tokens_of_providers_that_mark_them_in_no_way_are_accepted(claims):
    await new_verifier().verify(forge(good_claims(**OF_ANOTHER_PROVIDER | claims)))


async def test_access_tokens_that_their_header_marks_are_accepted():
    claims = good_claims(**OF_ANOTHER_PROVIDER, aud=GATEWAYS_OWN)
    await new_verifier().verify(forge(claims, good_header(typ="at+jwt")))
    await new_verifier().verify(forge({**claims, "nonce": "n"}, good_header(typ="application/AT+jwt")))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": GATEWAYS_OWN},
        {"aud": [GATEWAYS_OWN]},
        {"aud": GATEWAYS_OWN, "azp": GATEWAYS_OWN},
        {"aud": [GATEWAYS_OWN, "account"], "azp": GATEWAYS_OWN},
        {"aud": GATEWAYS_OWN, "azp": "claude", "nonce": "n"},
        {"aud": GATEWAYS_OWN, "azp": "claude", "at_hash": "h"},
        {"aud": GATEWAYS_OWN, "azp": "claude", "scope": "openid", "c_hash": "h"},
        {"aud": GATEWAYS_OWN, "azp": "claude", "s_hash": ""},
        {"aud": GATEWAYS_OWN, "azp": "claude", "events": {}},
        {"aud": GATEWAYS_OWN, "client_id": "claude", "token_use": "id"},
        {"aud": GATEWAYS_OWN, "client_id": "claude", "token_use": None, "typ": "ID"},
        {"aud": GATEWAYS_OWN, "azp": "claude", "scope": "openid", "typ": "bearer"},
    ],
)
@pytest.mark.parametrize("header_type", ["JWT", None])
async def test_id_tokens_and_logout_tokens_are_no_access_tokens_whoever_issued_them(claims, header_type):
    forged = forge(good_claims(**OF_ANOTHER_PROVIDER | claims), good_header(typ=header_type))
    assert "not an access token" in await refusal(forged)


@pytest.mark.parametrize("typ", ["ID", "Refresh", "Offline", "Logout"])
async def test_what_a_claim_calls_no_access_token_is_none_whatever_the_header_says(typ):
    assert "not an access token" in await refusal(forge(good_claims(typ=typ), good_header(typ="at+jwt")))
