"""What `stoa doctor` says of an identity provider: a word for each thing that keeps clients out."""

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pydantic_core
import pytest
from pydantic import SecretStr
from tests.infrastructure.oidc.forge import ISSUER, forge, good_claims, key_set, new_verifier

from stoa.application.run_checks import CheckResult, Verdict
from stoa.infrastructure.http_client.client import HttpAnswer
from stoa.infrastructure.http_client.fetch import NoAnswer
from stoa.infrastructure.oidc import BackChannel
from stoa.infrastructure.oidc.checkup import ProviderCheck
from stoa.testing.clock import ManualClock

OWN = "token of the gateway's own client"
NOW = int(ManualClock().now().timestamp())
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
METADATA = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/certs",
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "scopes_supported": ["openid", "stoa:read", "stoa:write", "stoa:admin"],
    "code_challenge_methods_supported": ["plain", "S256"],
}


async def checked(
    metadata: Any = METADATA,
    *,
    keys: Any = None,
    token: tuple[int, Any] = (200, {"access_token": forge()}),
    skew: float = 0.0,
    away: tuple[str, ...] = (),
    secret: str | None = "s",
    status: int = 200,
) -> dict[str, CheckResult]:
    clock = ManualClock()
    date = format_datetime(clock.now() + timedelta(seconds=skew), usegmt=True)
    answers = {
        DISCOVERY: (status, metadata),
        f"{ISSUER}/certs": (200, key_set() if keys is None else keys),
        f"{ISSUER}/token": token,
    }

    async def fetch(url: str, form: Any) -> HttpAnswer:
        assert (form is None) == (not url.endswith("/token"))
        if url in away:
            raise NoAnswer("its TLS certificate has expired")
        code, body = answers[url]
        return HttpAnswer(code, pydantic_core.to_json(body), date)

    given = None if secret is None else SecretStr(secret)
    check = ProviderCheck(ISSUER, fetch, clock, new_verifier(clock), "stoa-gateway", given)
    return {one.what: one for one in await check.run()}


async def test_doctor_finds_nothing_in_a_realm_that_fits() -> None:
    found = await checked()
    assert {one.verdict for one in found.values()} == {Verdict.OK}
    assert "tenant acme, roles devops" in found["token of the gateway's own client"].reason


@pytest.mark.parametrize(
    ("what", "verdict", "said", "arranged"),
    [
        ("reachable", Verdict.FAIL, "has expired", {"away": (DISCOVERY,)}),
        ("reachable", Verdict.FAIL, "answered 404", {"status": 404}),
        ("issuer", Verdict.FAIL, "calls itself https://other", {"metadata": METADATA | {"issuer": "https://other"}}),
        ("issuer", Verdict.FAIL, "calls itself None", {"metadata": []}),
        ("clock", Verdict.FAIL, "+90 s", {"skew": 90, "secret": None}),
        ("clock", Verdict.WARN, "-10 s", {"skew": -10, "secret": None}),
        ("clock", Verdict.FAIL, "+90 s", {"token": (200, {"access_token": forge(good_claims(iat=NOW + 90))})}),
        ("keys", Verdict.FAIL, "has expired", {"away": (f"{ISSUER}/certs",)}),
        ("keys", Verdict.FAIL, "no key", {"keys": {"keys": []}}),
        ("keys", Verdict.FAIL, "no jwks_uri", {"metadata": METADATA | {"jwks_uri": None}}),
        (
            "scopes",
            Verdict.FAIL,
            "stoa:admin, stoa:write",
            {"metadata": METADATA | {"scopes_supported": ["stoa:read"]}},
        ),
        ("scopes", Verdict.FAIL, "invalid_scope", {"metadata": METADATA | {"scopes_supported": None}}),
        ("PKCE", Verdict.FAIL, "S256", {"metadata": METADATA | {"code_challenge_methods_supported": ["plain"]}}),
        ("dynamic registration", Verdict.WARN, "none", {"metadata": METADATA | {"registration_endpoint": None}}),
        ("authorization_endpoint", Verdict.FAIL, "none", {"metadata": METADATA | {"authorization_endpoint": ""}}),
    ],
)
async def test_doctor_names_what_is_wrong_with_a_realm(
    what: str, verdict: Verdict, said: str, arranged: dict[str, Any]
) -> None:
    found = (await checked(**arranged))[what]
    assert found.verdict is verdict
    assert said in found.reason
    assert found.remedy


@pytest.mark.parametrize(
    ("what", "verdict", "said", "arranged"),
    [
        ("client secret", Verdict.SKIP, "not set", {"secret": None}),
        ("client secret", Verdict.FAIL, "401 invalid_client", {"token": (401, {"error": "invalid_client"})}),
        ("client secret", Verdict.FAIL, "has expired", {"away": (f"{ISSUER}/token",)}),
        (OWN, Verdict.SKIP, "another audience", {"token": (200, {"access_token": forge(good_claims(aud="account"))})}),
        (OWN, Verdict.WARN, "another issuer", {"token": (200, {"access_token": forge(good_claims(iss="https://o"))})}),
        (OWN, Verdict.WARN, "not a signed JWT", {"token": (200, {"access_token": "opaque"})}),
    ],
)
async def test_doctor_tries_a_token_of_the_gateways_own_client(
    what: str, verdict: Verdict, said: str, arranged: dict[str, Any]
) -> None:
    found = (await checked(**arranged))[what]
    assert found.verdict is verdict
    assert said in found.reason


async def test_doctor_asks_over_the_back_channel_and_for_scopes_with_their_prefix() -> None:
    asked: list[str] = []

    async def fetch(url: str, form: Any) -> HttpAnswer:
        asked.append(url)
        body = key_set() if url.endswith("/certs") else METADATA | {"scopes_supported": ["api://gw/stoa:read"]}
        return HttpAnswer(200, pydantic_core.to_json(body), None)

    inward = BackChannel("https://auth.example.org", "http://keycloak:8080")
    check = ProviderCheck(ISSUER, fetch, ManualClock(), new_verifier(), "gw", None, inward, "api://gw/")
    found = {one.what: one for one in await check.run()}
    assert all(url.startswith("http://keycloak:8080/realms/stoa/") for url in asked)
    assert "does not offer api://gw/stoa:admin, api://gw/stoa:write," in found["scopes"].reason
    assert found["clock"].verdict is Verdict.SKIP
