"""Notes on calls in `_meta`: coerced arguments, omitted members and the back end's response headers, at every door."""

from typing import Any

import pytest
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World, new_world

from stoa.domain.results.result import TextContent, ToolResult
from stoa.interfaces.wire.shaping import COERCED_KEY, HEADERS_KEY, OMITTED_KEY, SERVER_INFO_KEY

DOORS = pytest.mark.parametrize("door", [STATELESS_REVISIONS, *HANDSHAKE_REVISIONS, "rest"])


@pytest.fixture
def world() -> World:
    world = new_world()

    @world.gateway.tool
    def order(count: int, express: bool = False) -> ToolResult:
        assert type(count) is int
        structured = {"count": count, "express": express}
        return ToolResult((TextContent("ordered"),), structured, headers=(("Location", "/o/7"),), omitted=("/x",))

    return world


async def result_of(world: World, door: str, name: str, arguments: Any, **rest: Any) -> Any:
    params = {"name": name, "arguments": arguments}
    if door == "rest":
        body = (await world.rest("POST", f"/tools/{name}/invoke", {"arguments": arguments}, **rest)).json()
    elif door == STATELESS_REVISIONS:
        body = (await world.modern("tools/call", params, **rest)).json()
    else:
        body = (await world.legacy("tools/call", params, version=door, **rest)).json()
    return body.get("result", body)


@DOORS
async def test_notes_on_a_call_are_in_its_meta(world: World, door: str) -> None:
    result = await result_of(world, door, "order", {"count": "7", "express": "True"})
    meta = dict(result["_meta"])
    assert (SERVER_INFO_KEY in meta) == (door == STATELESS_REVISIONS)
    meta.pop(SERVER_INFO_KEY, None)
    assert meta == {COERCED_KEY: ["/count", "/express"], HEADERS_KEY: {"Location": "/o/7"}, OMITTED_KEY: ["/x"]}
    assert world.events[-1].metadata["coerced"] == "/count /express"
    if "structuredContent" in result:
        assert result["structuredContent"] == {"count": 7, "express": True}


@DOORS
async def test_notes_on_a_call_are_absent_where_there_is_nothing_to_note(world: World, door: str) -> None:
    result = await result_of(world, door, "add", {"a": 1, "b": 2.0})
    assert set(result.get("_meta", {})) == ({SERVER_INFO_KEY} if door == STATELESS_REVISIONS else set())
    assert "coerced" not in world.events[-1].metadata


@DOORS
async def test_notes_on_a_call_say_nothing_of_a_tool_to_who_may_not_call_it(world: World, door: str) -> None:
    @world.gateway.tool(annotations={"read_only_hint": False, "destructive_hint": True})
    def drop(count: int) -> str:
        return "dropped"

    result = await result_of(world, door, "drop", {"count": "7"}, token="alpha-viewer")
    assert "count" not in str(result)
    assert "coerced" not in world.events[-1].metadata


@DOORS
async def test_notes_on_a_call_come_with_an_answer_about_invalid_arguments(world: World, door: str) -> None:
    result = await result_of(world, door, "add", {"a": "1", "b": "x"})
    if door != "rest":
        assert result["isError"]
        assert result["_meta"][COERCED_KEY] == ["/a"]
