"""TLS and mTLS with an authority of one's own: calls, subscriptions and introspection."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.infrastructure.graphql.peer import context_of
from tests.infrastructure.graphql.subscription_peer import PROTOCOL, backend_of, tools_at
from tests.infrastructure.http_client.tls_server import identity

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import SpecPlace
from stoa.domain.errors import BackendUnavailable, Unavailable
from stoa.infrastructure.graphql import GraphQlSpecKind
from stoa.infrastructure.graphql.manifest import GraphQlSource

OWN_CA = {"caSecretRef": {"name": "own-ca"}}
BOTH = {**OWN_CA, "clientSecretRef": {"name": "client"}}


@pytest.fixture(scope="module")
def server_identity(tmp_path_factory):
    return identity(tmp_path_factory.mktemp("server"), "127.0.0.1")


@pytest.fixture(scope="module")
def client_identity(tmp_path_factory):
    return identity(tmp_path_factory.mktemp("client"), "gateway")


def certificate(of):
    return {"tls.crt": of.chain.read_text(), "tls.key": of.key.read_text()}


@pytest.fixture
def credentials(server_identity, client_identity):
    credentials = InMemoryCredentialSource()
    credentials.put(None, "own-ca", {"ca.crt": server_identity.authority.read_text()})
    credentials.put(None, "client", certificate(client_identity))
    return credentials


@asynccontextmanager
async def serving(server, client=None):
    """Over TLS: nothing but `{"nothing": 1}`, a subscription of one message, and a schema."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.chain, server.key)
    if client is not None:
        context.load_verify_locations(client.authority)
        context.verify_mode = ssl.CERT_REQUIRED

    async def answered(request):
        body = await request.json()
        if "__schema" in body["query"]:
            return web.json_response({"data": {"__schema": {"types": []}}})
        return web.json_response({"data": {"nothing": 1}})

    async def subscribed(request):
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        await socket.receive_json()
        await socket.send_json({"type": "connection_ack"})
        await socket.receive_json()
        await socket.send_json({"id": "1", "type": "complete"})
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_post("/g", answered)
    app.router.add_get("/g", subscribed)
    running = TestServer(app, scheme="https")
    await running.start_server(ssl=context)
    try:
        yield f"https://127.0.0.1:{running.port}/g"
    finally:
        await running.close()


async def called(backend, tool):
    async with asyncio.timeout(20):
        return await backend.prepare(tool)({}, context_of(tool))


@pytest.mark.parametrize("name", ["nothing", "stay"])
async def test_graphql_tls_trusts_the_authority_of_the_tool(credentials, server_identity, name):
    async with serving(server_identity) as url, backend_of(credentials) as backend:
        await called(backend, tools_at(url, queries=True, tls=OWN_CA)[name])
        with pytest.raises(BackendUnavailable, match="TLS certificate is of an unknown issuer"):
            await called(backend, tools_at(url, queries=True)[name])


@pytest.mark.parametrize("name", ["nothing", "stay"])
async def test_graphql_mtls_shows_the_client_certificate_of_the_tool(
    credentials, server_identity, client_identity, name
):
    async with serving(server_identity, client_identity) as url, backend_of(credentials) as backend:
        await called(backend, tools_at(url, queries=True, tls=BOTH)[name])
        with pytest.raises(BackendUnavailable):
            await called(backend, tools_at(url, queries=True, tls=OWN_CA)[name])


async def test_graphql_mtls_uses_a_renewed_certificate_without_a_restart(
    credentials, server_identity, client_identity, tmp_path
):
    credentials.put(None, "client", certificate(identity(tmp_path, "stranger")))
    async with serving(server_identity, client_identity) as url, backend_of(credentials) as backend:
        tool = tools_at(url, queries=True, tls=BOTH)["nothing"]
        with pytest.raises(BackendUnavailable):
            await called(backend, tool)
        credentials.put(None, "client", certificate(client_identity))
        await called(backend, tool)


async def test_graphql_tls_secret_that_is_no_certificate_is_told_without_it(credentials, server_identity):
    credentials.put(None, "client", {"tls.crt": "s3cr3t", "tls.key": "s3cr3t"})
    async with serving(server_identity) as url, backend_of(credentials) as backend:
        with pytest.raises(BackendUnavailable, match="are not PEM") as refused:
            await called(backend, tools_at(url, queries=True, tls=BOTH)["nothing"])
    assert "s3cr3t" not in refused.value.message


async def test_graphql_introspection_goes_over_the_same_tls(credentials, server_identity, client_identity):
    place = SpecPlace("m.yaml", InMemorySpecSource({}).fetch)
    async with serving(server_identity, client_identity) as url:
        kind = GraphQlSpecKind(credentials)
        document = await kind.fetch(GraphQlSource.model_validate({"endpoint": url, "tls": BOTH}), place)
        assert "__schema" in json.loads(document.text)["data"]
        with pytest.raises(Unavailable):
            await kind.fetch(GraphQlSource.model_validate({"endpoint": url, "tls": OWN_CA}), place)


def test_graphql_client_certificate_has_two_entries_and_none_is_chosen():
    tls = {"clientSecretRef": {"name": "client", "key": "tls.crt"}}
    with pytest.raises(ValueError, match="remove it"):
        GraphQlSource.model_validate({"endpoint": "https://a.example", "tls": tls})
