"""Real clients log in by themselves at a real Keycloak with the realm that ships, and list, call, step up, are refused,
refresh and log in again. Nothing but the person at the browser is scripted."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp import Client as McpClient
from mcp import MCPError
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from tests.e2e.manifests import tool, write
from tests.e2e.npm_clients import INSTALL_SECONDS, install
from tests.e2e.processes import GatewayProcess, Upstream, serving, until
from tests.live.browser import callback_of
from tests.live.keycloak_client import REDIRECT, Realm
from tests.live.login_clients import (
    BIN,
    CLIENTS,
    PRE_REGISTERED,
    Client,
    Person,
    codex,
    codex_login,
    fastmcp,
    mcp_remote,
    typescript,
)

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + 200)

Starter = Callable[[str, Person, str | None], AbstractContextManager[Client]]
STARTERS: dict[str, Starter] = {
    "typescript-v1": partial(typescript, "v1"),
    "typescript-v2": partial(typescript, "v2"),
    "fastmcp": fastmcp,
    "mcp-remote": mcp_remote,
}
SHORT = 4
"""Seconds: the lifetime of a token that a test waits to expire."""


@pytest.fixture(scope="module")
def realm(keycloak) -> Realm:
    return Realm(keycloak)


@pytest.fixture(scope="module")
def gateway(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {"KEYCLOAK_URL": realm.server.url, "ENVIRONMENT": "prod", "OUTBOUND_NETWORKS": "127.0.0.0/8"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), settings)
    with Upstream().listening() as upstream:
        reads = tool("weather", f"{upstream.url}/weather", annotations={"readOnlyHint": True})
        writes = tool("note", f"{upstream.url}/note", annotations={"readOnlyHint": False})
        destroys = tool("purge", f"{upstream.url}/purge", annotations={"destructiveHint": True})
        write(gateway, "tools.yaml", reads, writes, destroys)
        with serving(gateway):
            yield gateway


@pytest.fixture
def endpoint(gateway: GatewayProcess) -> str:
    return f"{gateway.url}/mcp"


@pytest.fixture
def dave(tmp_path: Path) -> Person:
    """devops: may read and write."""
    return Person(tmp_path / "dave", "dave")


@pytest.fixture
def bob(tmp_path: Path) -> Person:
    """viewer: may read."""
    return Person(tmp_path / "bob", "bob")


@pytest.fixture(scope="module")
def _programs() -> None:
    install(CLIENTS)


programs = pytest.mark.usefixtures("_programs")
each_client = pytest.mark.parametrize("client", STARTERS)


def wait_until_expired(realm: Realm, gateway: GatewayProcess) -> None:
    """What was issued before this, with the same lifetime, has expired afterwards, and clients think so too: by their
    clock it takes a second longer."""
    token = realm.of_user("bob")
    until(lambda: gateway.get("/mcp/v1/tools", token)[0] == 401, within=60)
    expired = time.monotonic()
    until(lambda: time.monotonic() > expired + 1, within=10)


@programs
@each_client
def test_login_by_registration_lists_and_calls(endpoint: str, dave: Person, client: str) -> None:
    with STARTERS[client](endpoint, dave, None) as connected:
        assert connected.list() == {"weather"}
        assert connected.call("weather") is None
    assert dave.logins == 1


@programs
@each_client
def test_login_as_the_registered_client_steps_up_and_ends_where_the_roles_do(
    endpoint: str, dave: Person, bob: Person, client: str
) -> None:
    with STARTERS[client](endpoint, dave, PRE_REGISTERED) as connected:
        assert connected.list() == {"weather"}
        assert dave.logins == 1
        if client == "typescript-v1":  # it uses its refresh token, which widens nothing, instead of asking its user
            assert "after trying upscoping" in (connected.call("note") or "")
        else:
            assert connected.call("note") is None or connected.call("note") is None  # mcp-remote loses the first call
            assert connected.list() == {"weather", "note"}
        logins = dave.logins
        assert "stoa:admin" in (connected.call("purge") or "")
        assert dave.logins == logins, "nobody is sent to log in for a scope that the roles do not give"
    with STARTERS[client](endpoint, bob, PRE_REGISTERED) as connected:
        assert connected.list() == {"weather"}
        assert "stoa:write" in (connected.call("note") or "")
    assert bob.logins == 1


@programs
@each_client
def test_login_is_refreshed_and_repeated_when_it_cannot_be(
    endpoint: str, realm: Realm, dave: Person, client: str, gateway: GatewayProcess
) -> None:
    with realm.short_lived_tokens(SHORT), STARTERS[client](endpoint, dave, PRE_REGISTERED) as connected:
        assert connected.call("weather") is None
        wait_until_expired(realm, gateway)
        assert connected.call("weather") is None
        assert dave.logins == 1
        realm.end_sessions("dave")
        wait_until_expired(realm, gateway)
        assert connected.call("weather") is None or connected.call("weather") is None  # as above
        assert dave.logins >= 2


@programs
def test_login_of_codex_lists_calls_and_widens_its_scopes(endpoint: str, dave: Person) -> None:
    assert "Successfully logged in" in codex_login(endpoint, dave)
    assert dave.logins == 1
    with codex(dave) as connected:
        assert connected.list() == {"weather"}
        assert connected.call("weather") is None
        assert "nsufficient scope" in (connected.call("note") or "")
        assert "stoa:admin" in (connected.call("purge") or "")
    assert "Successfully logged in" in codex_login(endpoint, dave, "--scopes", "stoa:read,stoa:write")
    with codex(dave) as connected:
        assert connected.list() == {"weather", "note"}
        assert connected.call("note") is None


@programs
def test_login_of_codex_is_refreshed_and_reported_as_missing_when_it_cannot_be(
    endpoint: str, realm: Realm, dave: Person, gateway: GatewayProcess
) -> None:
    with realm.short_lived_tokens(SHORT):
        codex_login(endpoint, dave)
        wait_until_expired(realm, gateway)
        with codex(dave) as connected:
            assert connected.call("weather") is None
        realm.end_sessions("dave")
        wait_until_expired(realm, gateway)
        with codex(dave) as connected:
            assert connected.call("weather") is not None
    assert dave.logins == 1


@programs
@pytest.mark.parametrize("options", [[], ["--client-id", PRE_REGISTERED, "--callback-port", "43117"]])
def test_login_of_claude_code_connects_is_refreshed_and_is_asked_for_again(
    endpoint: str, realm: Realm, dave: Person, gateway: GatewayProcess, options: list[str]
) -> None:
    claude = BIN / "claude"
    dave.run(claude, "mcp", "add", "--transport", "http", *options, "stoa", endpoint)
    assert "Needs authentication" in dave.run(claude, "mcp", "list")
    with realm.short_lived_tokens(SHORT):
        assert "Authenticated" in dave.run_at_terminal(claude, "mcp", "login", "stoa")
        assert "Connected" in dave.run(claude, "mcp", "get", "stoa")
        wait_until_expired(realm, gateway)
        assert "Connected" in dave.run(claude, "mcp", "list")
        assert dave.logins == 1
        realm.end_sessions("dave")
        wait_until_expired(realm, gateway)
        assert "Needs authentication" in dave.run(claude, "mcp", "list")


@programs
def test_login_at_a_development_gateway_ends_with_how_to_get_a_token_which_then_connects(
    dave: Person, tmp_path: Path
) -> None:
    claude, home = BIN / "claude", tmp_path / "development"
    home.mkdir()
    with serving(GatewayProcess(home)) as gateway:
        add = [claude, "mcp", "add", "--transport", "http", "stoa", f"{gateway.url}/mcp"]
        dave.run(*add)
        told = dave.run(claude, "mcp", "list")
        assert "stoa token" in told
        assert "ECONNREFUSED" not in told
        dave.run(claude, "mcp", "remove", "stoa")
        dave.run(*add, "--header", f"Authorization: Bearer {gateway.token('viewer')}")
        assert "Connected" in dave.run(claude, "mcp", "list")
    assert dave.logins == 0


class OfficialPython:
    """The official Python client with its own OAuth provider; what it keeps is in memory."""

    def __init__(self, user: str) -> None:
        self.user, self.logins = user, 0
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def open_browser(self, url: str) -> None:
        self.logins += 1
        self._callback = await asyncio.to_thread(callback_of, url, self.user)

    async def callback(self) -> AuthorizationCodeResult:
        answer = {name: values[0] for name, values in parse_qs(urlsplit(self._callback).query).items()}
        assert "error" not in answer, answer
        return AuthorizationCodeResult.model_validate(answer)

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncGenerator[McpClient]:
        metadata = OAuthClientMetadata.model_validate({"redirect_uris": [REDIRECT], "client_name": "stoa-live-test"})
        auth = OAuthClientProvider(url, metadata, self, self.open_browser, self.callback)
        async with httpx2.AsyncClient(auth=auth, trust_env=False, timeout=20) as http:
            transport = streamable_http_client(url, http_client=http)
            async with McpClient(transport, read_timeout_seconds=30) as client:
                yield client


async def _problem(client: McpClient, name: str) -> str | None:
    try:
        return "tool error" if (await client.call_tool(name, {})).is_error else None
    except MCPError as refused:
        return str(refused)


async def test_login_of_the_python_sdk_by_registration_lists_calls_and_is_refreshed(
    endpoint: str, realm: Realm, gateway: GatewayProcess
) -> None:
    dave = OfficialPython("dave")
    with realm.short_lived_tokens(SHORT):
        async with dave.connected(endpoint) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["weather"]
            first = dave.tokens
            await asyncio.to_thread(wait_until_expired, realm, gateway)
            assert await _problem(client, "weather") is None
            assert dave.tokens != first
            assert dave.logins == 1
            realm.end_sessions("dave")
            await asyncio.to_thread(wait_until_expired, realm, gateway)
            assert await _problem(client, "weather") is None
            assert dave.logins == 2


async def test_login_of_the_python_sdk_as_the_registered_client_steps_up_and_ends_where_the_roles_do(
    endpoint: str,
) -> None:
    for user, note, logins in (("dave", None, 2), ("bob", "stoa:write", 1)):
        person = OfficialPython(user)
        person.client = OAuthClientInformationFull.model_validate(
            {"client_id": PRE_REGISTERED, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
        )
        async with person.connected(endpoint) as client:
            assert await _problem(client, "weather") is None
            assert person.logins == 1
            problem = await _problem(client, "note")
            assert problem is None if note is None else note in (problem or "")
            assert "stoa:admin" in (await _problem(client, "purge") or "")
        assert person.logins == logins
