"""RFC 9728 metadata: what a client reads before it has a token."""

import pytest
from tests.interfaces.doors import METADATA_URL, PRINCIPALS, URL, World, new_world, send

PATHS = pytest.mark.parametrize(
    "path", ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
)


@PATHS
async def test_the_metadata_stands_at_both_paths_without_a_token(world: World, path: str) -> None:
    answer = await send(world.app, "GET", path)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.json() == {
        "resource": URL,
        "authorization_servers": ["https://issuer.example"],
        "scopes_supported": ["stoa:read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "STOA MCP Gateway",
    }


async def test_the_challenge_points_to_the_metadata(world: World) -> None:
    answer = await world.legacy("ping", token=None)
    assert METADATA_URL.endswith("/.well-known/oauth-protected-resource/mcp")
    assert f'resource_metadata="{METADATA_URL}"' in (answer.header("www-authenticate") or "")


@PATHS
@pytest.mark.parametrize("origin", ["https://app.example", "https://any.example", "http://localhost:6274"])
async def test_a_client_in_any_web_page_may_read_the_metadata(world: World, path: str, origin: str) -> None:
    answer = await send(world.app, "GET", path, headers={"origin": origin})
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, origin)
    asked = {"origin": origin, "access-control-request-headers": "mcp-protocol-version"}
    preflight = await send(world.app, "OPTIONS", path, headers=asked)
    assert (preflight.status, preflight.header("access-control-allow-origin")) == (204, origin)


@PATHS
async def test_an_open_gateway_has_no_metadata(path: str) -> None:
    world = new_world(anonymous=PRINCIPALS["beta-viewer"])
    assert (await send(world.app, "GET", path)).status == 404
