"""tools/list and tools/call: what each revision gets to see, held against the official models."""

from typing import Any

import pytest
from mcp_types.methods import validate_server_result
from tests.interfaces.doors import HANDSHAKE_REVISIONS, SECRET, STATELESS_REVISIONS, World, new_world

from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.domain.metering.event import Status

REVISIONS = (*HANDSHAKE_REVISIONS, STATELESS_REVISIONS)
EVERY = pytest.mark.parametrize("version", REVISIONS)


async def _ask(world: World, version: str, method: str, params: dict[str, Any] | None = None, **rest: Any) -> Any:
    if version == STATELESS_REVISIONS:
        return await world.modern(method, params, **rest)
    return await world.legacy(method, params, version=version, **rest)


async def _result(world: World, version: str, method: str, params: dict[str, Any] | None = None, **rest: Any) -> Any:
    answer = await _ask(world, version, method, params, **rest)
    assert answer.status == 200, answer.body
    result = answer.json()["result"]
    validate_server_result(method, version, result)
    return result


async def _call(world: World, version: str, name: str, arguments: Any = None, **rest: Any) -> Any:
    params: dict[str, Any] = {"name": name}
    if arguments is not None:
        params["arguments"] = arguments
    return await _result(world, version, "tools/call", params, **rest)


# --- listing


@EVERY
async def test_a_list_holds_what_the_caller_may_call_in_the_order_of_names(world: World, version: str) -> None:
    for token, expected in {
        "alpha-viewer": {"rare"},
        "alpha-admin": {"rare", "note"},
        "beta-viewer": {"private"},
        "roleless": None,
        "admin": set[str](),
    }.items():
        names = [tool["name"] for tool in (await _result(world, version, "tools/list", token=token))["tools"]]
        assert names == sorted(names)
        if expected is None:
            assert names == []
        else:
            assert set(names) & {"rare", "note", "wipe", "private"} == expected
            assert "add" in names


@EVERY
async def test_an_admin_lists_the_tenant_that_the_url_names(world: World, version: str) -> None:
    async def names(token: str, query: str) -> set[str]:
        listed = await _result(world, version, "tools/list", token=token, query=query)
        return {tool["name"] for tool in listed["tools"]}

    assert {"note", "wipe", "rare"} <= await names("admin", "?tenant_id=alpha")
    assert "private" in await names("admin", "?tenant_id=alpha&tenant_id=beta")
    assert await names("alpha-admin", "?tenant_id=beta") == set()
    assert await names("alpha-admin", "?tenant_id=nobody") == set()
    assert "note" in await names("alpha-admin", "?tenant_id=alpha")
    assert "note" in await names("alpha-admin", "?tenant_id=")


@EVERY
async def test_an_entry_is_written_as_its_revision_has_it(world: World, version: str) -> None:
    listed = (await _result(world, version, "tools/list"))["tools"]
    add = next(tool for tool in listed if tool["name"] == "add")
    table = next(tool for tool in listed if tool["name"] == "table")
    assert add["description"] == "Add two numbers."
    assert add["inputSchema"]["required"] == ["a"]
    assert add.get("title") == ("Add" if version >= "2025-06-18" else None)
    match version:
        case "2024-11-05":
            assert "annotations" not in add
        case "2025-03-26":
            assert add["annotations"] == {"title": "Add", "readOnlyHint": True}
        case _:
            assert add["annotations"] == {"readOnlyHint": True}
    assert ("outputSchema" in table) == (version >= "2025-06-18")
    assert "annotations" not in next(tool for tool in listed if tool["name"] == "listing")


@EVERY
async def test_cache_hints_and_identity_belong_to_the_stateless_era(world: World, version: str) -> None:
    result = await _result(world, version, "tools/list")
    if version == STATELESS_REVISIONS:
        assert (result["resultType"], result["cacheScope"], result["ttlMs"]) == ("complete", "private", 60_000)
        assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "stoa-mcp-gateway"
    else:
        assert set(result) == {"tools"}


@EVERY
@pytest.mark.parametrize("page_size", [1, 2, 5, 100])
async def test_the_pages_together_are_the_whole_list_once(version: str, page_size: int) -> None:
    world = new_world(page_size=page_size)
    whole = [tool["name"] for tool in (await _result(new_world(), version, "tools/list"))["tools"]]
    names: list[str] = []
    cursors: set[str] = set()
    params: dict[str, Any] = {}
    while True:
        page = await _result(world, version, "tools/list", params)
        assert 0 < len(page["tools"]) <= page_size
        names += [tool["name"] for tool in page["tools"]]
        if "nextCursor" not in page:
            break
        assert page["nextCursor"] not in cursors
        cursors.add(page["nextCursor"])
        params = {"cursor": page["nextCursor"]}
    assert names == whole


@EVERY
async def test_a_page_stays_right_when_the_tool_that_its_cursor_names_is_gone(version: str) -> None:
    full, without = new_world(page_size=1), World(page_size=1)
    cursor = (await _result(full, version, "tools/list"))["nextCursor"]
    without.gateway.tool(name="zebra")(_zebra)
    rest = await _result(without, version, "tools/list", {"cursor": cursor})
    assert [tool["name"] for tool in rest["tools"]] == ["zebra"]


async def _zebra() -> None:
    pass


@EVERY
@pytest.mark.parametrize("cursor", ["", "add", "!!!", 5, ["x"]])
async def test_a_cursor_of_someone_else_is_invalid_params(world: World, version: str, cursor: Any) -> None:
    answer = await _ask(world, version, "tools/list", {"cursor": cursor}, request_id="c")
    assert answer.status == (400 if version == STATELESS_REVISIONS else 200)
    assert (answer.json()["error"]["code"], answer.json()["id"]) == (-32602, "c")


# --- calling


@EVERY
async def test_structured_content_is_sent_where_the_revision_can_carry_it(world: World, version: str) -> None:
    number = await _call(world, version, "add", {"a": 1, "b": 2})
    table = await _call(world, version, "table", {})
    listing = await _call(world, version, "listing")
    assert [block["text"] for block in (number["content"][0], listing["content"][0])] == ["3", "[1,2,3]"]
    assert "isError" not in number
    assert table.get("structuredContent") == ({"n": 1, "rows": [1, 2]} if version >= "2025-06-18" else None)
    assert number.get("structuredContent") == (3 if version == STATELESS_REVISIONS else None)
    assert listing.get("structuredContent") == ([1, 2, 3] if version == STATELESS_REVISIONS else None)


@EVERY
async def test_content_blocks_are_those_that_the_revision_knows(world: World, version: str) -> None:
    text, image, audio, csv, binary = (await _call(world, version, "media"))["content"]
    assert text == {"type": "text", "text": "hello"}
    assert image == {"type": "image", "data": "aW1n", "mimeType": "image/png"}
    if version == "2024-11-05":
        assert (audio["type"], "audio/wav" in audio["text"]) == ("text", True)
    else:
        assert audio == {"type": "audio", "data": "c25k", "mimeType": "audio/wav"}
    assert csv == {"type": "resource", "resource": {"uri": "stoa://r/1", "mimeType": "text/csv", "text": "a,b"}}
    assert binary == {"type": "resource", "resource": {"uri": "stoa://r/2", "blob": "AAE="}}


@EVERY
async def test_an_error_of_the_tool_is_a_result_without_structured_content(world: World, version: str) -> None:
    result = await _call(world, version, "refuses")
    assert result["isError"] is True
    assert result["content"] == [{"type": "text", "text": "no such customer"}]
    assert "structuredContent" not in result


@EVERY
@pytest.mark.parametrize(("name", "status"), [("down", "error"), ("nonsense", "error"), ("late", "timeout")])
async def test_trouble_behind_the_tool_is_an_error_result(world: World, version: str, name: str, status: str) -> None:
    result = await _call(world, version, name)
    assert result["isError"] is True
    assert result["content"][0]["text"].endswith("]")
    assert [event.status for event in world.events] == [Status(status)]


@EVERY
async def test_invalid_arguments_are_a_result_that_says_which_value_is_wrong(world: World, version: str) -> None:
    result = await _call(world, version, "add", {"a": "x", "c": 1})
    assert result["isError"] is True
    assert "/a: " in result["content"][0]["text"]
    assert "integer" in result["content"][0]["text"]
    assert [event.status for event in world.events] == [Status.INVALID]


@EVERY
@pytest.mark.parametrize("arguments", [[], "x", 5, True])
async def test_arguments_that_are_no_object_are_invalid_params(world: World, version: str, arguments: Any) -> None:
    answer = await _ask(world, version, "tools/call", {"name": "add", "arguments": arguments})
    assert answer.status == (400 if version == STATELESS_REVISIONS else 200)
    assert answer.json()["error"]["code"] == -32602
    assert "(root)" in answer.json()["error"]["message"]
    assert [event.status for event in world.events] == [Status.INVALID]


@EVERY
@pytest.mark.parametrize("arguments", [{}, {"arguments": None}, {"arguments": {}}])
async def test_arguments_may_be_left_out(world: World, version: str, arguments: dict[str, Any]) -> None:
    assert "isError" not in await _result(world, version, "tools/call", {"name": "table", **arguments})


@EVERY
async def test_numbers_that_came_as_text_are_taken(world: World, version: str) -> None:
    assert (await _call(world, version, "add", {"a": "40", "b": "2"}))["content"][0]["text"] == "42"


@EVERY
async def test_an_unknown_tool_is_invalid_params(world: World, version: str) -> None:
    answer = await _ask(world, version, "tools/call", {"name": "nö/such", "arguments": {}})
    assert answer.status == (400 if version == STATELESS_REVISIONS else 200)
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == (-32602, "Unknown tool: nö/such")


@EVERY
async def test_another_tenants_tool_looks_exactly_like_one_that_does_not_exist(version: str) -> None:
    for arguments in ({}, {"x": 1}, [], None):
        worlds = new_world(), new_world()
        answers = [
            await _ask(world, version, "tools/call", {"name": name, "arguments": arguments})
            for world, name in zip(worlds, ("private", "unknown"), strict=True)
        ]
        theirs, nobodys = answers
        assert theirs.status == nobodys.status
        assert theirs.body.replace(b"private", b"unknown") == nobodys.body
        assert [(n, v) for n, v in theirs.headers] == [(n, v) for n, v in nobodys.headers]
        assert worlds[0].events[0].status == worlds[1].events[0].status == Status.INVALID


@EVERY
async def test_a_name_that_is_no_text_is_invalid_params_and_no_invocation(world: World, version: str) -> None:
    answer = await _ask(world, version, "tools/call", {"arguments": {}}, headers={"mcp-name": None})
    assert answer.json()["error"]["code"] == (-32020 if version == STATELESS_REVISIONS else -32602)
    assert world.events == []


@EVERY
async def test_a_defect_of_a_tool_leaks_nothing_but_an_id_to_quote(world: World, version: str) -> None:
    answer = await _ask(world, version, "tools/call", {"name": "crash"})
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (200, -32603)
    assert SECRET.encode() not in answer.body
    assert world.events[0].event_id in error["message"]
    assert world.events[0].status is Status.ERROR


class _BrokenPolicy(RulesPolicyEngine):
    async def visible(self, *_: Any) -> Any:
        raise RuntimeError(SECRET)


@EVERY
async def test_a_defect_in_listing_leaks_nothing(version: str) -> None:
    answer = await _ask(new_world(policy=_BrokenPolicy()), version, "tools/list", request_id="z")
    assert (answer.status, answer.json()["error"]["code"], answer.json()["id"]) == (200, -32603, "z")
    assert SECRET.encode() not in answer.body


@EVERY
async def test_a_denial_that_no_other_token_would_change_is_an_error_result(version: str) -> None:
    never = Rule("office-hours", "deny", lambda query: query.operation.identifier == "note", "the office is closed")
    world = new_world(policy=RulesPolicyEngine((never, *DEFAULT_RULES)))
    result = await _call(world, version, "note", {"text": "x"})
    assert result["isError"] is True
    assert "the office is closed" in result["content"][0]["text"]
    assert [event.status for event in world.events] == [Status.UNAUTHORIZED]


@EVERY
async def test_the_callers_ids_reach_the_metering_event(world: World, version: str) -> None:
    headers = {"x-consumer-id": "claude-desktop", "x-request-id": "r-17"}
    await _ask(world, version, "tools/call", {"name": "table"}, headers=headers)
    await _ask(world, version, "tools/call", {"name": "table"}, headers={"x-consumer-id": ""})
    named, unnamed = world.events
    assert (named.consumer, named.request_id) == ("claude-desktop", "r-17")
    assert (unnamed.consumer, unnamed.request_id) == ("unknown", unnamed.event_id)
    assert (named.tenant, named.user_id, named.tool) == ("alpha", "ann", "table")
    assert named.metadata["door"] == "mcp"
