"""A token is verified once in a REST call, and a stranger's refusal is metered without another look at it."""

from typing import Any

from tests.interfaces.doors import PRINCIPALS, World

from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.domain.access.identity import Principal
from stoa.domain.metering.event import Status
from stoa.testing.clock import ManualClock


class CountingVerifier(InMemoryTokenVerifier):
    def __init__(self) -> None:
        super().__init__(PRINCIPALS, ManualClock())
        self.verified: list[str] = []

    async def verify(self, token: str) -> Principal:
        self.verified.append(token)
        return await super().verify(token)


BODY: Any = {"arguments": {"a": 1}}


async def test_authentication_happens_once_for_a_call_with_a_body() -> None:
    verifier = CountingVerifier()
    world = World(verifier=verifier)

    @world.gateway.tool
    def add(a: int) -> int:
        return a + 1

    assert (await world.rest("POST", "/tools/add/invoke", BODY)).status == 200
    assert verifier.verified == ["alpha-admin"]
    explained = await world.rest("POST", "/tools/add/explain", BODY)
    assert (explained.status, verifier.verified) == (200, ["alpha-admin"] * 2)


async def test_authentication_of_a_stranger_happens_once_and_the_refusal_is_counted() -> None:
    verifier = CountingVerifier()
    world = World(verifier=verifier)
    refused = await world.rest("POST", "/tools/add/invoke", BODY, token="bad")
    assert (refused.status, refused.json()["error"]) == (401, "not_authenticated")
    assert refused.json()["requestId"]
    assert refused.header("www-authenticate")
    assert verifier.verified == ["bad"]
    assert world.observer.counted == {("rest", Status.UNAUTHORIZED, "not_authenticated"): 1}
    refused = await world.rest("POST", "/tools/add/explain", BODY, token="bad")
    assert (refused.status, verifier.verified) == (401, ["bad"] * 2)
    assert world.observer.counted.total() == 2


async def test_authentication_of_a_call_without_a_body_is_that_of_the_pipeline() -> None:
    verifier = CountingVerifier()
    world = World(verifier=verifier)
    assert (await world.rest("GET", "/tools")).status == 200
    assert verifier.verified == ["alpha-admin"]
