"""Access tokens for back ends from a real Keycloak, as the back end gets to see them."""

from contextlib import asynccontextmanager

import pytest
from tests.infrastructure.http_client.token_peer import claims_of
from tests.infrastructure.rest.loopback import answer, loopback
from tests.live.keycloak_client import GATEWAY, Realm

from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.gateway import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import UpstreamAccessDenied
from stoa.infrastructure.http_client.token_endpoint import HttpTokenEndpoint
from stoa.infrastructure.oidc import KeycloakTokenVerifier
from stoa.infrastructure.rest import RestBackend

ACME = TenantId("acme")
AGENT = {"clientId": "stoa-agent", "clientSecret": "stoa-agent-secret"}
ALICE = Principal.of("alice", tenant="acme", roles=["viewer"])


@pytest.fixture
def realm(keycloak) -> Realm:
    return Realm(keycloak)


class World:
    def __init__(self, realm: Realm, url: str) -> None:
        self.credentials = InMemoryCredentialSource()
        self.credentials.put(ACME, "agent", AGENT)
        exchanger = {"clientId": GATEWAY["client_id"], "clientSecret": GATEWAY["client_secret"]}
        self.credentials.put(ACME, "exchanger", exchanger)
        self.clock = SystemClock()
        self.verifier = KeycloakTokenVerifier(
            url=realm.server.url, realm="stoa", audiences=frozenset({"stoa-mcp-gateway"}), clock=self.clock
        )
        self.gateway = Gateway(
            verifier=self.verifier,
            backends=[RestBackend(self.credentials)],
            upstream_tokens=UpstreamTokens(
                HttpTokenEndpoint(), self.credentials, self.clock, issuers=self.verifier.issuers
            ),
        )
        self.url, self.endpoint = url, realm.endpoint

    async def add(self, secret: str, **authentication: object) -> None:
        oauth2 = {"type": "oauth2", "secretRef": {"name": secret}, "tokenUrl": f"{self.endpoint}/token"}
        await self.gateway.add_manifest(
            {
                "apiVersion": "gostoa.dev/v1alpha1",
                "kind": "Tool",
                "metadata": {"name": "pets", "namespace": "acme"},
                "spec": {"endpoint": f"{self.url}/pets", "authentication": {**oauth2, **authentication}},
            }
        )


@asynccontextmanager
async def world(realm):
    async with loopback(lambda _: answer()) as upstream:
        at = World(realm, upstream.url)
        try:
            yield at, upstream
        finally:
            await at.gateway.close()
            await at.verifier.close()


async def test_client_credentials_show_the_back_end_the_agents_own_token(realm):
    async with world(realm) as (at, upstream):
        await at.add("agent")
        outcomes = [await at.gateway.invoke("pets", {}, ALICE) for _ in range(2)]
    assert [outcome.status for outcome in outcomes] == ["success"] * 2
    first, second = (seen.header("Authorization") for seen in upstream.seen)
    assert first == second
    assert claims_of(first)["azp"] == "stoa-agent"


async def test_an_exchange_shows_the_back_end_alices_subject_and_its_own_audience(realm):
    token = realm.of_user("alice")
    async with world(realm) as (at, upstream):
        await at.add("exchanger", grant="tokenExchange", audience="stoa-backend")
        outcome = await at.gateway.invoke("pets", {}, BearerToken(token))
    assert outcome.status == "success"
    shown = upstream.seen[0].header("Authorization")
    assert token not in repr(upstream.seen[0])
    assert claims_of(shown)["aud"] == "stoa-backend"
    assert claims_of(shown)["sub"] == claims_of(token)["sub"]
    assert claims_of(shown)["preferred_username"] == "alice"


async def test_two_callers_are_never_taken_for_each_other(realm):
    tokens = {name: realm.of_user(name) for name in ("alice", "dave")}
    async with world(realm) as (at, upstream):
        await at.add("exchanger", grant="tokenExchange", audience="stoa-backend")
        for name in ("alice", "dave", "alice", "dave"):
            assert (await at.gateway.invoke("pets", {}, BearerToken(tokens[name]))).status == "success"
    shown = [claims_of(seen.header("Authorization"))["preferred_username"] for seen in upstream.seen]
    assert shown == ["alice", "dave", "alice", "dave"]


async def test_an_audience_that_is_not_mapped_is_refused(realm):
    async with world(realm) as (at, upstream):
        await at.add("exchanger", grant="tokenExchange", audience="stoa-cli")
        outcome = await at.gateway.invoke("pets", {}, BearerToken(realm.of_user("alice")))
    assert isinstance(outcome.error, UpstreamAccessDenied)
    assert upstream.seen == []


async def test_a_client_that_may_not_exchange_gets_nothing(realm):
    async with world(realm) as (at, upstream):
        await at.add("agent", grant="tokenExchange", audience="stoa-backend")
        outcome = await at.gateway.invoke("pets", {}, BearerToken(realm.of_user("alice")))
    assert isinstance(outcome.error, UpstreamAccessDenied)
    assert upstream.seen == []


async def test_a_revoked_session_cannot_be_exchanged_though_its_token_still_verifies(realm):
    token = realm.of_user("alice")
    async with world(realm) as (at, upstream):
        await at.add("exchanger", grant="tokenExchange", audience="stoa-backend")
        realm.revoke(token)
        outcome = await at.gateway.invoke("pets", {}, BearerToken(token))
    assert isinstance(outcome.error, UpstreamAccessDenied)
    assert upstream.seen == []


async def test_a_wrong_secret_is_the_gateways_fault_and_a_rotated_one_works_at_once(realm):
    async with world(realm) as (at, upstream):
        at.credentials.put(ACME, "agent", {**AGENT, "clientSecret": "wr0ng"})
        await at.add("agent")
        refused = await at.gateway.invoke("pets", {}, ALICE)
        assert refused.result is not None
        assert "clientSecret" in refused.result.content[0].text
        assert "wr0ng" not in repr(refused)
        assert upstream.seen == []
        at.credentials.put(ACME, "agent", AGENT)
        assert (await at.gateway.invoke("pets", {}, ALICE)).status == "success"


async def test_another_realm_is_no_place_for_alices_token(realm):
    async with world(realm) as (at, _):
        master = f"{realm.server.url}/realms/master/protocol/openid-connect/token"
        with pytest.raises(Exception, match="shown to its own issuer only"):
            await at.add("exchanger", grant="tokenExchange", audience="stoa-backend", tokenUrl=master)
