"""Calls through the whole gateway: what the back end and the authorization server get to see, and what they do not."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.infrastructure.http_client.token_peer import EXCHANGE, OAuthPeer, claims_of, form_of, oauth_peer, refusal
from tests.infrastructure.rest.loopback import Loopback, Seen, answer, loopback

from stoa.application.backends.token_cache import REFUSED_SECONDS
from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import BearerToken, Outcome
from stoa.domain.errors import UpstreamAccessDenied
from stoa.domain.metering.event import Status
from stoa.infrastructure.http_client.token_endpoint import HttpTokenEndpoint
from stoa.infrastructure.rest import RestBackend
from stoa.testing.clock import ManualClock
from stoa.testing.invocation_observer import InMemoryInvocationObserver

ALICE = "t0ken-of-alice"
ROLES = ["cpi-admin"]


@dataclass
class World:
    peer: OAuthPeer
    upstream: Loopback
    gateway: Gateway
    clock: ManualClock
    sink: InMemoryMeteringSink
    observer: InMemoryInvocationObserver
    alice: str

    async def add(self, method: str = "GET", **authentication: object) -> None:
        """Authentication by OAuth2 where no type is given."""
        if "type" not in authentication:
            oauth2 = {"type": "oauth2", "secretRef": {"name": "pets"}, "tokenUrl": self.peer.url}
            authentication = {**oauth2, **authentication}
        spec = {"endpoint": f"{self.upstream.url}/pets", "method": method, "authentication": authentication}
        metadata = {"name": "pets", "namespace": "acme"}
        await self.gateway.add_manifest(
            {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": metadata, "spec": spec}
        )

    async def call(self, name: str = "pets", **changed: object) -> Outcome:
        credential = changed.pop("credential", BearerToken(self.alice))
        async with asyncio.timeout(20):
            return await self.gateway.invoke(name, {}, credential, **changed)

    @property
    def shown(self) -> list[str]:
        """The credentials that the back end was shown, in order."""
        return [seen.header("Authorization") or "" for seen in self.upstream.seen]


@asynccontextmanager
async def world(
    served: Callable[[Seen], bytes] = lambda _: answer(), *, alice: str = ALICE, is_known: bool = True
) -> AsyncIterator[World]:
    async with oauth_peer() as peer, loopback(served) as upstream:
        peer.clients["gateway"] = ("s3cret", frozenset({"pets"}))
        if is_known:
            peer.subjects[alice] = "alice"
        clock, sink, observer = ManualClock(), InMemoryMeteringSink(), InMemoryInvocationObserver()
        credentials = InMemoryCredentialSource()
        credentials.put(TenantId("acme"), "pets", {"clientId": "gateway", "clientSecret": "s3cret"})
        principal = Principal.of("alice", tenant="acme", roles=ROLES, issuer=peer.issuer)
        verifier = InMemoryTokenVerifier({alice: principal}, clock)
        gateway = Gateway(
            clock=clock,
            verifier=verifier,
            sink=sink,
            observers=[observer],
            backends=[RestBackend(credentials)],
            upstream_tokens=UpstreamTokens(HttpTokenEndpoint(), credentials, clock, issuers=verifier.issuers),
        )
        try:
            yield World(peer, upstream, gateway, clock, sink, observer, alice)
        finally:
            await gateway.close()


async def test_the_gateways_own_token_is_shown_to_the_back_end_and_asked_for_once():
    async with world() as at:
        await at.add(audience="pets", scopes=["pets:read"])
        outcomes = [await at.call() for _ in range(3)]
    assert {outcome.status for outcome in outcomes} == {Status.SUCCESS}
    assert len({*at.shown}) == at.peer.asked == 1
    claims = claims_of(at.shown[0])
    assert (claims["azp"], claims["aud"], claims["scope"], claims.get("sub")) == ("gateway", "pets", "pets:read", None)


async def test_a_tool_in_the_callers_name_shows_a_token_for_the_back_end_and_the_callers_subject():
    async with world() as at:
        await at.add(grant="tokenExchange", audience="pets")
        assert (await at.call()).status is Status.SUCCESS
    claims = claims_of(at.shown[0])
    assert (claims["sub"], claims["aud"]) == ("alice", "pets")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    alice=st.from_regex(r"[A-Za-z0-9._~+/-]{12,40}=?", fullmatch=True),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    authentication=st.sampled_from(
        [
            {},
            {"audience": "pets"},
            {"grant": "tokenExchange", "audience": "pets"},
            {"grant": "tokenExchange", "audience": "unmapped"},
            {"type": "none"},
            {"type": "bearer", "secretRef": {"name": "pets", "key": "clientSecret"}},
        ]
    ),
    statuses=st.lists(st.sampled_from(["200 OK", "401 Unauthorized", "302 Found", "500 Oops"]), min_size=1),
    calls=st.integers(1, 3),
    is_known=st.booleans(),
    token_answer=st.sampled_from([None, "echo", refusal("invalid_grant"), answer(b"garbage"), b"garbage\r\n\r\n"]),
)
def test_the_callers_token_reaches_nobody_but_its_issuer_in_an_exchange(
    alice, method, authentication, statuses, calls, is_known, token_answer
):
    """Whatever the tool, the back end and the authorization server do: every byte that either was sent, everything
    that was logged, metered, observed or answered."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    answers = iter(statuses)

    def served(_: Seen) -> bytes:
        status = next(answers, "200 OK")
        return answer(status=status, more="Location: /pets/elsewhere\r\n" if status.startswith("302") else "")

    async def run() -> tuple[World, list[Outcome]]:
        async with world(served, alice=alice, is_known=is_known) as at:
            if token_answer == "echo":
                text = {"access_token": alice, "token_type": "Bearer", "error_description": alice}
                at.peer.instead = answer(json.dumps(text).encode())
            else:
                at.peer.instead = token_answer
            await at.add(method, **authentication)
            outcomes = []
            for _ in range(calls):
                outcomes.append(await at.call())
                at.clock.advance(REFUSED_SECONDS)
            return at, outcomes

    root = logging.getLogger()
    root.addHandler(handler)
    try:
        at, outcomes = asyncio.run(run())
    finally:
        root.removeHandler(handler)

    is_exchange = authentication.get("grant") == "tokenExchange"
    if token_answer != "echo" or is_exchange:  # a server that hands out what it once saw is beyond us
        for seen in at.upstream.seen:
            assert alice not in repr(seen)
    for seen in at.peer.server.seen:
        form = form_of(seen)
        assert (form.pop("subject_token", None) == alice) == is_exchange
        assert alice not in repr([seen.target, seen.headers, form])
        assert (form["grant_type"] == EXCHANGE) == is_exchange
    told = [repr(outcome) + repr(outcome.error) for outcome in outcomes]
    kept = [repr(at.observer.seen), *(event.model_dump_json() for event in at.sink.events())]
    logged = [logging.Formatter().format(record) for record in records]
    assert alice not in "".join([*told, *kept, *logged])
    if is_exchange and token_answer == "echo":
        assert at.upstream.seen == []


class TestRefusals:
    @pytest.mark.parametrize("credential", [Principal.of("alice", tenant="acme", roles=ROLES)])
    async def test_who_has_no_token_cannot_be_acted_for(self, credential):
        async with world() as at:
            await at.add(grant="tokenExchange", audience="pets")
            outcome = await at.call(credential=credential)
        assert isinstance(outcome.error, UpstreamAccessDenied)
        assert "bearer token" in outcome.error.message
        assert (outcome.status, outcome.cost) == (Status.UNAUTHORIZED, 0)
        assert at.peer.asked == len(at.upstream.seen) == 0

    async def test_an_audience_that_the_caller_may_not_have_is_a_free_refusal(self):
        async with world() as at:
            await at.add(grant="tokenExchange", audience="unmapped")
            outcome = await at.call()
        assert isinstance(outcome.error, UpstreamAccessDenied)
        assert (outcome.status, outcome.cost) == (Status.UNAUTHORIZED, 0)
        assert at.upstream.seen == []

    async def test_a_wrong_client_secret_is_an_error_that_names_the_fix_and_not_the_secret(self):
        async with world() as at:
            at.peer.clients["gateway"] = ("rotated", frozenset())
            await at.add()
            outcome = await at.call()
        assert outcome.result is not None
        assert outcome.result.is_error
        text = outcome.result.content[0].text
        assert "clientSecret" in text
        assert "s3cret" not in text
        assert at.upstream.seen == []

    async def test_an_exchange_at_a_foreign_server_is_refused_when_the_manifest_is_read(self):
        async with world() as at:
            with pytest.raises(Exception, match=r"authentication\.tokenUrl: a caller's token is shown to its own"):
                await at.add(grant="tokenExchange", audience="pets", tokenUrl="https://evil.example/token")


class TestTokensThatTheBackEndRefuses:
    @pytest.mark.parametrize(
        ("method", "is_repeated"), [("GET", True), ("PUT", True), ("DELETE", True), ("POST", False)]
    )
    async def test_it_is_renewed_and_the_call_repeated_where_that_does_no_harm(self, method, is_repeated):
        revoked: set[str | None] = set()

        def served(seen: Seen) -> bytes:
            return answer(status="401 Unauthorized" if seen.header("Authorization") in revoked else "200 OK")

        async with world(served) as at:
            await at.add(method)
            await at.call()
            revoked.add(at.shown[0])
            at.clock.advance(REFUSED_SECONDS)
            second, third = await at.call(), await at.call()
        assert second.result is not None
        assert second.result.is_error != is_repeated
        assert third.status is Status.SUCCESS
        assert at.peer.asked == 2
        assert len(at.shown) == (4 if is_repeated else 3)

    async def test_a_back_end_that_refuses_every_token_is_asked_twice_at_most(self):
        async with world(lambda _: answer(status="401 Unauthorized")) as at:
            await at.add()
            await at.call()
            assert (len(at.upstream.seen), at.peer.asked) == (1, 1)
            at.clock.advance(REFUSED_SECONDS)
            await at.call()
            assert (len(at.upstream.seen), at.peer.asked) == (3, 2)


async def test_waiting_for_a_token_counts_towards_the_tools_own_timeout():
    async with world() as at:
        at.peer.instead = asyncio.get_running_loop().create_future()
        await at.add()
        tool = at.gateway.registry.catalogue.find("acme", "pets").model_copy(update={"timeout_seconds": 0.05})
        at.gateway.add(tool.model_copy(update={"name": "quick"}))
        outcome = await at.call("quick")
        at.peer.instead = None
    assert outcome.status is Status.TIMEOUT
    assert at.upstream.seen == []


async def test_a_gateway_without_token_endpoints_says_so_when_the_tool_is_registered():
    async with world() as at:
        at.gateway = Gateway(backends=[RestBackend(InMemoryCredentialSource())])
        with pytest.raises(Exception, match=r"authentication\.type oauth2: this gateway was made without"):
            await at.add()
        await at.gateway.close()
