"""Tools that act in the caller's name: every door brings the caller's own token to the exchange, and nowhere else."""

from typing import Any

import pytest
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World, new_world

from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import BackendCall, CallContext, ToolBackend
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.metering.event import Status
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Authentication, RestBinding, SecretReference, TokenGrant, Tool
from stoa.domain.results.result import RawAnswer
from stoa.testing.clock import ManualClock
from stoa.testing.token_endpoint import InMemoryTokenEndpoint

ISSUER = "https://auth.example/realms/stoa"
URL = f"{ISSUER}/token"
PEOPLE = {
    "t0ken-of-ann": Principal.of("ann", tenant="alpha", roles=["viewer"], issuer=ISSUER),
    "t0ken-of-vic": Principal.of("vic", tenant="alpha", roles=["viewer"], issuer=ISSUER),
}


class TellingBackend(ToolBackend, BackendCall):
    """Answers with the token that it may show."""

    kind = "rest"

    def prepare(self, tool: Operation) -> BackendCall:
        return self

    async def __call__(self, arguments: Any, context: CallContext) -> RawAnswer:
        assert context.upstream is not None
        assert not any(token in repr(context) for token in PEOPLE)
        return RawAnswer((await context.upstream.token()).encode(), "text/plain", "utf-8", False, "200 OK", URL)

    async def close(self) -> None:
        """Holds nothing."""


class Office:
    """The doors, before an authorization server that knows everybody but `unknown`."""

    def __init__(self, unknown: str = "", **options: Any) -> None:
        self.server = InMemoryTokenEndpoint(URL)
        self.server.add_client("gateway", "s3cret", audiences=["pets"])
        for token, person in PEOPLE.items():
            if token != unknown:
                self.server.add_subject(token, person.subject)
        credentials = InMemoryCredentialSource()
        credentials.put(TenantId("alpha"), "pets", {"clientId": "gateway", "clientSecret": "s3cret"})
        tokens = UpstreamTokens(self.server, credentials, ManualClock(), issuers=[ISSUER])
        self.world: World = new_world(principals=PEOPLE, backends=[TellingBackend()], upstream_tokens=tokens, **options)
        grant = TokenGrant(type="tokenExchange", token_url=URL, audience="pets")
        bound: dict[str, Any] = {
            "tenant": TenantId("alpha"),
            "binding": RestBinding(method="GET", base_url="https://pets.example", path="/"),
            "authentication": Authentication(type="oauth2", secret=SecretReference(name="pets"), grant=grant),
        }
        self.world.gateway.add(Tool(name="mine", **bound), Resource(uri="pets://mine", name="mine", **bound))

    def acted_for(self, text: str) -> str | None:
        return self.server.issued[text].subject


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize("token", PEOPLE)
@pytest.mark.parametrize("version", [*HANDSHAKE_REVISIONS, STATELESS_REVISIONS])
async def test_over_mcp_a_tool_acts_for_who_calls(office, version, token):
    params = {"name": "mine", "arguments": {}}
    if version == STATELESS_REVISIONS:
        answer = await office.world.modern("tools/call", params, token=token)
    else:
        answer = await office.world.legacy("tools/call", params, version=version, token=token)
    assert office.acted_for(answer.json()["result"]["content"][0]["text"]) == PEOPLE[token].subject
    assert token not in repr(answer)


async def test_over_mcp_a_resource_is_read_for_who_reads(office):
    answer = await office.world.modern("resources/read", {"uri": "pets://mine"}, token="t0ken-of-vic")
    assert office.acted_for(answer.json()["result"]["contents"][0]["text"]) == "vic"


@pytest.mark.parametrize("token", PEOPLE)
async def test_over_rest_a_tool_acts_for_who_calls(office, token):
    answer = await office.world.rest("POST", "/tools/mine/invoke", {"arguments": {}}, token=token)
    assert office.acted_for(answer.json()["result"]["content"][0]["text"]) == PEOPLE[token].subject
    assert token not in repr(answer)
    assert token.encode() not in office.world.audit_stream.getvalue()


async def test_a_refused_exchange_is_told_to_the_model_over_mcp_and_as_403_over_rest():
    office = Office(unknown="t0ken-of-vic")
    mcp = await office.world.modern("tools/call", {"name": "mine"}, token="t0ken-of-vic")
    assert mcp.status == 200  # a challenge would make the client log in again, which changes nothing
    assert mcp.json()["result"]["isError"]
    rest = await office.world.rest("POST", "/tools/mine/invoke", {"arguments": {}}, token="t0ken-of-vic")
    assert (rest.status, rest.json()["error"]) == (403, "upstream_access_denied")
    assert rest.header("www-authenticate") is None
    assert [event.status for event in office.world.events] == [Status.UNAUTHORIZED] * 2


async def test_an_anonymous_caller_cannot_be_acted_for():
    office = Office(anonymous=Principal.of("anonymous", tenant="alpha", roles=["viewer"]))
    answer = await office.world.rest("POST", "/tools/mine/invoke", {"arguments": {}}, token=None)
    assert (answer.status, answer.json()["error"]) == (403, "upstream_access_denied")
    assert office.server.issued == {}
