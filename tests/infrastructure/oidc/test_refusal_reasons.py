"""Refusal reasons of tokens: a stable word for each, and a client's name only where a signature vouches for it."""

from typing import Any

import pytest
from pydantic import SecretStr
from tests.infrastructure.oidc.forge import encode, forge, good_claims, good_header, new_verifier, private_key

from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.errors import NotAuthenticated
from stoa.infrastructure.oidc.introspection import Introspection
from stoa.testing.clock import ManualClock

NOW = int(ManualClock().now().timestamp())
R = RefusalReason


def _resigned() -> str:
    head, payload, _ = forge().split(".")
    return f"{head}.{payload}.{encode(bytes(64))}"


UNSIGNED: dict[str, tuple[RefusalReason, str]] = {
    "no token": (R.MALFORMED_TOKEN, "hunter2"),
    "not ASCII": (R.MALFORMED_TOKEN, "tökén"),
    "too long": (R.OVERSIZED_TOKEN, "x" * 20_000),
    "algorithm": (R.UNSUPPORTED_ALGORITHM, forge(header=good_header() | {"alg": "none"})),
    "no kid": (R.MALFORMED_TOKEN, forge(header=good_header(kid=None))),
    "extension": (R.MALFORMED_TOKEN, forge(header=good_header(crit=["b64"]))),
    "typ": (R.NOT_ACCESS_TOKEN, forge(header=good_header(typ="logout+jwt"))),
    "issuer": (R.WRONG_ISSUER, forge(good_claims(iss="https://evil.example"))),
    "key": (R.UNKNOWN_KEY, forge(header=good_header(kid="other"))),
    "key of another algorithm": (R.UNKNOWN_KEY, forge(header=good_header(kid=private_key("RS256").kid))),
    "signature": (R.BAD_SIGNATURE, _resigned()),
}
SIGNED: dict[str, tuple[RefusalReason, dict[str, Any]]] = {
    "audience": (R.WRONG_AUDIENCE, {"aud": "account"}),
    "no audience": (R.WRONG_AUDIENCE, {"aud": None}),
    "expired": (R.EXPIRED, {"exp": NOW - 1}),
    "expired now": (R.EXPIRED, {"exp": NOW}),
    "not before": (R.NOT_YET_VALID, {"nbf": NOW + 60}),
    "issued later": (R.NOT_YET_VALID, {"iat": NOW + 60}),
    "ID token": (R.NOT_ACCESS_TOKEN, {"typ": "ID"}),
    "no expiry": (R.MALFORMED_TOKEN, {"exp": None}),
    "tenant": (R.MALFORMED_TOKEN, {"tenant_id": "No Label"}),
    "no subject": (R.MALFORMED_TOKEN, {"sub": None}),
    "roles": (R.MALFORMED_TOKEN, {"roles": 3}),
}


async def _refused(token: str, **changes: Any) -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as caught:
        await new_verifier(**changes).verify(token)
    return caught.value


@pytest.mark.parametrize("name", list(UNSIGNED))
async def test_refusal_reason_of_a_token_whose_signature_says_nothing_names_no_client(name: str) -> None:
    reason, token = UNSIGNED[name]
    refused = await _refused(token)
    assert (refused.refusal_reason, refused.client) == (reason, None)


@pytest.mark.parametrize("name", list(SIGNED))
async def test_refusal_reason_of_a_signed_token_names_its_client(name: str) -> None:
    reason, changes = SIGNED[name]
    refused = await _refused(forge(good_claims(**changes)))
    assert (refused.refusal_reason, refused.client) == (reason, "claude")


@pytest.mark.parametrize("azp", [None, 5, "", "a\nb"])
async def test_refusal_of_a_signed_token_shows_no_client_that_is_no_name(azp: Any) -> None:
    assert (await _refused(forge(good_claims(azp=azp, aud="account")))).client is None


async def test_refusal_of_a_token_that_was_withdrawn_is_called_revoked() -> None:
    class Withdrawn:
        async def post_form(self, url: str, form: Any) -> tuple[int, bytes]:
            return 200, b'{"active": false}'

    asked = Introspection(lambda: "https://i", "gw", SecretStr("s"), Withdrawn())  # type: ignore[arg-type]
    refused = await _refused(forge(), introspection=asked)
    assert (refused.refusal_reason, refused.client) == (R.REVOKED, "claude")
