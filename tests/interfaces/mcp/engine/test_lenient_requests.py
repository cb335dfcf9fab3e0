"""Requests as clients in the field write them."""

from typing import Any

import pytest
from tests.interfaces.doors import STATELESS_REVISIONS, World, new_world

from stoa.interfaces.wire.revisions import HANDSHAKE_REVISIONS

SUPPORTED = [STATELESS_REVISIONS, *reversed(HANDSHAKE_REVISIONS)]
METHODS = pytest.mark.parametrize(
    "method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"]
)


@METHODS
async def test_cursor_of_null_is_the_first_page(method: str) -> None:
    world = new_world(page_size=1)
    assert (await world.legacy(method, {"cursor": None})).body == (await world.legacy(method, {})).body
    assert (await world.modern(method, {"cursor": None})).body == (await world.modern(method, {})).body
    assert "error" in (await world.legacy(method, {"cursor": ""})).json()


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_slash_behind_mcp_changes_nothing(world: World, path: str) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}'
    answer = await world.request("POST", path, headers={"content-type": "application/json", "accept": "*/*"}, body=body)
    assert (answer.status, answer.json()["result"]) == (200, {})
    metadata = await world.request("GET", f"/.well-known/oauth-protected-resource{path}")
    assert metadata.json()["resource"].endswith("/mcp")


@pytest.mark.parametrize("version", ["2099-01-01", "1", "", "latest"])
@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 5, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": {"_meta": {}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        [{"jsonrpc": "2.0", "id": 5, "method": "ping"}],
    ],
)
async def test_unknown_protocol_version_is_refused_with_those_that_are_supported(
    world: World, version: str, message: Any
) -> None:
    answer = await world.post(message, version=version)
    _is_refused(answer, version)
    if isinstance(message, dict) and "id" in message:
        assert answer.json()["id"] == 5


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_unknown_protocol_version_is_refused_without_a_body_too(method: str) -> None:
    headers = {"mcp-protocol-version": "2099-01-01", "accept": "text/event-stream"}
    _is_refused(await new_world(has_sessions=True).request(method, "/mcp", headers=headers), "2099-01-01")


def _is_refused(answer: Any, version: str) -> None:
    error = answer.json()["error"]
    assert answer.status == 400
    assert error["code"] == -32022
    assert "Unsupported protocol version" in error["message"]
    assert error["data"] == {"supported": SUPPORTED, "requested": version}
