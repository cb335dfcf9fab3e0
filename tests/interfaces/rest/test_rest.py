"""The REST door."""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import METADATA_URL, SECRET, URL, World, new_world

from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.metering.event import Status
from stoa.interfaces.wire.bodies import BODY_LIMIT


async def _names(world: World, query: str = "", **rest: Any) -> list[str]:
    answer = await world.rest("GET", f"/tools{query}", **rest)
    assert answer.status == 200, answer.body
    return [tool["name"] for tool in answer.json()["tools"]]


async def test_the_root_says_where_the_mcp_endpoint_is(world: World) -> None:
    answer = await world.rest("GET", "/")
    assert answer.json() == {"name": "stoa-mcp-gateway", "version": "1.2.3", "mcpEndpoint": URL}


async def test_a_list_has_tools_a_cursor_and_a_total(world: World) -> None:
    body = (await world.rest("GET", "/tools")).json()
    assert set(body) == {"tools", "nextCursor", "totalCount"}
    assert (body["nextCursor"], body["totalCount"]) == (None, len(body["tools"]))
    note = next(tool for tool in body["tools"] if tool["name"] == "note")
    assert note["description"] == "Write a note down."
    assert (note["tags"], note["category"], note["tenantId"]) == (["notes"], "text", "alpha")
    assert note["inputSchema"]["required"] == ["text"]
    add = next(tool for tool in body["tools"] if tool["name"] == "add")
    assert (add["title"], add["version"], "tenantId" in add) == ("Add", "2", False)


async def test_the_list_holds_what_the_caller_may_call(world: World) -> None:
    assert "wipe" not in await _names(world)
    assert {"note", "rare"} <= set(await _names(world))
    assert "note" not in await _names(world, token="alpha-viewer")
    assert "private" in await _names(world, token="beta-viewer")
    assert await _names(world, token="roleless") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?tag=math", ["add"]),
        ("?tag=math&tag=notes", ["add", "note"]),
        ("?tags=math,notes", ["add", "note"]),
        ("?tags=math&tag=notes", ["add", "note"]),
        ("?tags=,", None),
        ("?tag=nothing", []),
        ("?category=numbers", ["add", "echo"]),
        ("?category=text", ["note"]),
        ("?category=Numbers", []),
        ("?search=NUMBERS", ["add"]),
        ("?search=note", ["note"]),
        ("?search=", None),
        ("?tag=basic&search=object&category=numbers", ["echo"]),
        ("?unknown=1", None),
    ],
)
async def test_a_list_can_be_narrowed(world: World, query: str, expected: list[str] | None) -> None:
    assert await _names(world, query) == (await _names(world) if expected is None else expected)


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_the_pages_together_are_the_whole_list_once(world: World, limit: int) -> None:
    names: list[str] = []
    query = f"?limit={limit}"
    while True:
        page = (await world.rest("GET", f"/tools{query}")).json()
        assert 0 < len(page["tools"]) <= limit
        assert page["totalCount"] == len(await _names(world))
        names += [tool["name"] for tool in page["tools"]]
        if page["nextCursor"] is None:
            break
        query = f"?limit={limit}&cursor={page['nextCursor']}"
    assert names == await _names(world)


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1.5", "9" * 5000])
async def test_a_limit_out_of_range_is_refused_by_name(world: World, limit: str) -> None:
    answer = await world.rest("GET", f"/tools?limit={limit}")
    assert (answer.status, answer.json()["error"]) == (400, "invalid_input")
    assert answer.json()["message"].startswith("limit: ")


async def test_an_admin_chooses_the_tenant_and_others_have_only_their_own(world: World) -> None:
    assert "private" in await _names(world, "?tenant_id=beta", token="admin")
    assert "private" not in await _names(world, token="admin")
    assert "note" in await _names(world, "?tenant_id=alpha")
    assert await _names(world, "?tenant_id=beta") == []
    assert await _names(world, "?tenant_id=nobody") == []
    assert await _names(world, "?tenant_id=", token="alpha-admin") == await _names(world)
    call = await world.rest("POST", "/tools/private/invoke?tenant_id=beta", token="admin")
    assert call.status == 200
    assert world.events[-1].tenant == "beta"
    assert (await world.rest("POST", "/tools/private/invoke?tenant_id=beta")).status == 404


async def test_categories_and_tags_count_the_visible_tools(world: World) -> None:
    categories = (await world.rest("GET", "/tools/categories")).json()
    assert categories == {"categories": [{"name": "numbers", "count": 2}, {"name": "text", "count": 1}]}
    tags = (await world.rest("GET", "/tools/tags")).json()["tags"]
    assert tags == [{"name": "basic", "count": 2}, {"name": "math", "count": 1}, {"name": "notes", "count": 1}]
    beta = (await world.rest("GET", "/tools/tags", token="beta-viewer")).json()["tags"]
    assert {"name": "beta-only", "count": 1} in beta


async def test_one_tool_is_shown_by_name(world: World) -> None:
    answer = await world.rest("GET", "/tools/add")
    assert (answer.status, answer.json()["name"]) == (200, "add")


async def test_another_tenants_tool_looks_exactly_like_one_that_does_not_exist(world: World) -> None:
    for method, path in (("GET", "/tools/{}"), ("POST", "/tools/{}/invoke")):
        theirs = await new_world().rest(method, path.format("private"))
        nobodys = await new_world().rest(method, path.format("unknown"))
        assert theirs.status == nobodys.status == 404
        assert theirs.body.replace(b"private", b"unknown") == nobodys.body
        assert theirs.json()["error"] == "tool_not_found"
        assert [n for n, _ in theirs.headers] == [n for n, _ in nobodys.headers]


async def test_a_call_answers_with_result_and_accounting(world: World) -> None:
    headers = {"x-request-id": "r-1", "x-consumer-id": "reports"}
    answer = await world.rest("POST", "/tools/add/invoke", {"arguments": {"a": 2, "b": 3}}, headers=headers)
    event = world.events[0]
    assert answer.status == 200
    assert answer.json() == {
        "result": {"isError": False, "content": [{"type": "text", "text": "5"}], "structuredContent": 5},
        "toolName": "add",
        "invokedAt": "2026-01-01T00:00:00Z",
        "requestId": "r-1",
        "latencyMs": 0,
        "costUnits": 0.001,
    }
    assert (event.request_id, event.consumer, event.metadata["door"]) == ("r-1", "reports", "rest")


@pytest.mark.parametrize("body", [b"", {}, {"arguments": {}}, {"other": 1}])
async def test_a_call_without_arguments_may_have_any_empty_body(world: World, body: Any) -> None:
    answer = await world.rest("POST", "/tools/table/invoke", body)
    assert answer.json()["result"]["structuredContent"] == {"n": 1, "rows": [1, 2]}
    await world.rest("POST", "/tools/table/invoke", headers={"x-consumer-id": ""})
    assert world.events[-1].consumer == "unknown"


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        *((body, '; write the body as {"arguments": {...}}') for body in (b"{", b"[]", b"3", b"null", b"\xff")),
        *(({"arguments": arguments}, "") for arguments in (None, [], "x")),
    ],
)
async def test_a_body_that_says_nothing_usable_is_refused_and_metered(world: World, body: Any, hint: str) -> None:
    answer = await world.rest("POST", "/tools/table/invoke", body)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_arguments")
    assert answer.json()["violations"] == [{"path": "", "expected": f"a JSON object{hint}"}]
    assert [event.status for event in world.events] == [Status.INVALID]


async def test_whoever_shows_no_token_is_told_how_to(world: World) -> None:
    answer = await world.rest("GET", "/tools", token=None)
    assert answer.status == 401
    assert answer.json() == {
        "error": "not_authenticated",
        "message": "A bearer token is required",
        "hint": "send the header Authorization: Bearer TOKEN",
    }


async def test_a_body_beyond_the_limit_is_refused_and_metered(world: World) -> None:
    for body in ([b" " * (BODY_LIMIT + 1)], [b" " * BODY_LIMIT, b" "]):
        answer = await world.request("POST", "/mcp/v1/tools/add/invoke", body=body)
        assert (answer.status, answer.header("content-type")) == (413, "application/json")
    assert [event.status for event in world.events] == [Status.INVALID] * 2
    declared = {"content-length": str(BODY_LIMIT + 1)}
    stranger = await world.request("POST", "/mcp/v1/tools/add/invoke", headers=declared, token=None)
    assert stranger.status == 401


async def test_invalid_arguments_name_the_path_and_what_was_expected(world: World) -> None:
    answer = await world.rest("POST", "/tools/add/invoke", {"arguments": {"a": "x"}})
    body = answer.json()
    assert (answer.status, body["error"]) == (400, "invalid_arguments")
    (violation,) = body["violations"]
    assert violation["path"] == "/a"
    assert "integer" in violation["expected"]
    assert body["requestId"] == world.events[0].request_id


async def test_an_error_of_the_tool_is_a_result(world: World) -> None:
    for name, text in (
        ("refuses", "no such customer"),
        ("down", "[backend_unavailable]"),
        ("late", "[backend_timeout]"),
    ):
        answer = await world.rest("POST", f"/tools/{name}/invoke")
        assert (answer.status, answer.json()["result"]["isError"]) == (200, True)
        assert text in answer.json()["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/tools"),
        ("GET", "/tools/add"),
        ("GET", "/tools/tags"),
        ("GET", "/tools/categories"),
        ("POST", "/tools/add/invoke"),
    ],
)
async def test_every_route_needs_a_token(world: World, method: str, path: str) -> None:
    stranger = await world.rest(method, path, token=None)
    assert (stranger.status, stranger.json()["error"]) == (401, "not_authenticated")
    assert stranger.header("www-authenticate") == f'Bearer resource_metadata="{METADATA_URL}", scope="stoa:read"'
    forged = await world.rest(method, path, token="forged")
    assert 'error="invalid_token"' in (forged.header("www-authenticate") or "")


async def test_scopes_that_a_caller_could_get_are_a_challenge(world: World) -> None:
    for token in ("alpha-viewer", "alpha-reading"):
        answer = await world.rest("POST", "/tools/wipe/invoke", token=token)
        assert (answer.status, answer.json()["error"]) == (403, "not_permitted")
        assert answer.header("www-authenticate") is None
    answer = await world.rest("POST", "/tools/wipe/invoke", token="root-reading")
    assert (answer.status, answer.json()["error"]) == (403, "not_permitted")
    assert answer.header("www-authenticate") == (
        'Bearer error="insufficient_scope", error_description="needs scope stoa:admin", '
        f'resource_metadata="{METADATA_URL}", scope="stoa:admin stoa:read"'
    )


async def test_a_used_up_limit_is_429_with_the_moment_to_come_back() -> None:
    for path in ("/tools", "/tools/add", "/tools/tags"):
        world = new_world(caller_limits={"tenant-admin": RateLimit(requests_per_minute=6, burst=1)})
        for _ in range(5):
            assert (await world.rest("GET", path)).status == 200
        answer = await world.rest("GET", path)
        assert (answer.status, answer.header("retry-after"), answer.json()["error"]) == (429, "2", "rate_limited")
    world = new_world()
    answers = [await world.rest("POST", "/tools/rare/invoke") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].header("retry-after") == "60"


async def test_a_defect_leaks_nothing_but_an_id_to_quote(world: World) -> None:
    answer = await world.rest("POST", "/tools/crash/invoke")
    assert (answer.status, answer.json()["error"]) == (500, "internal")
    assert SECRET.encode() not in answer.body
    assert world.events[0].event_id in answer.json()["message"]


class Defective(RulesPolicyEngine):
    async def visible(self, principal: Principal, tools: Sequence[Any], door: Any) -> Sequence[Any]:
        raise RuntimeError(SECRET)


async def test_a_defect_outside_of_the_pipeline_is_json_and_leaks_nothing() -> None:
    answer = await new_world(policy=Defective()).rest("GET", "/tools")
    assert (answer.status, answer.json()) == (
        500,
        {"error": "internal_server_error", "message": "Internal Server Error"},
    )


async def test_unknown_paths_and_methods_are_json_too(world: World) -> None:
    for path in ("/nothing", "/tools/a/b", "/tools/a%2Fb/invoke/x"):
        answer = await world.rest("GET", path)
        assert (answer.status, answer.json()) == (404, {"error": "not_found", "message": "Not Found"})
    wrong = await world.rest("DELETE", "/tools/add")
    assert (wrong.status, wrong.json()["error"]) == (405, "method_not_allowed")
    assert "GET" in (wrong.header("allow") or "")
    assert (await world.request("GET", "/")).status == 404


async def test_a_client_that_goes_away_cancels_its_call(world: World) -> None:
    called, gone = asyncio.Event(), asyncio.Event()

    @world.gateway.tool
    async def slow() -> None:
        called.set()
        await asyncio.Event().wait()

    asking = asyncio.create_task(world.request("POST", "/mcp/v1/tools/slow/invoke", gone=gone))
    await called.wait()
    gone.set()
    await asking
    assert [event.status for event in world.events] == [Status.CANCELLED]


WORLD = new_world()
queries = st.dictionaries(
    st.sampled_from(["tenant_id", "tag", "tags", "category", "search", "cursor", "limit", "x"]), st.text(max_size=8)
)


@settings(max_examples=100, deadline=None)
@given(queries.map(lambda pairs: urlencode(pairs, errors="replace")) | st.text(st.characters(max_codepoint=0xFF)))
async def test_any_query_gets_a_well_formed_answer(query: str) -> None:
    for path in ("/tools", "/tools/tags", "/tools/add"):
        answer = await WORLD.rest("GET", f"{path}?{query}", token="admin")
        assert answer.status in {200, 400, 404}
        assert isinstance(answer.json(), dict)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda inner: b'{"arguments": ' + inner + b"}"))
async def test_any_body_gets_a_well_formed_answer_and_one_event(body: bytes) -> None:
    WORLD.forget()
    answer = await WORLD.rest("POST", "/tools/echo/invoke", body, token="admin")
    assert answer.status in {200, 400}
    assert isinstance(answer.json(), dict)
    assert len(WORLD.events) == 1


async def test_a_call_is_explained_with_the_same_words_as_the_command_line_and_not_made(world: World) -> None:
    answer = await world.rest("GET", "/tools/note/explain")
    assert answer.status == 200
    body = answer.json()
    assert body["decision"]["allowed"] is True
    assert [violation["path"] for violation in body["violations"]] == [""]
    answer = await world.rest("POST", "/tools/note/explain", body={"arguments": {"text": "hi"}})
    assert answer.json()["violations"] == []
    assert answer.json()["limits"][0]["name"] == "caller"
    assert (await world.rest("GET", "/tools/private/explain")).status == 404
    assert (await world.rest("GET", "/tools/note/explain", token=None)).status == 401
