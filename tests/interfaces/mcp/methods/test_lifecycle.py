"""initialize, ping and server/discover."""

from typing import Any

import pytest
from mcp_types.methods import validate_server_result
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World

PLAIN = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
CHANGING = {name: {"listChanged": True} for name in ("tools", "resources", "prompts")}
OFFERED = {**PLAIN, **CHANGING, "resources": {"listChanged": True, "subscribe": True}, "logging": {}}


def _hello(version: Any) -> dict[str, Any]:
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


@pytest.mark.parametrize("version", HANDSHAKE_REVISIONS)
async def test_initialize_answers_the_requested_revision(world: World, version: str) -> None:
    result = (await world.legacy("initialize", _hello(version), version=None)).json()["result"]
    validate_server_result("initialize", version, result)
    assert result["protocolVersion"] == version
    known = [name for name in PLAIN if name != "completions" or version != "2024-11-05"]
    assert result["capabilities"] == {name: {} for name in known}
    assert result["serverInfo"]["version"] == "1.2.3"
    assert ("title" in result["serverInfo"]) == (version >= "2025-06-18")


@pytest.mark.parametrize("version", [STATELESS_REVISIONS, "2024-10-07", "1.0.0", "", "2099-01-01"])
async def test_initialize_answers_an_unknown_revision_with_the_newest_that_has_a_handshake(
    world: World, version: str
) -> None:
    result = (await world.legacy("initialize", _hello(version), version=None)).json()["result"]
    assert result["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("version", [None, 5, {}])
async def test_initialize_without_a_version_is_invalid_params(world: World, version: Any) -> None:
    answer = await world.legacy("initialize", _hello(version), version=None)
    assert (answer.status, answer.json()["error"]["code"]) == (200, -32602)


@pytest.mark.parametrize("version", [None, *HANDSHAKE_REVISIONS])
async def test_ping_is_answered_with_an_empty_object_in_the_handshake_era(world: World, version: str | None) -> None:
    answer = await world.legacy("ping", version=version)
    assert (answer.status, answer.json()) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})


async def test_discover_says_who_the_server_is_and_what_it_offers(world: World) -> None:
    result = (await world.modern("server/discover")).json()["result"]
    validate_server_result("server/discover", STATELESS_REVISIONS, result)
    assert result["supportedVersions"] == [STATELESS_REVISIONS]
    assert result["capabilities"] == {**OFFERED, "extensions": {"io.modelcontextprotocol/tasks": {}}}
    assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
    assert result["ttlMs"] >= 0
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["version"] == "1.2.3"
    assert "serverInfo" not in result
