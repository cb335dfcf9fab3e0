"""TLS of every outbound connection: one trust store, and a failure has its reason in words that an operator can use."""

import logging
import ssl
import warnings
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.infrastructure.http_client.tls_server import Identity, identity, serving
from tests.infrastructure.rest.loopback import called, rest_backend, rest_tool

from stoa.application.ports.token_endpoint import TokenRequest
from stoa.domain.errors import StoaError
from stoa.infrastructure.http_client import ANYWHERE
from stoa.infrastructure.http_client.spec_source import HttpSpecSource
from stoa.infrastructure.http_client.tls import TRUST
from stoa.infrastructure.http_client.token_endpoint import HttpTokenEndpoint
from stoa.infrastructure.oidc.provider_client import ProviderClient
from stoa.infrastructure.oidc.remote_keys import RemoteKeys
from stoa.infrastructure.opa.sidecar import OpaServerPolicyEngine
from stoa.testing.clock import ManualClock

Connect = Callable[[str, pytest.LogCaptureFixture], Awaitable[str]]
"""Connects to a URL; returns what an operator is told of it, empty when it worked."""


async def _spec(url: str, _: pytest.LogCaptureFixture) -> str:
    try:
        await HttpSpecSource(rules=ANYWHERE).fetch(f"{url}/openapi.json")
    except StoaError as refused:
        return refused.message
    return ""


async def _tool(url: str, _: pytest.LogCaptureFixture) -> str:
    async with rest_backend() as backend:
        try:
            await called(backend, rest_tool(url))
        except StoaError as refused:
            return refused.message
    return ""


async def _provider(url: str, _: pytest.LogCaptureFixture) -> str:
    client = ProviderClient()
    keys = RemoteKeys(url, client.get, ManualClock())
    await keys.refresh()
    await client.close()
    problem = keys.problem or ""
    return "" if "metadata of another issuer" in problem else problem


async def _policy_server(url: str, _: pytest.LogCaptureFixture) -> str:
    engine = OpaServerPolicyEngine(url, ManualClock())
    await engine.probe()
    await engine.close()
    detail = engine.health().detail
    return "" if "PolicyAnswerInvalid" in detail else detail


async def _token_endpoint(url: str, caplog: pytest.LogCaptureFixture) -> str:
    endpoint = HttpTokenEndpoint(ANYWHERE)
    caplog.clear()
    try:
        await endpoint.grant(TokenRequest(url=f"{url}/token", client_id="c", client_secret="s"))
    except StoaError as refused:
        assert refused.message
        return "" if "it answered 200" in caplog.text else caplog.text
    finally:
        await endpoint.close()
    return ""


CONNECTS: dict[str, Connect] = {
    "API description": _spec,
    "tool": _tool,
    "identity provider": _provider,
    "policy server": _policy_server,
    "token endpoint": _token_endpoint,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="session")
def good(folder: Path) -> Identity:
    return identity(folder / "good", "localhost")


@pytest.fixture(scope="session")
def expired(folder: Path) -> Identity:
    return identity(folder / "expired", "localhost", begins=-timedelta(days=9), ends=-timedelta(days=1))


@pytest.fixture(scope="session")
def future(folder: Path) -> Identity:
    return identity(folder / "future", "localhost", begins=timedelta(days=1), ends=timedelta(days=9))


@pytest.fixture(scope="session")
def elsewhere(folder: Path) -> Identity:
    return identity(folder / "elsewhere", "elsewhere.example")


@pytest.fixture(params=list(CONNECTS))
def connect(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Callable[[str], Awaitable[str]]:
    caplog.set_level(logging.WARNING)
    chosen = CONNECTS[request.param]
    return lambda url: chosen(url, caplog)


async def test_tls_trusts_the_authority_that_ssl_cert_file_names(connect, good, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(good.authority))
    async with serving(good) as port:
        assert await connect(f"https://localhost:{port}") == ""


async def test_tls_failure_by_an_unknown_issuer_says_so(connect, good, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with serving(good) as port:
        said = await connect(f"https://localhost:{port}")
    assert "unknown issuer" in said
    assert "OSError" not in said


async def test_tls_failure_by_an_expired_certificate_says_so(connect, expired, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(expired.authority))
    async with serving(expired) as port:
        assert "certificate has expired" in await connect(f"https://localhost:{port}")


async def test_tls_failure_by_a_certificate_of_the_future_says_so(connect, future, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(future.authority))
    async with serving(future) as port:
        assert "not valid yet" in await connect(f"https://localhost:{port}")


async def test_tls_failure_by_another_name_says_so(connect, elsewhere, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(elsewhere.authority))
    async with serving(elsewhere) as port:
        assert "another host name" in await connect(f"https://localhost:{port}")


async def test_tls_failure_at_a_port_without_tls_says_so(connect):
    async with serving(None) as port:
        assert "does not speak TLS" in await connect(f"https://localhost:{port}")


async def test_tls_failure_by_an_old_version_says_so(connect, good, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(good.authority))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = ssl.TLSVersion.TLSv1_1
    async with serving(good, version=old) as port:
        assert "TLS" in await connect(f"https://localhost:{port}")


async def test_tls_failure_by_an_unknown_issuer_names_the_variable_to_operators(good, monkeypatch, caplog):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with serving(good) as port:
        for name in ("API description", "identity provider", "policy server"):
            assert TRUST in await CONNECTS[name](f"https://localhost:{port}", caplog)
        assert "SSL_CERT_FILE" not in await _tool(f"https://localhost:{port}", caplog)  # the caller is told


async def test_connection_failure_says_that_nothing_listens_there(connect):
    async with serving(None) as port:
        pass
    said = await connect(f"http://localhost:{port}")
    assert "nothing listens at its address" in said
