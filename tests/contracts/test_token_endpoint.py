"""The laws of TokenEndpoint, for every adapter."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.http_client.token_peer import claims_of, oauth_peer

from stoa.application.ports import GrantedToken, TokenEndpoint, TokenRequest
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import BackendUnavailable, UpstreamAccessDenied
from stoa.infrastructure.http_client.token_endpoint import HttpTokenEndpoint
from stoa.testing.token_endpoint import InMemoryTokenEndpoint

SECRET = "s3cret/+&=: %"
ALICE = BearerToken("token-of-alice")


@dataclass
class Bench:
    """One endpoint whose server knows the client `gateway`, and alice by her token."""

    endpoint: TokenEndpoint
    url: str
    add_client: Callable[[str, str, Iterable[str]], None]
    meaning: Callable[[str], tuple[str, str | None, str | None]]
    """Of a token: client, audience, and who is acted for."""

    def request(self, **changed: object) -> TokenRequest:
        return TokenRequest(**{"url": self.url, "client_id": "gateway", "client_secret": SECRET, **changed})

    async def grant(self, **changed: object) -> GrantedToken:
        async with asyncio.timeout(20):
            return await self.endpoint.grant(self.request(**changed))


OpenBench = Callable[[], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Bench]:
    endpoint = InMemoryTokenEndpoint("https://auth.example/token")
    endpoint.add_subject(ALICE.value, "alice")

    def add(client: str, secret: str, audiences: Iterable[str]) -> None:
        endpoint.add_client(client, secret, audiences=audiences)

    def meaning(token: str) -> tuple[str, str | None, str | None]:
        issued = endpoint.issued[token]
        return issued.client_id, issued.audience, issued.subject

    add("gateway", SECRET, ["pets"])
    yield Bench(endpoint, endpoint.url, add, meaning)


@asynccontextmanager
async def _http() -> AsyncIterator[Bench]:
    async with oauth_peer() as peer:
        peer.subjects[ALICE.value] = "alice"

        def add(client: str, secret: str, audiences: Iterable[str]) -> None:
            peer.clients[client] = (secret, frozenset(audiences))

        def meaning(token: str) -> tuple[str, str | None, str | None]:
            claims = claims_of(token)
            return claims["azp"], None if claims["aud"] == "everywhere" else claims["aud"], claims.get("sub")

        add("gateway", SECRET, ["pets"])
        endpoint = HttpTokenEndpoint()
        try:
            yield Bench(endpoint, peer.url, add, meaning)
        finally:
            await endpoint.close()


@pytest.fixture(scope="session", params=[_memory, _http], ids=lambda adapter: adapter.__name__)
def open_bench(request: pytest.FixtureRequest) -> OpenBench:
    return request.param


async def test_a_token_is_for_the_client_audience_and_subject_that_were_asked_for(open_bench):
    async with open_bench() as bench:
        own = await bench.grant()
        bound = await bench.grant(audience="pets", scopes=("pets:read",))
        exchanged = await bench.grant(audience="pets", subject=ALICE)

        assert bench.meaning(own.value) == ("gateway", None, None)
        assert bench.meaning(bound.value) == ("gateway", "pets", None)
        assert bench.meaning(exchanged.value) == ("gateway", "pets", "alice")
        assert own.lifetime_seconds == 300


@settings(max_examples=25)
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_client_and_secret_arrive_whatever_characters_they_have(open_bench, client, secret):
    async def granted() -> tuple[str, str | None, str | None]:
        async with open_bench() as bench:
            bench.add_client(client, secret, [])
            return bench.meaning((await bench.grant(client_id=client, client_secret=secret)).value)

    assert asyncio.run(granted())[0] == client


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"client_secret": "wr0ng-secret"}, BackendUnavailable),
        ({"client_id": "stranger"}, BackendUnavailable),
        ({"audience": "money"}, BackendUnavailable),
        ({"audience": "money", "subject": ALICE}, UpstreamAccessDenied),
        ({"audience": "pets", "subject": BearerToken("t0ken-of-nobody")}, UpstreamAccessDenied),
        ({"audience": "pets", "subject": ALICE, "client_secret": "wr0ng-secret"}, BackendUnavailable),
    ],
)
async def test_a_refusal_says_whose_fault_it_is_and_shows_nothing(open_bench, caplog, changed, kind):
    async with open_bench() as bench:
        with pytest.raises(kind) as refused:
            await bench.grant(**changed)

    shown = "".join(traceback.format_exception(refused.value)) + repr(refused.value.__context__) + caplog.text
    for secret in (SECRET, ALICE.value, "wr0ng-secret", "t0ken-of-nobody"):
        assert secret not in shown


async def test_a_server_that_is_not_there_is_unavailable(open_bench):
    async with open_bench() as bench:
        with pytest.raises(BackendUnavailable):
            await bench.grant(url="http://127.0.0.1:1/token")


async def test_neither_a_request_nor_its_token_shows_in_a_repr(open_bench):
    async with open_bench() as bench:
        granted = await bench.grant(audience="pets", subject=ALICE)
        shown = repr(bench.request(subject=ALICE)) + repr(granted) + repr(bench.endpoint)

    assert not any(secret in shown for secret in (SECRET, ALICE.value, granted.value))


async def test_closing_twice_is_harmless(open_bench):
    async with open_bench() as bench:
        await bench.grant()
        await bench.endpoint.close()
        await bench.endpoint.close()
