"""Upstream servers with an authority of their own, and those that want a client certificate."""

import ssl

import pytest
from tests.infrastructure.http_client.tls_server import identity
from tests.infrastructure.mcp_upstream.official_server import official
from tests.infrastructure.mcp_upstream.peers import call, gateway_with, served, tool_set

from stoa.domain.errors import InvalidInput

TLS = {"caSecretRef": {"name": "authority"}, "clientSecretRef": {"name": "client"}}


@pytest.mark.parametrize("transport", ["streamableHttp", "sse"])
async def test_server_with_an_authority_of_its_own_takes_the_clients_certificate(tmp_path, transport):
    who = identity(tmp_path, "127.0.0.1")
    secrets = {
        "authority": {"ca.crt": who.authority.read_text()},
        "client": {"tls.crt": who.chain.read_text(), "tls.key": who.key.read_text()},
    }
    options = {"ssl_certfile": str(who.chain), "ssl_keyfile": str(who.key), "ssl_ca_certs": str(who.authority)}
    app = official().sse_app() if transport == "sse" else official().streamable_http_app()
    path = "/sse" if transport == "sse" else "/mcp"
    async with served(app, **options, ssl_cert_reqs=ssl.CERT_REQUIRED) as origin:
        named = {"url": f"{origin}{path}", "transport": transport}
        async with gateway_with(tool_set(**named, tls=TLS), secrets=secrets) as gateway:
            assert (await call(gateway, "add", a=1, b=2)).result.structured == {"result": 3}
        without_certificate = tool_set(**named, tls={"caSecretRef": {"name": "authority"}})
        with pytest.raises(InvalidInput, match="The back end of"):
            async with gateway_with(without_certificate, secrets=secrets):
                pass
        with pytest.raises(InvalidInput, match="its TLS certificate is of an unknown issuer"):
            async with gateway_with(tool_set(**named)):
                pass


async def test_secrets_that_are_no_certificates_are_told():
    manifest = tool_set(url="https://127.0.0.1:1/mcp", tls={"caSecretRef": {"name": "authority"}})
    with pytest.raises(InvalidInput, match="are not PEM"):
        async with gateway_with(manifest, secrets={"authority": {"ca.crt": "nonsense"}}):
            pass
