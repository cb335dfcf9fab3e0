"""Two eras on one URL: which request is served by which rules (one test for each row of the routing table)."""

from typing import Any

import pytest
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World, envelope, modern, new_world


def _error(answer: Any) -> tuple[int, int, Any]:
    assert answer.header("content-type") == "application/json"
    body = answer.json()
    return answer.status, body["error"]["code"], body.get("id")


async def test_a_modern_request_with_its_envelope_is_served(world: World) -> None:
    answer = await world.modern("tools/list", request_id="d")
    assert (answer.status, answer.json()["id"]) == (200, "d")
    assert answer.json()["result"]["resultType"] == "complete"


async def test_a_modern_header_without_envelope_is_invalid_params(world: World) -> None:
    answer = await world.modern("tools/list", {"_meta": {}}, request_id=7)
    assert _error(answer) == (400, -32602, 7)
    _, headers = modern("tools/list")
    bare = await world.post({"jsonrpc": "2.0", "id": 8, "method": "tools/list"}, headers=headers)
    assert _error(bare) == (400, -32602, 8)


@pytest.mark.parametrize("version", ["v999.0.0", "2025-11-26", ""])
async def test_an_unknown_header_belongs_to_the_stateless_era_whatever_the_body(world: World, version: str) -> None:
    assert _error(await world.legacy("tools/list", version=version)) == (400, -32022, 1)
    assert _error(await world.legacy("initialize", {"protocolVersion": "2025-11-25"}, version=version))[0] == 400


async def test_a_modern_envelope_without_header_is_a_header_mismatch(world: World) -> None:
    assert _error(await world.modern("tools/list", headers={"mcp-protocol-version": None})) == (400, -32020, 1)


@pytest.mark.parametrize("version", HANDSHAKE_REVISIONS)
async def test_a_modern_envelope_with_a_legacy_header_is_a_header_mismatch(world: World, version: str) -> None:
    answer = await world.modern("tools/list", headers={"mcp-protocol-version": version}, request_id="x")
    assert _error(answer) == (400, -32020, "x")


@pytest.mark.parametrize("version", ["v999.0.0", "2027-01-01", "2026-07-28x", ""])
async def test_an_unknown_version_in_header_and_envelope_names_the_supported_ones(world: World, version: str) -> None:
    answer = await world.modern("tools/list", {"_meta": envelope(version)}, headers={"mcp-protocol-version": version})
    assert _error(answer) == (400, -32022, 1)
    assert answer.json()["error"]["data"] == {"supported": [STATELESS_REVISIONS], "requested": version}


@pytest.mark.parametrize("version", [None, *HANDSHAKE_REVISIONS])
async def test_initialize_of_the_handshake_era_is_answered_whatever_the_header(
    world: World, version: str | None
) -> None:
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    answer = await world.legacy("initialize", params, version=version)
    assert answer.status == 200
    assert answer.json()["result"]["protocolVersion"] == "2025-06-18"


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "no/such"])
async def test_a_method_that_the_stateless_era_has_not_is_404_with_a_json_body(world: World, method: str) -> None:
    assert _error(await world.modern(method, request_id=3)) == (404, -32601, 3)


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen", "no/such", "roots/list"])
async def test_a_method_that_the_handshake_era_has_not_is_a_json_rpc_error_on_http_200(
    world: World, method: str
) -> None:
    assert _error(await world.legacy(method, request_id="m")) == (200, -32601, "m")


@pytest.mark.parametrize("http_method", ["GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("version", [None, STATELESS_REVISIONS, "2025-11-25"])
async def test_any_other_http_method_is_told_to_post(world: World, http_method: str, version: str | None) -> None:
    headers = {} if version is None else {"mcp-protocol-version": version}
    answer = await world.request(http_method, "/mcp", headers={**headers, "accept": "text/event-stream"})
    assert (answer.status, answer.header("allow")) == (405, "POST")


async def test_session_headers_mean_nothing_and_no_session_is_minted(world: World) -> None:
    stale = {"mcp-session-id": "gone", "last-event-id": "s1:4"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    for answer in (
        await world.modern("tools/list", headers=stale),
        await world.legacy("tools/list", headers=stale),
        await world.legacy("initialize", params, headers=stale),
    ):
        assert answer.status == 200
        assert answer.header("mcp-session-id") is None


async def test_both_eras_are_served_side_by_side_with_the_same_id(world: World) -> None:
    handshake = await world.legacy("tools/list", request_id=1)
    stateless = await world.modern("tools/list", request_id=1)
    assert "resultType" not in handshake.json()["result"]
    assert stateless.json()["result"]["resultType"] == "complete"


async def test_every_row_of_the_routing_table_is_right_on_one_url_in_one_run_with_a_session_open() -> None:
    world = new_world(has_sessions=True)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    session = (await world.legacy("initialize", hello, version=None)).header("mcp-session-id") or ""
    mine, stale = {"mcp-session-id": session}, {"mcp-session-id": "stale", "last-event-id": "s:0"}
    without_envelope = await world.legacy("tools/list", version=STATELESS_REVISIONS, headers=mine)
    rows = [
        (await world.modern("tools/list", headers=stale), 200, None),
        (without_envelope, 400, -32602),
        (await world.modern("tools/list", headers={**mine, "mcp-protocol-version": None}), 400, -32020),
        (await world.modern("tools/list", headers={**mine, "mcp-protocol-version": "2025-11-25"}), 400, -32020),
        (await world.modern("initialize", hello, headers=mine), 404, -32601),
        (await world.legacy("initialize", hello, version=None, headers=stale), 200, None),
        (await world.legacy("initialize", hello, version="2025-03-26"), 200, None),
        (await world.legacy("tools/list", headers=mine), 200, None),
        (await world.legacy("tools/list", version=None, headers=mine), 200, None),
        (await world.legacy("tools/list", headers=stale), 404, -32600),
        (await world.legacy("ping", version=None, headers=stale), 404, -32600),
        (await world.legacy("no/such", headers=mine), 200, -32601),
    ]
    for number, (answer, status, code) in enumerate(rows):
        error = answer.json().get("error", {})
        assert (number, answer.status, error.get("code")) == (number, status, code)
    assert [number for number, (answer, _, _) in enumerate(rows) if answer.header("mcp-session-id")] == [5, 6]


@pytest.mark.parametrize("http_method", ["GET", "DELETE"])
@pytest.mark.parametrize("version", [STATELESS_REVISIONS, "v999", "2027-01-01", ""])
async def test_streams_and_ends_are_of_the_handshake_era_alone(http_method: str, version: str) -> None:
    world = new_world(has_sessions=True)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    session = (await world.legacy("initialize", hello, version=None)).header("mcp-session-id") or ""
    headers = {"mcp-session-id": session, "mcp-protocol-version": version, "accept": "text/event-stream"}
    answer = await world.request(http_method, "/mcp", headers=headers)
    assert (answer.status, answer.header("allow")) == ((405, "POST") if version == STATELESS_REVISIONS else (400, None))
    assert (await world.legacy("ping", headers={"mcp-session-id": session})).status == 200
