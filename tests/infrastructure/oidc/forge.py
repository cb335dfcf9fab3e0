"""Makes tokens, right and wrong ones, byte by byte: no library that would refuse to."""

import base64
import json
from functools import cache
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey

from stoa.infrastructure.oidc import ClaimMapping, JwtTokenVerifier, StaticKeys
from stoa.infrastructure.oidc.keys import ALGORITHMS
from stoa.testing.clock import ManualClock

ISSUER = "https://auth.example.org/realms/stoa"
AUDIENCE = "https://gw.example.org/mcp"
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
PARAMETERS = {
    "RS256": {"kid": "rsa"},
    **{alg: {"kid": alg.lower()} for alg in ("RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512")},
    "ES256": {"kid": "ec"},
    "EdDSA": {"kid": "ed"},
}


@cache
def private_key(alg: str) -> RSAKey | ECKey | OKPKey:
    """One key for each algorithm and test run; an RSA key takes a while to make, so those share one."""
    if alg in CURVES:
        return ECKey.generate_key(CURVES[alg], PARAMETERS[alg])
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519", PARAMETERS[alg])
    return RSAKey.import_key(_rsa().as_dict(private=True), PARAMETERS[alg] | {"alg": alg})


@cache
def _rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


def key_set() -> dict[str, object]:
    return {"keys": [private_key(alg).as_dict(private=False) for alg in ALGORITHMS]}


def new_verifier(clock: ManualClock | None = None, **changes: Any) -> JwtTokenVerifier:
    settings: dict[str, Any] = {
        "keys": StaticKeys(key_set()),
        "issuer": ISSUER,
        "audiences": frozenset({AUDIENCE, "stoa-gateway"}),
        "clock": clock or ManualClock(),
        "mapping": ClaimMapping(role_clients=frozenset({"stoa-gateway"})),
    }
    return JwtTokenVerifier(**settings | changes)


def good_claims(**changes: Any) -> dict[str, Any]:
    """What Keycloak would put into a token at the start of a ManualClock, with changes; None removes a claim."""
    now = int(ManualClock().now().timestamp())
    claims = {
        "iss": ISSUER,
        "sub": "3f1c",
        "aud": [AUDIENCE, "account"],
        "azp": "claude",
        "typ": "Bearer",
        "iat": now,
        "exp": now + 600,
        "scope": "openid profile",
        "realm_access": {"roles": ["devops", "offline_access"]},
        "tenant_id": "acme",
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def good_header(alg: str = "ES256", **changes: Any) -> dict[str, Any]:
    header = {"alg": alg, "typ": "JWT", "kid": private_key(alg).kid}
    return {name: value for name, value in (header | changes).items() if value is not None}


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_bytes(value: Any) -> bytes:
    """Bytes as they are, anything else as JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def forge(claims: Any = None, header: Any = None, *, alg: str = "ES256") -> str:
    """Any header and payload with a signature that holds."""
    header = good_header(alg) if header is None else header
    claims = good_claims() if claims is None else claims
    signing_input = f"{encode(as_bytes(header))}.{encode(as_bytes(claims))}"
    signature = ALGORITHMS[alg].sign(signing_input.encode(), private_key(alg))
    return f"{signing_input}.{encode(signature)}"
