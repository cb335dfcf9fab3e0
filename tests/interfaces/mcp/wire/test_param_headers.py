"""Arguments that are repeated in headers."""

import base64
import json
from typing import Any

import pytest
from tests.interfaces.doors import DESTROY, World, modern, new_world

from stoa.application.schemas.routed_arguments import RoutedArgument, routed_arguments
from stoa.domain.errors import InvalidInput

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "size": {"type": "integer", "x-mcp-header": "Size"},
        "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
        "x-mcp-header": {"type": "string"},
    },
    "default": {"x-mcp-header": 5},
}


@pytest.fixture
def world() -> World:
    world = new_world()

    def route(region: Any = None, size: Any = None, deep: Any = None) -> str:
        return "routed"

    world.gateway.tool(route, input_schema=SCHEMA)
    world.gateway.tool(route, name="hidden", input_schema=SCHEMA, annotations=DESTROY)
    return world


async def _call(
    world: World, arguments: Any, *headers: tuple[str, str], name: str = "route", token: str = "alpha-viewer"
) -> tuple[int, Any]:
    message, sent = modern("tools/call", {"name": name, "arguments": arguments}, request_id="r")
    pairs = [(key, value) for key, value in sent.items() if value is not None]
    pairs += [("content-type", "application/json"), *headers]
    answer = await world.request("POST", "/mcp", token=token, headers=pairs, body=json.dumps(message).encode())
    body = answer.json()
    assert body["id"] == "r"
    return answer.status, body.get("error", {}).get("code")


def _encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, []),
        (None, []),
        ({"region": "eu"}, [("Mcp-Param-Region", "eu")]),
        ({"region": "eu"}, [("mcp-param-region", "  eu ")]),
        ({"region": "Köln"}, [("Mcp-Param-Region", _encoded("Köln"))]),
        ({"region": "eu"}, [("Mcp-Param-Region", _encoded("eu"))]),
        ({"region": "=?base64?x"}, [("Mcp-Param-Region", "=?base64?x")]),
        ({"region": None, "size": 42}, [("Mcp-Param-Size", "42.0")]),
        ({"size": -7}, [("Mcp-Param-Size", "-7")]),
        ({"deep": {"flag": True}}, [("Mcp-Param-Flag", "true")]),
        ({"deep": '{"flag": true}'}, [("Mcp-Param-Flag", "true")]),
        ({"size": " 42"}, [("Mcp-Param-Size", "42")]),
        ({}, [("Mcp-Param-Unknown", "x"), ("Mcp-Param-Unknown", "y")]),
    ],
    ids=repr,
)
async def test_headers_that_say_what_the_arguments_say_pass(world: World, arguments: Any, headers: Any) -> None:
    _, code = await _call(world, arguments, *headers)
    assert code is None


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, []),
        ({"region": "eu"}, [("Mcp-Param-Region", "EU")]),
        ({"deep": '{"flag": true}'}, []),
        ({"size": " 42"}, [("Mcp-Param-Size", _encoded(" 42"))]),
        ({"region": "eu"}, [("Mcp-Param-Region", "eu"), ("Mcp-Param-Region", "eu")]),
        ({}, [("Mcp-Param-Region", "eu")]),
        ({"region": None}, [("Mcp-Param-Region", "null")]),
        ({"region": "Hello"}, [("Mcp-Param-Region", "=?base64?SGVsbG8?=")]),
        ({"region": "Hello"}, [("Mcp-Param-Region", "=?base64?SGVs*G8=?=")]),
        ({"region": ["eu"]}, [("Mcp-Param-Region", "eu")]),
        ({"size": 42}, [("Mcp-Param-Size", "42.5")]),
        ({"size": 42}, [("Mcp-Param-Size", "forty-two")]),
        ({"size": True}, [("Mcp-Param-Size", "1")]),
        ({"deep": {"flag": False}}, [("Mcp-Param-Flag", "False")]),
    ],
    ids=repr,
)
async def test_headers_that_contradict_the_arguments_are_a_mismatch(world: World, arguments: Any, headers: Any) -> None:
    assert await _call(world, arguments, *headers) == (400, -32020)
    assert world.events == []


async def test_who_may_not_see_the_tool_does_not_learn_of_its_annotations(world: World) -> None:
    arguments = {"region": "eu"}
    assert (await _call(world, arguments, name="hidden", token="admin"))[1] == -32020
    seen = await _call(world, arguments, name="hidden")
    assert seen[1] != -32020


async def test_the_handshake_era_has_no_such_headers(world: World) -> None:
    answer = await world.legacy("tools/call", {"name": "route", "arguments": {"region": "eu"}})
    assert answer.json()["result"]["content"][0]["text"] == "routed"


def test_annotations_are_found_along_properties() -> None:
    assert set(routed_arguments(SCHEMA)) == {
        RoutedArgument("Region", ("region",), "string"),
        RoutedArgument("Size", ("size",), "integer"),
        RoutedArgument("Flag", ("deep", "flag"), "boolean"),
    }


def _with(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "x-mcp-header": "A"},
        _with({"type": "string", "x-mcp-header": ""}),
        _with({"type": "string", "x-mcp-header": "a b"}),
        _with({"type": "string", "x-mcp-header": 5}),
        _with({"type": "number", "x-mcp-header": "A"}),
        _with({"type": ["string", "null"], "x-mcp-header": "A"}),
        _with({"x-mcp-header": "A"}),
        _with({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
        _with({"anyOf": [{"type": "string", "x-mcp-header": "A"}]}),
        {"type": "object", "$defs": {"s": {"type": "string", "x-mcp-header": "A"}}},
        {
            "type": "object",
            "properties": {
                "a": {"type": "string", "x-mcp-header": "A"},
                "b": {"type": "string", "x-mcp-header": "a"},
            },
        },
    ],
    ids=repr,
)
def test_a_tool_with_a_wrong_annotation_is_refused_with_a_finding(world: World, schema: Any) -> None:
    def wrong(a: Any = None, b: Any = None) -> None: ...

    with pytest.raises(InvalidInput, match="x-mcp-header"):
        world.gateway.tool(wrong, input_schema=schema)
    assert world.gateway.registry.find(None, "wrong") is None
