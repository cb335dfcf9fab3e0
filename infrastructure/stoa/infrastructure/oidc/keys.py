"""Keys and algorithms that may sign tokens, and the port by which a verifier gets a key.

The algorithms are a closed table of asymmetric ones. `none` and HMAC cannot be looked up at all, so a public key can
never be used as a shared secret.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, cast
from warnings import catch_warnings, simplefilter

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwa import EdDSAAlgorithm, ESAlgorithm, JWSAlgModel, RSAAlgorithm, RSAPSSAlgorithm
from joserfc.jwk import ECKey, OKPKey, RSAKey

VerificationKey = RSAKey | ECKey | OKPKey

# Listed for operators in deploy/keycloak/README.md. Used directly instead of through joserfc's registry, which warns at
# every look-up of EdDSA (RFC 9864 renames it, Keycloak and others still send it).
ALGORITHMS: dict[str, JWSAlgModel] = {
    "RS256": RSAAlgorithm(256),
    "RS384": RSAAlgorithm(384),
    "RS512": RSAAlgorithm(512),
    "PS256": RSAPSSAlgorithm(256),
    "PS384": RSAPSSAlgorithm(384),
    "PS512": RSAPSSAlgorithm(512),
    "ES256": ESAlgorithm("ES256", "P-256", 256),
    "ES384": ESAlgorithm("ES384", "P-384", 384),
    "ES512": ESAlgorithm("ES512", "P-521", 512),
    "EdDSA": EdDSAAlgorithm(),
}

_KEY_TYPES: dict[str, type[VerificationKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_MIN_RSA_BITS = 2048  # RFC 7518 section 3.3


class KeyProvider(Protocol):
    """Source of an issuer's public keys. Internal to this adapter family.

    Laws: None when the issuer publishes no key of this id for this algorithm. Raises IdentityUnavailable when the keys
    cannot be learned now, and nothing else. `kid` comes from an unverified token.
    """

    @abstractmethod
    async def key_for(self, kid: str, alg: str) -> VerificationKey | None: ...


class StaticKeys(KeyProvider):
    """The keys of one JWK Set (RFC 7517 section 5). Those that cannot verify signatures here are ignored."""

    def __init__(self, key_set: Mapping[str, object]) -> None:
        self._keys: dict[tuple[str, str], VerificationKey] = {}
        listed = key_set.get("keys")
        for jwk in cast("list[object]", listed) if isinstance(listed, list) else []:
            key = _import(jwk)
            if key is None or key.kid is None:
                continue
            for alg in ALGORITHMS:
                if is_usable(key, alg):
                    self._keys.setdefault((key.kid, alg), key)

    async def key_for(self, kid: str, alg: str) -> VerificationKey | None:
        return self._keys.get((kid, alg))

    @property
    def names(self) -> frozenset[str]:
        """The ids of the keys that may sign tokens here."""
        return frozenset(kid for kid, _ in self._keys)


def is_usable(key: VerificationKey, alg: str) -> bool:
    """True if this key may verify this algorithm, by its type, curve (Ed25519 alone for EdDSA), size and declared
    purpose (use, alg, key_ops)."""
    try:
        ALGORITHMS[alg].check_key(key)
        key.check_key_op("verify")
    except JoseError:
        return False
    if isinstance(key, RSAKey):
        return key.public_key.key_size >= _MIN_RSA_BITS
    return not isinstance(key, OKPKey) or key.curve_name == "Ed25519"


def _import(jwk: object) -> VerificationKey | None:
    if not isinstance(jwk, dict):
        return None
    members = cast("dict[str, Any]", jwk)
    key_type = _KEY_TYPES.get(str(members.get("kty")))
    if key_type is None:
        return None
    try:
        with catch_warnings():
            simplefilter("ignore", SecurityWarning)  # of a short RSA key, which `is_usable` refuses
            return key_type.import_key(members)
    except (JoseError, ValueError, LookupError, TypeError):  # errors of joserfc for a malformed JWK
        return None
