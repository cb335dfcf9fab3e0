"""What is checked before a method is reached: status, JSON-RPC code, echoed id and content type of every refusal."""

import json
from typing import Any

import pytest
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World, envelope, modern

from stoa.interfaces.wire.bodies import BODY_LIMIT

_ABSENT = object()


def _refusal(answer: Any) -> tuple[int, int, Any]:
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    body = answer.json()
    assert body["jsonrpc"] == "2.0"
    assert "result" not in body
    return answer.status, body["error"]["code"], body.get("id", _ABSENT)


ERAS = pytest.mark.parametrize("version", ["2025-11-25", STATELESS_REVISIONS])


@ERAS
@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_another_content_type_is_415(world: World, version: str, media_type: str | None) -> None:
    message, headers = modern("tools/list")
    answer = await world.post(message, headers=headers | {"content-type": media_type, "mcp-protocol-version": version})
    assert _refusal(answer) == (415, -32600, _ABSENT)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"])
async def test_parameters_and_case_of_the_content_type_do_not_matter(world: World, media_type: str) -> None:
    assert (await world.modern("tools/list", headers={"content-type": media_type})).status == 200


@ERAS
@pytest.mark.parametrize("accept", ["text/html", "image/png, text/plain", "application/xml"])
async def test_a_client_that_takes_neither_json_nor_events_is_406(world: World, version: str, accept: str) -> None:
    message, headers = modern("tools/list")
    answer = await world.post(message, headers=headers | {"accept": accept, "mcp-protocol-version": version})
    assert _refusal(answer) == (406, -32600, _ABSENT)


@ERAS
@pytest.mark.parametrize("declared", [str(BODY_LIMIT + 1), "9" * 30, "9" * 6000])
async def test_a_body_declared_too_large_is_413(world: World, version: str, declared: str) -> None:
    headers = {"content-length": declared, "mcp-protocol-version": version}
    assert _refusal(await world.post(b"{}", headers=headers)) == (413, -32600, _ABSENT)


@ERAS
@pytest.mark.parametrize("chunks", [1, 2, 50])
async def test_a_body_that_turns_out_too_large_is_413(world: World, version: str, chunks: int) -> None:
    body = [b" " * (BODY_LIMIT // chunks + 1)] * chunks
    answer = await world.post(None, body=body, headers={"mcp-protocol-version": version})
    assert _refusal(answer) == (413, -32600, _ABSENT)


async def test_a_body_of_exactly_the_limit_is_read(world: World) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    padded = body + b" " * (BODY_LIMIT - len(body))
    half = len(padded) // 2
    answer = await world.post(None, body=[padded[:half], padded[half:]])
    assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.parametrize("declared", ["\xb2", "-1", "x", ""])
async def test_a_content_length_that_is_no_number_does_no_harm(world: World, declared: str) -> None:
    assert (await world.legacy("ping", headers={"content-length": declared})).status == 200


@ERAS
@pytest.mark.parametrize("body", [b"", b"{", b'{"jsonrpc":', b"\xff\xfe", b"[" * 100_000, b"9" * 10_000, b"<html>"])
async def test_a_body_that_is_not_json_is_a_parse_error_without_id(world: World, version: str, body: bytes) -> None:
    answer = await world.post(None, body=body, headers={"mcp-protocol-version": version})
    assert _refusal(answer) == (400, -32700, _ABSENT)


NO_MESSAGES = [
    None,
    3,
    "ping",
    {},
    {"jsonrpc": "2.0", "id": 1},
    {"jsonrpc": "1.0", "id": 1, "method": "ping"},
    {"id": 1, "method": "ping"},
    {"jsonrpc": "2.0", "id": 1, "method": 5},
    {"jsonrpc": "2.0", "id": 1, "method": None},
    *({"jsonrpc": "2.0", "id": bad, "method": "tools/list"} for bad in (None, True, 1.5, {}, [])),
]


@ERAS
@pytest.mark.parametrize("message", NO_MESSAGES, ids=repr)
async def test_json_that_is_no_message_is_an_invalid_request_without_id(
    world: World, version: str, message: Any
) -> None:
    assert _refusal(await world.post(message, version=version)) == (400, -32600, _ABSENT)


@ERAS
@pytest.mark.parametrize("params", [[], [1], "x", 3, False])
async def test_params_that_are_no_object_are_an_invalid_request(world: World, version: str, params: Any) -> None:
    message = {"jsonrpc": "2.0", "id": "p", "method": "tools/list", "params": params}
    assert _refusal(await world.post(message, version=version)) == (400, -32600, "p")


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", STATELESS_REVISIONS])
async def test_an_array_is_no_message_where_the_revision_has_no_batches(world: World, version: str) -> None:
    batch = [{"jsonrpc": "2.0", "id": 1, "method": "ping"}]
    assert _refusal(await world.post(batch, version=version)) == (400, -32600, _ABSENT)


@pytest.mark.parametrize("version", [None, *HANDSHAKE_REVISIONS, STATELESS_REVISIONS])
@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/cancelled", "notifications/no/such"])
async def test_a_notification_is_accepted_with_an_empty_202(world: World, version: str | None, method: str) -> None:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}}
    answer = await world.post(message, version=version)
    assert (answer.status, answer.body, answer.header("content-length")) == (202, b"", "0")


async def test_a_notification_of_a_version_that_is_not_served_is_refused(world: World) -> None:
    answer = await world.post({"jsonrpc": "2.0", "method": "notifications/x"}, version="2030-01-01")
    assert _refusal(answer) == (400, -32022, _ABSENT)


@pytest.mark.parametrize("response", [{"result": {}}, {"error": {"code": -1, "message": "no"}}])
async def test_a_posted_response_is_accepted_by_the_handshake_era_only(world: World, response: Any) -> None:
    message = {"jsonrpc": "2.0", "id": "srv-1", **response}
    legacy = await world.post(message, version="2025-11-25")
    assert (legacy.status, legacy.body) == (202, b"")
    assert _refusal(await world.post(message, version=STATELESS_REVISIONS)) == (400, -32600, _ABSENT)


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        "x",
        {},
        {"io.modelcontextprotocol/protocolVersion": STATELESS_REVISIONS},
        {"io.modelcontextprotocol/clientCapabilities": {}},
        {**envelope(), "io.modelcontextprotocol/protocolVersion": 20260728},
        {**envelope(), "io.modelcontextprotocol/clientCapabilities": []},
    ],
    ids=repr,
)
async def test_an_incomplete_envelope_is_invalid_params_before_headers_are_looked_at(world: World, meta: Any) -> None:
    wrong_headers = {"mcp-method": None, "mcp-name": "x"}
    for headers in ({}, wrong_headers):
        answer = await world.modern("tools/list", {"_meta": meta}, headers=headers, request_id="e")
        assert _refusal(answer) == (400, -32602, "e")


async def test_a_complete_envelope_needs_no_client_info(world: World) -> None:
    assert (await world.modern("tools/list", {"_meta": envelope()})).status == 200


CALL = {"name": "add", "arguments": {"a": 1}}


@pytest.mark.parametrize(
    ("method", "params", "headers"),
    [
        ("tools/list", {}, {"mcp-method": None}),
        ("tools/list", {}, {"mcp-method": "TOOLS/LIST"}),
        ("tools/list", {}, {"mcp-method": "tools/call"}),
        ("tools/call", CALL, {"mcp-name": None}),
        ("tools/call", CALL, {"mcp-name": "echo"}),
        ("tools/call", CALL, {"mcp-name": "ADD"}),
        ("tools/call", CALL, {"mcp-name": "=?base64?YWRk"}),
        ("tools/call", CALL, {"mcp-name": "=?base64?YWR?="}),
        ("tools/call", CALL, {"mcp-name": "=?base64?/w==?="}),
        ("tools/call", CALL, {"mcp-name": "add\xe9"}),
        ("tools/call", {"name": 5}, {"mcp-name": "5"}),
        ("tools/call", {}, {"mcp-name": "add"}),
        ("resources/read", {"uri": "stoa://x"}, {"mcp-name": "stoa://y"}),
        ("tools/list", {"_meta": envelope("v999")}, {}),
    ],
)
async def test_a_header_that_is_missing_or_says_something_else_is_a_mismatch(
    world: World, method: str, params: Any, headers: dict[str, str | None]
) -> None:
    assert _refusal(await world.modern(method, params, headers=headers, request_id=4)) == (400, -32020, 4)


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name"])
async def test_a_routing_header_sent_twice_is_a_mismatch_even_with_equal_values(world: World, name: str) -> None:
    message, headers = modern("tools/call", CALL)
    pairs = [("content-type", "application/json"), *((key, str(value)) for key, value in headers.items())]
    twice = [*pairs, (name, str(headers[name]))]
    answer = await world.request("POST", "/mcp", headers=twice, body=json.dumps(message).encode())
    assert _refusal(answer) == (400, -32020, 1)


async def test_a_name_header_may_be_in_base64_and_may_have_blanks_around_it(world: World) -> None:
    for value in ("=?base64?YWRk?=", "  add\t"):
        answer = await world.modern("tools/call", CALL, headers={"mcp-name": value})
        assert answer.json()["result"]["content"] == [{"type": "text", "text": "2"}]


async def test_a_name_header_on_a_method_that_has_none_is_ignored(world: World) -> None:
    assert (await world.modern("tools/list", headers={"mcp-name": "anything"})).status == 200


async def test_the_order_of_the_stateless_checks_is_envelope_headers_version_method_params(world: World) -> None:
    unknown = {"_meta": envelope("v9")}
    steps = [
        (await world.modern("no/such", {"_meta": {}}, headers={"mcp-method": "x"}), (400, -32602)),
        (await world.modern("no/such", unknown, headers={"mcp-method": "x"}), (400, -32020)),
        (await world.modern("no/such", unknown, headers={"mcp-protocol-version": "v9"}), (400, -32022)),
        (await world.modern("no/such"), (404, -32601)),
        (await world.modern("tools/list", {"cursor": "nonsense"}), (400, -32602)),
    ]
    assert [_refusal(answer)[:2] for answer, _ in steps] == [expected for _, expected in steps]


@pytest.mark.parametrize("request_id", [0, 1, -5, "1", "", "ü", 2**53 + 1, 10**25])
@ERAS
async def test_the_id_comes_back_with_its_json_type(world: World, request_id: Any, version: str) -> None:
    for method, params in (("tools/list", {}), ("no/such", {}), ("tools/call", {"name": "unknown"})):
        if version == STATELESS_REVISIONS:
            answer = await world.modern(method, params, request_id=request_id)
        else:
            answer = await world.legacy(method, params, request_id=request_id)
        echoed = answer.json()["id"]
        assert (echoed, type(echoed)) == (request_id, type(request_id))


async def test_unknown_members_of_a_message_are_ignored(world: World) -> None:
    message, headers = modern("tools/list", {"future": 1})
    answer = await world.post(message | {"extra": True}, headers=headers)
    assert answer.status == 200
