"""Which keys of a JWK Set verify what."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc import errors
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.infrastructure.oidc.forge import encode, key_set, private_key

from stoa.infrastructure.oidc.keys import ALGORITHMS, StaticKeys, is_usable


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_key_is_found_by_its_id_for_its_algorithm_only(alg):
    kid = private_key(alg).kid
    keys = StaticKeys(key_set())
    found = await keys.key_for(kid, alg)
    assert found is not None
    assert found.kid == kid
    assert [await keys.key_for(kid, other) for other in ALGORITHMS if other != alg] == [None] * 9
    assert await keys.key_for("other", alg) is None


async def test_two_keys_may_share_an_id_when_their_types_differ():
    shared = [private_key(alg).as_dict(private=False, kid="same") for alg in ALGORITHMS]
    keys = StaticKeys({"keys": shared})
    assert isinstance(await keys.key_for("same", "RS256"), RSAKey)
    assert isinstance(await keys.key_for("same", "ES256"), ECKey)


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "ES384"},
        {"key_ops": ["sign"]},
        {"key_ops": 5},
        {"kid": None},
        {"kid": 5},
        {"x": "AAAA"},
        {"y": None},
        {"crv": "P-999"},
        {"crv": []},
        {"kty": "EC2"},
        {"kty": None},
        {"use": [], "key_ops": ["verify"]},
    ],
)
async def test_a_key_that_cannot_verify_signatures_is_ignored_and_the_others_work(change):
    broken = {k: v for k, v in (private_key("ES256").as_dict(private=False) | change).items() if v is not None}
    keys = StaticKeys({"keys": [broken, private_key("EdDSA").as_dict(private=False)]})
    assert await keys.key_for("ec", "ES256") is None
    assert await keys.key_for("ed", "EdDSA") is not None


@pytest.mark.parametrize("content", [{}, {"keys": None}, {"keys": {}}, {"keys": [None, 5, "x", []]}])
async def test_a_set_without_keys_yields_none(content):
    assert await StaticKeys(content).key_for("ec", "ES256") is None


async def test_keys_of_other_curves_sizes_and_kinds_are_ignored():
    others = [
        ECKey.generate_key("secp256k1", {"kid": "k"}),
        OKPKey.generate_key("X25519", {"kid": "k"}),
        OKPKey.generate_key("Ed448", {"kid": "k"}),
        OctKey.generate_key(256, {"kid": "k"}),
    ]
    keys = StaticKeys({"keys": [*(key.as_dict() for key in others), _small_rsa_key("k")]})
    assert [await keys.key_for("k", alg) for alg in ALGORITHMS] == [None] * 10


def _small_rsa_key(kid):
    numbers = generate_private_key(public_exponent=65537, key_size=1024).public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "e": "AQAB", "n": encode(numbers.n.to_bytes(128, "big"))}


def test_symmetric_algorithms_and_none_do_not_exist():
    hashed = {f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)}
    assert set(ALGORITHMS) == {*hashed, "EdDSA"}


def test_algorithms_that_are_accepted_are_those_of_the_guide():
    guide = (Path(__file__).parents[3] / "deploy" / "keycloak" / "README.md").read_text(encoding="utf-8")
    (line,) = (line for line in guide.splitlines() if line.startswith("Accepted signatures:"))
    assert set(re.findall(r"`(\w+)`", line)) == set(ALGORITHMS)


async def test_an_rsa_key_without_alg_verifies_every_rsa_algorithm_and_no_other():
    jwk = {k: v for k, v in private_key("RS256").as_dict(private=False).items() if k != "alg"}
    keys = StaticKeys({"keys": [jwk]})
    assert {alg for alg in ALGORITHMS if await keys.key_for("rsa", alg)} == {a for a in ALGORITHMS if a[1] == "S"} - {
        "ES256",
        "ES384",
        "ES512",
    }


@pytest.mark.parametrize(
    "error", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.JoseError)]
)
def test_whatever_joserfc_says_against_a_key_makes_it_unusable(error):
    class Grumbling(ECKey):
        def check_use(self, use):
            raise error("nothing to see")

    raw = private_key("ES256").raw_value
    assert not is_usable(Grumbling(raw, raw), "ES256")
