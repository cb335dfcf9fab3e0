"""Any OpenID provider, from the settings to a call: one on a loopback socket publishes metadata and keys."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.infrastructure.oidc.forge import forge, key_set
from tests.infrastructure.rest.loopback import Loopback, Seen, answer, loopback
from tests.interfaces.served import Served, serving

from stoa.domain.operations.tool import ToolAnnotations
from stoa.testing.clock import ManualClock

NOW = int(ManualClock().now().timestamp())
PREFIX = "api://gateway/"


@asynccontextmanager
async def provider(issuer: str = "") -> AsyncGenerator[Loopback]:
    """`issuer`: what it calls itself; empty: its own URL and `/tenant/`."""

    def answered(seen: Seen) -> bytes:
        if seen.target.endswith("/.well-known/openid-configuration"):
            metadata = {"issuer": issuer or f"{at.url}/tenant/", "jwks_uri": f"{issuer or at.url}/keys"}
            return answer(json.dumps(metadata).encode())
        return answer(json.dumps(key_set()).encode())

    async with loopback(answered) as at:
        yield at


async def _read_write(served: Served, claims: dict[str, Any]) -> tuple[int, int, str | None]:
    token = forge(claims | {"exp": NOW + 600, "iat": NOW, "sub": "ada"})
    write = await served.call("put", {}, token)
    return (await served.call("get", {}, token)).status, write.status, write.header("www-authenticate")


def _add_tools(served: Served) -> None:
    @served.gateway.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def get() -> str:
        return "x"

    @served.gateway.tool(annotations=ToolAnnotations(read_only_hint=False))
    async def put() -> str:
        return "x"


async def test_any_provider_is_configured_by_its_issuer_and_the_names_of_its_claims(tmp_path: Path) -> None:
    async with (
        provider() as at,
        serving(
            tmp_path,
            oidc_issuer=f"{at.url}/tenant/",
            oidc_scope_prefix=PREFIX,
            roles_claim="https://acme.example/roles,groups",
            role_mapping={"Stoa Operators": "devops", "staff": "viewer"},
            tenant_claim="org.name",
            environment="prod",
            outbound_networks="127.0.0.0/8",
        ) as served,
    ):
        _add_tools(served)
        metadata = (await served.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["authorization_servers"] == [f"{at.url}/tenant/"]
        assert metadata["scopes_supported"] == [f"{PREFIX}stoa:read"]
        missing = (await served.get("/mcp/v1/tools")).header("www-authenticate") or ""
        assert f'scope="{PREFIX}stoa:read"' in missing
        assert "resource_metadata=" in missing

        claims = {"iss": f"{at.url}/tenant/", "aud": f"{served.settings.url}/mcp", "azp": "c", "org": {"name": "acme"}}
        operator = {**claims, "https://acme.example/roles": ["Stoa Operators"]}
        assert await _read_write(served, operator) == (200, 200, None)
        read, write, challenge = await _read_write(served, {**operator, "scp": f"{PREFIX}stoa:read"})
        assert (read, write) == (200, 403)
        assert f'scope="{PREFIX}stoa:read {PREFIX}stoa:write"' in (challenge or "")
        assert await _read_write(served, {**claims, "groups": ["staff"], "scp": "stoa:read"}) == (200, 403, None)
        assert (await _read_write(served, {**claims, "groups": ["devops", "cpi-admin"]}))[:2] == (403, 403)
        assert served.events[0].tenant == "acme"


async def test_any_provider_whose_metadata_is_another_issuers_is_not_ready_and_says_what_to_set(tmp_path: Path) -> None:
    async with provider() as at, serving(tmp_path, oidc_issuer=f"{at.url}/tenant") as served:
        assert (await served.get("/ready")).status == 503
        assert served.identity.provider is not None
        detail = served.identity.provider.health().detail
        assert f"'{at.url}/tenant/'" in detail
        assert "OIDC_ISSUER" in detail


async def test_keycloak_is_reached_inside_and_named_as_clients_reach_it(tmp_path: Path) -> None:
    issuer = "https://auth.example.org/realms/stoa"
    async with (
        provider(issuer) as at,
        serving(tmp_path, keycloak_url="https://auth.example.org/", keycloak_internal_url=at.url) as served,
    ):
        _add_tools(served)
        assert [seen.target for seen in at.seen] == [
            "/realms/stoa/.well-known/openid-configuration",
            "/realms/stoa/keys",
        ]
        metadata = (await served.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["authorization_servers"] == [issuer]
        claims = {"aud": "stoa-mcp-gateway", "azp": "c", "realm_access": {"roles": ["viewer"]}}
        assert (await _read_write(served, {**claims, "iss": issuer}))[0] == 200
        assert (await _read_write(served, {**claims, "iss": f"{at.url}/realms/stoa"}))[0] == 401


@pytest.mark.parametrize(("door", "path"), [("mcp", "/mcp"), ("rest", "/mcp/v1/tools")])
async def test_an_oversized_token_is_called_oversized_at_every_door(tmp_path: Path, door: str, path: str) -> None:
    async with serving(tmp_path) as served:
        answered = await served.get(path, "x" * 20_000)
        assert answered.status == 401, door
        assert "longer than the 16384 characters" in (answered.header("www-authenticate") or "")
