"""Tokens of a real Keycloak: whose they are, and when they stop being good."""

import httpx
import pytest
from pydantic import SecretStr
from tests.live.keycloak_client import GATEWAY, Realm
from tests.live.servers import Keycloak, running

from stoa.application.memory.clock import SystemClock
from stoa.application.ports import Clock
from stoa.domain.errors import IdentityUnavailable, NotAuthenticated
from stoa.infrastructure.oidc import KeycloakTokenVerifier
from stoa.infrastructure.oidc.jwt_verifier import CACHE_TIME
from stoa.infrastructure.oidc.remote_keys import REFRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS
from stoa.testing.clock import ManualClock

AUDIENCE = frozenset({"stoa-mcp-gateway"})


class ShiftedClock(Clock):
    """The machine's clock, which a test moves on."""

    def __init__(self) -> None:
        self._real, self._shift = SystemClock(), ManualClock()

    def now(self):
        return self._real.now() + (self._shift.now() - ManualClock().now())

    def monotonic_ns(self) -> int:
        return self._real.monotonic_ns() + self._shift.monotonic_ns()

    def advance(self, seconds: float) -> None:
        self._shift.advance(seconds)


@pytest.fixture
def realm(keycloak) -> Realm:
    return Realm(keycloak)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def verifier(realm, clock):
    verifier = KeycloakTokenVerifier(url=realm.server.url, realm="stoa", audiences=AUDIENCE, clock=clock)
    yield verifier
    await verifier.close()


@pytest.fixture
async def strict(realm, clock):
    secret = SecretStr(GATEWAY["client_secret"])
    verifier = KeycloakTokenVerifier(
        url=realm.server.url, realm="stoa", audiences=AUDIENCE, clock=clock, introspection_secret=secret
    )
    yield verifier
    await verifier.close()


@pytest.mark.parametrize(
    ("user", "tenant", "role"),
    [
        ("carol", None, "cpi-admin"),
        ("alice", "acme", "tenant-admin"),
        ("dave", "acme", "devops"),
        ("bob", "globex", "viewer"),
    ],
)
async def test_a_users_token_says_who_she_is(realm, verifier, strict, user, tenant, role):
    token = realm.of_user(user)
    for one in (verifier, strict):
        principal = await one.verify(token)
        assert (principal.tenant, principal.client, principal.issuer) == (tenant, "stoa-cli", realm.server.issuer)
        assert role in principal.roles


async def test_keys_and_introspection_are_reached_inside_while_the_issuer_is_the_public_one(realm, clock):
    inside = realm.server.url.replace("127.0.0.1", "localhost")
    secret = SecretStr(GATEWAY["client_secret"])
    same = {"url": realm.server.url, "realm": "stoa", "audiences": AUDIENCE, "clock": clock}
    verifier = KeycloakTokenVerifier(**same, internal_url=inside, introspection_secret=secret)
    principal = await verifier.verify(realm.of_user("alice"))
    assert principal.issuer == realm.server.issuer
    assert str(verifier._remote.introspection_endpoint).startswith(inside)
    await verifier.close()


async def test_a_browser_login_with_pkce_yields_the_same_person(realm, verifier):
    by_code, by_password = await verifier.verify(realm.by_code("alice")), await verifier.verify(realm.of_user("alice"))
    assert by_code.authorization_key == by_password.authorization_key


async def test_an_mcp_client_logs_people_in_by_browser_only(realm, verifier):
    principal = await verifier.verify(realm.by_code("bob", "stoa-mcp"))
    assert (principal.tenant, principal.client) == ("globex", "stoa-mcp")
    form = {"grant_type": "password", "client_id": "stoa-mcp", "username": "bob", "password": "bob"}
    assert httpx.post(f"{realm.endpoint}/token", data=form, timeout=30).status_code in {400, 401}


async def test_nobody_registers_a_client_without_an_administrator(realm):
    registration = f"{realm.server.issuer}/clients-registrations/openid-connect"
    answer = httpx.post(registration, json={"redirect_uris": ["https://evil.example/cb"]}, timeout=30)
    assert answer.status_code == 403


async def test_an_agent_with_client_credentials_is_a_viewer_of_its_tenant(realm, verifier):
    principal = await verifier.verify(realm.of_agent())
    assert (principal.tenant, principal.client) == ("acme", "stoa-agent")
    assert "viewer" in principal.roles


async def test_a_token_exchanged_for_a_back_end_is_for_that_audience_alone(realm, verifier, clock):
    exchanged = realm.exchanged(realm.of_user("alice"))
    with pytest.raises(NotAuthenticated, match="another audience"):
        await verifier.verify(exchanged)
    backend = KeycloakTokenVerifier(
        url=realm.server.url, realm="stoa", audiences=frozenset({"stoa-backend"}), clock=clock
    )
    assert (await backend.verify(exchanged)).tenant == "acme"  # `aud` is a string here, a list elsewhere
    await backend.close()


async def test_another_realms_token_and_a_key_for_encryption_are_not_accepted(realm, verifier):
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
    master = f"{realm.server.url}/realms/master/protocol/openid-connect/token"
    token = httpx.post(master, data=form, timeout=30).json()["access_token"]
    with pytest.raises(NotAuthenticated, match="another issuer"):
        await verifier.verify(token)
    await verifier.verify(realm.of_user("bob"))
    published = httpx.get(f"{realm.endpoint}/certs", timeout=30).json()["keys"]
    encryption = next(key["kid"] for key in published if key["use"] == "enc")
    assert await verifier._remote.key_for(encryption, "RS256") is None


async def test_a_token_ends_when_it_says(realm, verifier, clock):
    token = realm.of_user("alice")
    await verifier.verify(token)
    clock.advance(301)
    with pytest.raises(NotAuthenticated, match="expired"):
        await verifier.verify(token)


async def test_keys_rotate_while_calls_run_and_a_retired_one_is_refused_within_the_bound(realm, verifier, clock):
    before = realm.of_user("alice")
    await verifier.verify(before)
    old = realm.rotate_key()
    after = realm.of_user("alice")
    clock.advance(RETRY_SECONDS)
    await verifier.verify(after)
    await verifier.verify(before)
    realm.retire_key(old)
    await verifier.verify(before)
    clock.advance(REFRESH_SECONDS + CACHE_TIME.total_seconds())
    with pytest.raises(NotAuthenticated, match="does not publish"):
        await verifier.verify(before)
    await verifier.verify(after)


async def test_a_revoked_token_passes_until_it_expires_unless_tokens_are_introspected(realm, verifier, strict, clock):
    token = realm.of_user("alice")
    await verifier.verify(token)
    await strict.verify(token)
    realm.revoke(token)
    await verifier.verify(token)
    await strict.verify(token)  # remembered for a moment
    clock.advance(CACHE_TIME.total_seconds())
    await verifier.verify(token)
    with pytest.raises(NotAuthenticated, match="withdrawn"):
        await strict.verify(token)


async def test_of_a_disabled_realm_only_introspection_knows(realm, verifier, strict):
    token = realm.of_user("alice")
    await strict.verify(realm.of_user("bob"))
    realm.set_enabled(False)
    try:
        await verifier.verify(token)
        with pytest.raises(NotAuthenticated, match="withdrawn"):
            await strict.verify(token)
    finally:
        realm.set_enabled(True)
    await strict.verify(token)


async def test_a_user_cannot_move_himself_to_another_tenant(realm, verifier):
    headers = {"Authorization": f"Bearer {realm.of_user('bob')}", "Accept": "application/json"}
    account = f"{realm.server.issuer}/account/"
    profile = httpx.get(account, headers=headers, timeout=30).json()
    profile["attributes"] = {**profile.get("attributes", {}), "tenant_id": ["acme"]}
    answer = httpx.post(account, headers=headers, json=profile, timeout=30)
    assert answer.status_code in {400, 403}
    assert (await verifier.verify(realm.of_user("bob"))).tenant == "globex"


async def test_keycloak_may_be_away_at_the_start_and_go_and_come_back(tmp_path, clock):
    with running(Keycloak, tmp_path) as server:
        assert isinstance(server, Keycloak)
        token = Realm(server).of_user("alice")
        server.kill()
        verifier = KeycloakTokenVerifier(url=server.url, realm="stoa", audiences=AUDIENCE, clock=clock)
        try:
            await verifier.start()
            assert not verifier.health().is_ready
            with pytest.raises(IdentityUnavailable):
                await verifier.verify(token)
            server.start()
            clock.advance(RETRY_SECONDS)
            await verifier.verify(token)
            assert verifier.health().is_ready
            server.kill()
            clock.advance(REFRESH_SECONDS + CACHE_TIME.total_seconds())
            assert (await verifier.verify(token)).tenant == "acme"  # the keys are old, and served
            clock.advance(STALE_SECONDS)
            with pytest.raises((IdentityUnavailable, NotAuthenticated)):
                await verifier.verify(token)
        finally:
            await verifier.close()
