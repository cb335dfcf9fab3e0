"""TLS and mTLS with an authority of one's own, and channels that follow names and secrets."""

import asyncio
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tests.infrastructure.grpc.loopback import echo_descriptors, serving, tools_of
from tests.infrastructure.http_client.tls_server import identity

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.binding import SecretReference, TlsSecrets
from stoa.domain.policy.decision import Permit
from stoa.infrastructure.grpc import GrpcBackend
from stoa.infrastructure.http_client import HostResolver
from stoa.infrastructure.http_client.resolver import Found

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def echo(method, messages, context):
    return messages


def tool_at(target, **binding):
    tool = tools_of(echo_descriptors(), target)["Echo_Say"]
    return tool.model_copy(update={"binding": tool.binding.model_copy(update=binding)})


async def called(backend, tool):
    context = CallContext(Permit(tool.key, ()), Principal.of("ann"), "request-1")
    async with asyncio.timeout(20):
        return await backend.prepare(tool)({"text": "x"}, context)


@pytest.fixture(scope="module")
def server_identity(tmp_path_factory):
    return identity(tmp_path_factory.mktemp("server"), "127.0.0.1")


@pytest.fixture(scope="module")
def client_identity(tmp_path_factory):
    return identity(tmp_path_factory.mktemp("client"), "gateway")


@pytest.fixture
def credentials(server_identity, client_identity):
    credentials = InMemoryCredentialSource()
    credentials.put(None, "own-ca", {"ca.crt": server_identity.authority.read_text()})
    client = {"tls.crt": client_identity.chain.read_text(), "tls.key": client_identity.key.read_text()}
    credentials.put(None, "client", client)
    return credentials


def server_credentials(server, client=None):
    pair = (server.key.read_bytes(), server.chain.read_bytes())
    ca = None if client is None else client.authority.read_bytes()
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=client is not None)


async def test_tls_trusts_the_authority_of_the_tool(credentials, server_identity):
    backend = GrpcBackend(credentials)
    async with serving(echo_descriptors(), echo, tls=server_credentials(server_identity)) as server:
        own = tool_at(server.target, tls=TlsSecrets(ca=SecretReference(name="own-ca")))
        assert (await called(backend, own)).body == b'{"text":"x"}'
        with pytest.raises(BackendUnavailable, match="certificate is not trusted"):
            await called(backend, tool_at(server.target))
        await backend.close()


async def test_mtls_shows_the_client_certificate_of_the_tool(credentials, server_identity, client_identity):
    backend = GrpcBackend(credentials)
    tls = server_credentials(server_identity, client_identity)
    async with serving(echo_descriptors(), echo, tls=tls) as server:
        ca = SecretReference(name="own-ca")
        both = tool_at(server.target, tls=TlsSecrets(ca=ca, client=SecretReference(name="client")))
        assert (await called(backend, both)).body == b'{"text":"x"}'
        with pytest.raises(BackendUnavailable):
            await called(backend, tool_at(server.target, tls=TlsSecrets(ca=ca)))
        await backend.close()


class Names:
    """A resolver's look-up that a test directs."""

    def __init__(self, *addresses):
        self.addresses = addresses

    async def __call__(self, name):
        if not self.addresses:
            raise OSError("no such name")
        return Found(self.addresses, 0)

    async def close(self):
        pass


async def test_certificate_of_another_name_is_not_trusted(credentials, server_identity):
    resolver = HostResolver(Names("127.0.0.1"))
    backend = GrpcBackend(credentials, resolver=resolver)
    async with serving(echo_descriptors(), echo, tls=server_credentials(server_identity)) as server:
        target = server.target.replace("127.0.0.1", "service.example")
        with pytest.raises(BackendUnavailable, match="certificate is for another host name"):
            await called(backend, tool_at(target, tls=TlsSecrets(ca=SecretReference(name="own-ca"))))
        await backend.close()
    await resolver.close()


async def test_clear_text_server_behind_grpcs_is_unavailable(credentials):
    backend = GrpcBackend(credentials)
    async with serving(echo_descriptors(), echo) as server:
        target = server.target.replace("grpc://", "grpcs://")
        with pytest.raises(BackendUnavailable, match="does not speak TLS"):
            await called(backend, tool_at(target, tls=TlsSecrets(ca=SecretReference(name="own-ca"))))
        await backend.close()


async def test_name_that_moves_is_followed_to_its_new_address():
    names = Names("127.0.0.1")
    resolver = HostResolver(names)
    backend = GrpcBackend(InMemoryCredentialSource(), resolver=resolver)
    async with serving(echo_descriptors(), echo) as server:
        tool = tool_at(server.target.replace("127.0.0.1", "service.example"))
        assert not (await called(backend, tool)).is_error
        names.addresses = ("127.0.0.2",)  # nothing listens there
        with pytest.raises(BackendUnavailable, match="nothing listens"):
            await called(backend, tool)
        names.addresses = ("127.0.0.1",)
        assert not (await called(backend, tool)).is_error
        await backend.close()
    await resolver.close()


async def test_name_that_does_not_resolve_is_unavailable():
    resolver = HostResolver(Names())
    backend = GrpcBackend(InMemoryCredentialSource(), resolver=resolver)
    with pytest.raises(BackendUnavailable, match="host name does not resolve"):
        await called(backend, tool_at("grpc://service.example:50051"))
    await backend.close()
    await resolver.close()


async def test_name_with_addresses_of_both_families_is_reached_over_the_one_that_answers():
    resolver = HostResolver(Names("::1", "127.0.0.1"))
    backend = GrpcBackend(InMemoryCredentialSource(), resolver=resolver)
    async with serving(echo_descriptors(), echo) as server:
        tool = tool_at(server.target.replace("127.0.0.1", "service.example"))
        assert (await called(backend, tool)).body == b'{"text":"x"}'
        await backend.close()
    await resolver.close()


async def test_health_check_keeps_calls_from_a_server_until_it_is_healthy(credentials):
    """Over two addresses of one name: 127.0.0.1 and 127.0.0.2."""

    class Local:
        async def __call__(self, name):
            return Found(("127.0.0.1", "127.0.0.2"), 300.0)

        async def close(self):
            pass

    async with healthy_pair() as (port, health_of, answered), asyncio.timeout(60):
        backend = GrpcBackend(credentials, resolver=HostResolver(Local()))
        tool = tool_at(f"grpc://pair.example:{port}", health_service="echo")
        await health_of["127.0.0.2"].set("echo", NOT_SERVING)
        for _ in range(4):
            await called(backend, tool)
        assert set(answered) == {"127.0.0.1"}
        await health_of["127.0.0.1"].set("echo", NOT_SERVING)
        with pytest.raises(BackendUnavailable, match="not healthy") as unhealthy:
            while True:  # the channel hears of it in a moment
                await called(backend, tool)
        assert unhealthy.value.nothing_was_sent
        answered.clear()
        await health_of["127.0.0.2"].set("echo", SERVING)
        while not answered:
            with suppress(BackendUnavailable):
                await called(backend, tool)
        assert set(answered) == {"127.0.0.2"}
        await backend.close()


@asynccontextmanager
async def healthy_pair():
    """Two servers with one port. Yields it, their health services by address, and the addresses that answered."""
    servers, health_of, answered = [], {}, []

    def server_at(address, port):
        async def say(request, context):
            answered.append(address)
            return request

        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(say)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.v1.Echo", {"Say": method}),))
        health_of[address] = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_of[address], server)
        servers.append(server)
        return server.add_insecure_port(f"{address}:{port}")

    port = server_at("127.0.0.1", 0)
    server_at("127.0.0.2", port)
    try:
        for server in servers:
            await server.start()
        for servicer in health_of.values():
            await servicer.set("echo", SERVING)
        yield port, health_of, answered
    finally:
        for server in servers:
            await server.stop(None)
