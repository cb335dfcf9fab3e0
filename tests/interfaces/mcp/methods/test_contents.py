"""Resources, prompts and completion: what each revision gets to see, held against the official models."""

from collections.abc import Mapping
from typing import Any

import pytest
from mcp_types.methods import validate_server_result
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World, new_world

from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.metering.event import Status

EVERY = pytest.mark.parametrize("version", (*HANDSHAKE_REVISIONS, STATELESS_REVISIONS))
PAGES = "stoa://tools/{name}"


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


async def _error(world: World, version: str, method: str, params: dict[str, Any], **rest: Any) -> Any:
    answer = await _ask(world, version, method, params, **rest)
    error = answer.json()["error"]
    assert answer.status == (400 if version == STATELESS_REVISIONS and error["code"] == -32602 else answer.status)
    return {"status": answer.status, **error}


def _is_cacheable(result: dict[str, Any], version: str) -> bool:
    assert ("resultType" in result) == ("_meta" in result) == (version == STATELESS_REVISIONS)
    return isinstance(result.get("ttlMs"), int) and result.get("cacheScope") == "private"


# --- resources


@EVERY
async def test_resources_and_templates_are_listed_to_those_who_may_read_them(world: World, version: str) -> None:
    for token, own in {
        "alpha-viewer": ["memo://alpha"],
        "beta-viewer": ["memo://beta"],
        "admin": ["memo://secret"],
        "roleless": None,
    }.items():
        result = await _result(world, version, "resources/list", token=token)
        uris = [one["uri"] for one in result["resources"]]
        common = [] if own is None else ["memo://bytes", "memo://down", "memo://plain"]
        assert uris == sorted([*common, *(own or [])])
        assert _is_cacheable(result, version) == (version == STATELESS_REVISIONS)
        templates = await _result(world, version, "resources/templates/list", token=token)
        expected = [] if own is None else ["memo://items/{item}/{count}", PAGES]
        assert [one["uriTemplate"] for one in templates["resourceTemplates"]] == expected
        assert _is_cacheable(templates, version) == (version == STATELESS_REVISIONS)


@EVERY
async def test_an_entry_has_what_its_revision_knows(world: World, version: str) -> None:
    entries = (await _result(world, version, "resources/list"))["resources"]
    plain = next(one for one in entries if one["uri"] == "memo://plain")
    title = {"title": "Plain"} if version >= "2025-06-18" else {}
    expected = {"uri": "memo://plain", "name": "plain", "description": "Five letters.", "mimeType": "text/plain"}
    assert plain == {**expected, "size": 5, **title}


@EVERY
async def test_a_list_comes_in_pages(version: str) -> None:
    world = new_world(page_size=1)
    uris: list[str] = []
    params: dict[str, Any] = {}
    for _ in range(10):
        result = await _result(world, version, "resources/list", params)
        uris += [one["uri"] for one in result["resources"]]
        if "nextCursor" not in result:
            break
        params = {"cursor": result["nextCursor"]}
    assert uris == ["memo://alpha", "memo://bytes", "memo://down", "memo://plain"]
    for method in ("resources/list", "resources/templates/list", "prompts/list"):
        assert (await _error(world, version, method, {"cursor": "nonsense"}))["code"] == -32602


@EVERY
@pytest.mark.parametrize(
    ("uri", "contents"),
    [
        ("memo://plain", {"mimeType": "text/plain", "text": "hello"}),
        ("memo://bytes", {"mimeType": "application/octet-stream", "blob": "AAE="}),
        ("memo://items/a%20b/3", {"mimeType": "application/json", "text": '{"item": "a b", "count": 3}'}),
    ],
)
async def test_a_resource_is_read_under_the_uri_that_was_asked_for(
    world: World, version: str, uri: str, contents: dict[str, Any]
) -> None:
    result = await _result(world, version, "resources/read", {"uri": uri})
    assert result["contents"] == [{"uri": uri, **contents}]
    assert _is_cacheable(result, version) == (version == STATELESS_REVISIONS)
    (event,) = world.events
    assert event.tool in {f"resource:{uri}", "resource:memo://items/{item}/{count}"}
    assert (event.status, event.metadata["door"]) == (Status.SUCCESS, "mcp")


@EVERY
@pytest.mark.parametrize(
    "uri", ["memo://none", "memo://beta", "memo://items/%2e%2e/3", "stoa://tools/private", "stoa://tools/none", "x"]
)
async def test_what_is_not_there_and_what_is_anothers_is_the_same_error_and_never_empty(
    world: World, version: str, uri: str
) -> None:
    error = await _error(world, version, "resources/read", {"uri": uri})
    assert error["code"] == (-32602 if version == STATELESS_REVISIONS else -32002)
    assert error["status"] == (400 if version == STATELESS_REVISIONS else 200)
    assert (error["data"]["uri"], error["message"]) == (uri, f"Unknown resource: {uri}")
    assert [event.status for event in world.events] == [Status.INVALID]


@EVERY
async def test_a_page_about_a_tool_is_read_like_any_resource(world: World, version: str) -> None:
    result = await _result(world, version, "resources/read", {"uri": "stoa://tools/note"})
    (contents,) = result["contents"]
    assert (contents["uri"], contents["mimeType"]) == ("stoa://tools/note", "text/markdown")
    assert "Write a note down." in contents["text"]
    assert world.events[0].tool == f"resource:{PAGES}"


@EVERY
async def test_refusals_of_a_read_look_like_those_of_a_call(world: World, version: str) -> None:
    assert (await _ask(world, version, "resources/read", {"uri": "memo://plain"}, token=None)).status == 401
    scope = await _ask(world, version, "resources/read", {"uri": "memo://secret"}, token="root-reading")
    assert (scope.status, "insufficient_scope" in (scope.header("www-authenticate") or "")) == (403, True)
    down = await _error(world, version, "resources/read", {"uri": "memo://down"})
    assert (down["code"], down["data"]["code"]) == (5030, "content_unavailable")
    assert "cannot be reached" in down["message"]
    await _result(world, version, "resources/read", {"uri": "memo://alpha"})
    limited = await _error(world, version, "resources/read", {"uri": "memo://alpha"})
    assert (limited["code"], limited["data"]["code"]) == (4290, "rate_limited")
    await world.gateway.flush_refusals()
    names = [(event.tool, event.status.value) for event in world.events]
    assert names == [
        ("resource:memo://secret", "unauthorized"),
        ("resource:memo://down", "error"),
        ("resource:memo://alpha", "success"),
        ("resource:memo://alpha", "rate_limited"),
        ("(unknown)", "unauthorized"),
    ]


# --- prompts


@EVERY
async def test_prompts_are_listed_with_their_arguments(world: World, version: str) -> None:
    result = await _result(world, version, "prompts/list")
    listed = {one["name"]: one for one in result["prompts"]}
    title = {"title": "Greeting"} if version >= "2025-06-18" else {}
    arguments = [{"name": "name", "required": True}, {"name": "times", "required": False}]
    assert listed["greet"] == {"name": "greet", "description": "Greets somebody.", "arguments": arguments, **title}
    assert sorted(listed) == list(listed) == ["greet", "media_prompt"]
    assert _is_cacheable(result, version) == (version == STATELESS_REVISIONS)


@EVERY
async def test_a_prompt_is_filled_with_its_arguments(world: World, version: str) -> None:
    params = {"name": "greet", "arguments": {"name": "{{times}}", "times": "2"}}
    result = await _result(world, version, "prompts/get", params)
    text = {"type": "text", "text": "Greet {{times}} 2 times"}
    assert result["messages"] == [{"role": "user", "content": text}]
    assert result["description"] == "Greets somebody."
    assert not _is_cacheable(result, version)
    assert [(event.tool, event.status.value) for event in world.events] == [("prompt:greet", "success")]


@EVERY
async def test_messages_hold_what_the_revision_can_carry(world: World, version: str) -> None:
    messages = (await _result(world, version, "prompts/get", {"name": "media_prompt"}))["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    kinds = ["image", "text" if version == "2024-11-05" else "audio", "resource"]
    assert [one["content"]["type"] for one in messages] == kinds


@EVERY
@pytest.mark.parametrize(
    "params",
    [
        {"name": "none"},
        {"name": "of_beta_prompt"},
        {"name": "greet"},
        {"name": "greet", "arguments": {"times": "1"}},
        {"name": "greet", "arguments": {"name": 5}},
        {"name": "greet", "arguments": {"name": "x", "times": "often"}},
        {"name": "greet", "arguments": [1]},
        {"name": "greet", "arguments": {"name": "x", "colour": "red"}},
    ],
)
async def test_unknown_prompts_and_wrong_arguments_are_invalid_params(
    world: World, version: str, params: dict[str, Any]
) -> None:
    assert (await _error(world, version, "prompts/get", params))["code"] == -32602
    assert [event.status for event in world.events] == [Status.INVALID]


# --- completion


async def _complete(world: World, version: str, ref: dict[str, Any], name: str, value: str, **rest: Any) -> Any:
    params = {"ref": ref, "argument": {"name": name, "value": value}}
    return (await _result(world, version, "completion/complete", params, **rest))["completion"]


GREET = {"type": "ref/prompt", "name": "greet"}


@EVERY
async def test_completion_proposes_what_begins_alike(world: World, version: str) -> None:
    found = await _complete(world, version, GREET, "name", "an")
    assert found == {"values": ["Ann", "anton"], "total": 2, "hasMore": False}
    assert (await _complete(world, version, GREET, "times", ""))["values"] == []


@EVERY
async def test_completion_of_a_tools_name_knows_only_what_the_caller_may_call(world: World, version: str) -> None:
    pages = {"type": "ref/resource", "uri": PAGES}
    for token in ("alpha-viewer", "alpha-admin", "beta-viewer", "admin"):
        tools = (await _result(world, version, "tools/list", token=token))["tools"]
        offered = await _complete(world, version, pages, "name", "", token=token)
        assert offered["values"] == [tool["name"] for tool in tools]


@EVERY
@pytest.mark.parametrize(
    ("ref", "argument"),
    [
        ({"type": "ref/prompt", "name": "none"}, {"name": "x", "value": ""}),
        ({"type": "ref/prompt", "name": "of_beta_prompt"}, {"name": "x", "value": ""}),
        ({"type": "ref/resource", "uri": "memo://{none}"}, {"name": "none", "value": ""}),
        ({"type": "ref/tool", "name": "add"}, {"name": "a", "value": ""}),
        ({"type": ["ref/prompt"]}, {"name": "a", "value": ""}),
        (GREET, {"name": "colour", "value": ""}),
        (GREET, {"name": "name"}),
        (None, None),
    ],
)
async def test_what_cannot_be_completed_is_invalid_params(world: World, version: str, ref: Any, argument: Any) -> None:
    assert (await _error(world, version, "completion/complete", {"ref": ref, "argument": argument}))["code"] == -32602


@EVERY
async def test_completion_counts_against_the_caller(version: str) -> None:
    world = new_world(caller_limits={"viewer": RateLimit(requests_per_minute=1, burst=1)})
    for _ in range(5):
        await _complete(world, version, GREET, "name", "", token="alpha-viewer")
    params = {"ref": GREET, "argument": {"name": "name", "value": ""}}
    assert (await _error(world, version, "completion/complete", params, token="alpha-viewer"))["code"] == 4290


@EVERY
async def test_completion_depends_on_the_arguments_that_are_known_already(version: str) -> None:
    world = new_world()

    def towns(value: str, arguments: Mapping[str, str]) -> list[str]:
        return sorted(f"{name}={text}" for name, text in arguments.items())

    world.gateway.prompt(lambda town, country: town + country, name="travel", completions={"town": towns})
    params: dict[str, Any] = {
        "ref": {"type": "ref/prompt", "name": "travel"},
        "argument": {"name": "town", "value": ""},
        "context": {"arguments": {"country": "fr", "town": "not this"}},
    }
    found = (await _result(world, version, "completion/complete", params))["completion"]
    assert found["values"] == (["country=fr"] if version >= "2025-06-18" else [])
    for context in ([], "x", None, {"arguments": []}, {"arguments": {"country": 1}}):
        answer = (await _ask(world, version, "completion/complete", {**params, "context": context})).json()
        if version >= "2025-06-18":
            assert answer["error"]["code"] == -32602
        else:
            assert answer["result"]["completion"]["values"] == [], "older revisions do not know it: it is ignored"


@EVERY
async def test_of_many_values_a_hundred_are_sent_and_the_rest_is_announced(version: str) -> None:
    world = new_world()
    listed = [f"v{number:03}" for number in range(101)]
    world.gateway.prompt(lambda name: name, name="many", completions={"name": listed})
    ref = {"type": "ref/prompt", "name": "many"}
    found = await _complete(world, version, ref, "name", "v")
    assert found == {"values": listed[:100], "total": 101, "hasMore": True}
    exactly = await _complete(world, version, ref, "name", "v0")
    assert (len(exactly["values"]), exactly["total"], exactly["hasMore"]) == (100, 100, False)
