"""Clients: who shares connections to a cluster, and when those of one caller end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
from tests.infrastructure.kafka.peer import kafka_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.binding import Authentication, SecretReference, TokenGrant
from stoa.infrastructure.http_client import ANYWHERE
from stoa.infrastructure.kafka.clients import MAX_CALLER_CLIENTS, Client, Clients, Upstream
from stoa.infrastructure.kafka.security import SecretReader

CREDENTIALS = InMemoryCredentialSource()
GRANT = TokenGrant(type="tokenExchange", token_url="https://idp.example/token", audience="kafka")
AUTHENTICATION = Authentication(type="oauth2", secret=SecretReference(name="kafka"), grant=GRANT)
SECURITY = kafka_tool(
    "a.example:1", "produce", "t", security={"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}
).binding.security
UPSTREAM = Upstream(("a.example:1",), SECURITY, None, AUTHENTICATION)
SECRETS = SecretReader(AUTHENTICATION, SECURITY, None, CREDENTIALS, "tool t")


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients(CREDENTIALS, ANYWHERE, None, lambda _: None)
    yield made
    await made.close()


def client(clients: Clients, caller: str, token: str = "t") -> Client:
    with clients.lent(UPSTREAM, SECRETS, token, caller) as lent:
        return lent


async def test_kafka_client_in_a_callers_name_is_this_callers_alone(clients: Clients) -> None:
    ann, ben = client(clients, "ann", "token-of-ann"), client(clients, "ben", "token-of-ben")
    assert ann is not ben
    assert (await ann.token.token(), await ben.token.token()) == ("token-of-ann", "token-of-ben")
    assert client(clients, "ann", "next-token-of-ann") is ann
    assert await ann.token.token() == "next-token-of-ann"


async def test_kafka_client_in_the_gateways_name_is_shared(clients: Clients) -> None:
    assert SECRETS.is_of_caller
    assert client(clients, "") is client(clients, "")


async def test_kafka_client_of_a_caller_who_was_idle_longest_makes_room(clients: Clients) -> None:
    first, *_, last = [client(clients, f"caller-{number}") for number in range(MAX_CALLER_CLIENTS)]
    client(clients, "one more")
    assert client(clients, f"caller-{MAX_CALLER_CLIENTS - 1}") is last
    assert client(clients, "caller-0") is not first


async def test_kafka_client_of_one_more_caller_is_refused_while_all_are_in_use(clients: Clients) -> None:
    with ExitStack() as calls:
        for number in range(MAX_CALLER_CLIENTS):
            calls.enter_context(clients.lent(UPSTREAM, SECRETS, "t", f"caller-{number}"))
        with pytest.raises(BackendUnavailable, match="callers use Kafka") as refused:
            client(clients, "one more")
        assert refused.value.nothing_was_sent
        client(clients, "")  # what all share is not counted
    client(clients, "one more")


async def test_kafka_client_of_a_caller_ends_when_it_was_idle() -> None:
    clients = Clients(CREDENTIALS, ANYWHERE, None, lambda _: None, caller_idle_seconds=0.0)
    with clients.lent(UPSTREAM, SECRETS, "t", "ann") as ann:
        for _ in range(10):
            await asyncio.sleep(0)  # sweeps find it in use
        assert client(clients, "ann") is ann
    shared = client(clients, "")
    async with asyncio.timeout(20):
        while client(clients, "ann") is ann:
            await asyncio.sleep(0)
    assert client(clients, "") is shared
    await clients.close()
