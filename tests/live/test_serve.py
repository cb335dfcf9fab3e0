"""`stoa serve` with a real Keycloak and a real OPA, driven by the official Python client: who may see and call what."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.manifests import owned, tool, write
from tests.e2e.processes import GatewayProcess, Upstream, serving
from tests.live.keycloak_client import Realm

DESTRUCTIVE = {"annotations": {"destructiveHint": True}}


@pytest.fixture
def realm(keycloak) -> Realm:
    return Realm(keycloak)


@pytest.fixture(params=["embedded", "server"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path, realm: Realm):
    settings = {"KEYCLOAK_URL": realm.server.url, "ENVIRONMENT": "prod", "OUTBOUND_NETWORKS": "127.0.0.0/8"}
    if request.param == "server":
        settings |= {"OPA_EMBEDDED": "false", "OPA_URL": request.getfixturevalue("opa").url}
    gateway = GatewayProcess(tmp_path, settings, imports_itself=True)
    with Upstream().listening() as upstream:
        everybodys, acmes = tool("weather", f"{upstream.url}/weather"), tool("payroll", f"{upstream.url}/payroll")
        purge = tool("purge", f"{upstream.url}/purge", **DESTRUCTIVE)
        write(gateway, "tools.yaml", everybodys, owned(acmes, "acme"), purge)
        with serving(gateway, within=60):
            yield gateway


@asynccontextmanager
async def connected(gateway: GatewayProcess, token: str, mode: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=20) as client:
            yield client


async def _seen(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_each_user_sees_and_calls_what_roles_and_tenant_allow(
    gateway: GatewayProcess, realm: Realm, mode: str
) -> None:
    expected: dict[str, set[str]] = {
        realm.of_user("bob"): {"weather"},
        realm.by_code("alice"): {"weather", "payroll"},
        realm.of_agent(): {"weather", "payroll"},
        realm.of_user("carol"): {"weather", "purge"},
    }
    for token, names in expected.items():
        async with connected(gateway, token, mode) as client:
            assert await _seen(client) == names
            for name in names:
                assert not (await client.call_tool(name, {})).is_error


def _call(gateway: GatewayProcess, token: str | None, name: str) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}}
    return httpx.post(f"{gateway.url}/mcp", json=message, headers=headers, timeout=20)


def test_strangers_are_shown_the_way_and_scopes_that_no_role_gives_are_not_asked_for(
    gateway: GatewayProcess, realm: Realm
) -> None:
    refused = _call(gateway, None, "weather")
    assert refused.status_code == 401
    challenge = refused.headers["www-authenticate"]
    metadata_url = challenge.partition('resource_metadata="')[2].partition('"')[0]
    metadata = httpx.get(metadata_url, timeout=20).json()
    assert metadata["authorization_servers"] == [realm.server.issuer]
    assert metadata["resource"] == f"{gateway.url}/mcp"
    assert httpx.get(f"{gateway.url}/.well-known/oauth-protected-resource", timeout=20).json() == metadata
    refused = _call(gateway, realm.of_user("alice"), "purge")
    assert (refused.status_code, refused.headers.get("www-authenticate")) == (403, None)
    foreign, unknown = (_call(gateway, realm.of_user("bob"), name) for name in ("payroll", "no-such-tool"))
    assert foreign.text.replace("payroll", "IT") == unknown.text.replace("no-such-tool", "IT")
    exchanged = _call(gateway, realm.exchanged(realm.of_user("alice")), "weather")
    assert (exchanged.status_code, "invalid_token" in exchanged.headers["www-authenticate"]) == (401, True)


def test_readiness_names_the_parts_and_the_log_holds_no_token(gateway: GatewayProcess, realm: Realm) -> None:
    token = realm.of_user("alice")
    assert _call(gateway, token, "weather").status_code == 200
    parts = gateway.ready(realm.of_user("carol"))
    assert parts["identity"] == {"ready": True, "detail": realm.server.issuer, "findings": []}
    assert parts["policy"]["ready"]
    assert token.rpartition(".")[2] not in gateway.log
    assert [event.user_id for event in gateway.events()] != []
