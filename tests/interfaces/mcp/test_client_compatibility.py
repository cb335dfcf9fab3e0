"""What real clients choke on, one test for each row that docs/client-compatibility.md claims."""

import asyncio
import json
import re
from typing import Any

import pytest
from tests.interfaces.doors import READ, STATELESS_REVISIONS, Answer, World, envelope, new_world

from stoa.application import Context
from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.domain.operations.tool import ApiReference, Tool
from stoa.domain.results.result import TEXT_LIMIT, RawAnswer, shape
from stoa.infrastructure.openapi import OpenApiConverter

FILTER = {
    "type": "object",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "properties": {
        "node": {"$ref": "#/$defs/Node"},
        "tags": {"type": "array", "items": {"type": "string", "$comment": "words of the user"}},
        "n": {"type": ["integer", "null"]},
    },
    "oneOf": [{"required": ["node"]}, {"required": ["tags"]}],
    "$defs": {"Node": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}}},
}


def converted(operation: dict[str, Any], path: str = "/things", name: str = "") -> Tool:
    """The tool of an API with this one operation."""
    if name:
        operation = {"operationId": name, **operation}
    document = {
        "openapi": "3.0.3",
        "info": {"title": "Things", "version": "1"},
        "servers": [{"url": "https://api.example"}],
        "paths": {path: {"get": {"responses": {"200": {"description": "ok"}}, **operation}}},
    }
    conversion = OpenApiConverter().convert(SpecDocument("things.json", json.dumps(document)), ConversionOptions())
    (tool,) = conversion.tools
    return tool


@pytest.fixture
def world() -> World:
    world = new_world()

    @world.gateway.tool(name="find", input_schema=FILTER, annotations=READ, tags=["search"])
    def find(node: Any = None, tags: Any = None, n: Any = None) -> str:
        return f"found {node} {tags} {n}"

    return world


async def listed(world: World, query: str = "", **rest: Any) -> dict[str, Any]:
    answer = await world.modern("tools/list", query=query, **rest)
    assert answer.status == 200, answer.body
    return {tool["name"]: tool for tool in answer.json()["result"]["tools"]}


@pytest.mark.parametrize("name", ["get.things/by id", "ünïcode", "x" * 200, "日本語", "--", "a" * 47 + "ß"])
def test_generated_names_are_short_and_of_the_small_alphabet(name: str) -> None:
    tool = converted({}, name=name)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,48}", tool.name)
    assert tool.name == converted({}, name=name).name


def test_argument_names_are_of_the_small_alphabet_and_keep_their_own_on_the_wire() -> None:
    names = ["filter[name]", "$top", "@id", "x" * 80]
    schema = {"type": "string"}
    tool = converted({"parameters": [{"name": name, "in": "query", "schema": schema} for name in names]})
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key) for key in tool.portable_input_schema["properties"])
    assert [parameter.name for parameter in tool.binding.parameters] == names  # type: ignore[union-attr]


def test_descriptions_are_short_with_the_summary_first() -> None:
    tool = converted({"summary": "Finds things", "description": "Long words. " * 400})
    assert tool.description.startswith("Finds things")
    assert len(tool.description) <= 1024


async def test_by_default_schemas_are_what_every_client_understands(world: World) -> None:
    assert (await listed(world))["find"]["inputSchema"] == {
        "type": "object",
        "properties": {
            "node": {"type": "object", "properties": {"id": {"type": "string", "description": "format: uuid"}}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "n": {"type": "integer", "description": "null clears it"},
        },
        "description": "give node or tags",
    }


async def test_who_wants_schemas_as_they_were_declared_gets_them(world: World) -> None:
    assert (await listed(world, "?profile=faithful"))["find"]["inputSchema"] == FILTER
    assert (await listed(world, "?profile=portable"))["find"]["inputSchema"] != FILTER


@pytest.mark.parametrize("version", ["2025-11-25", STATELESS_REVISIONS])
async def test_an_unknown_profile_is_a_clear_error(world: World, version: str) -> None:
    ask = world.modern if version == STATELESS_REVISIONS else world.legacy
    answer = await ask("tools/list", query="?profile=strict")
    assert answer.status == 400
    assert answer.json()["error"]["message"] == "profile: expected portable or faithful"


async def test_arguments_are_held_against_the_declared_schema(world: World) -> None:
    answer = await world.modern("tools/call", {"name": "find", "arguments": {}})
    assert answer.json()["result"]["isError"] is True


@pytest.mark.parametrize(("query", "names"), [("?tags=search", {"find"}), ("?tags=search,math", {"find", "add"})])
async def test_a_client_may_ask_for_a_part_of_a_large_catalogue(world: World, query: str, names: set[str]) -> None:
    assert set(await listed(world, query)) == names


async def test_a_toolset_is_a_part_of_the_catalogue(world: World) -> None:
    tool = converted({}, name="thing").model_copy(update={"api": ApiReference(name="shop"), "binding": _binding(world)})
    world.gateway.add(tool)
    assert set(await listed(world, "?toolset=shop")) == {"thing"}
    assert await listed(world, "?toolset=none") == {}


def _binding(world: World) -> Any:
    return world.gateway.registry.catalogue.find(None, "media").binding  # type: ignore[union-attr]


async def test_what_a_client_did_not_ask_to_see_it_may_call(world: World) -> None:
    answer = await world.modern("tools/call", {"name": "add", "arguments": {"a": 1}}, query="?tags=search")
    assert answer.json()["result"]["content"][0]["text"] == "2"


async def test_a_catalogue_of_a_thousand_tools_is_one_page(world: World) -> None:
    one = converted({}, name="thing").model_copy(update={"binding": _binding(world)})
    world.gateway.add(*(one.model_copy(update={"name": f"t{n}"}) for n in range(950)))
    answer = await world.modern("tools/list")
    assert "nextCursor" not in answer.json()["result"]
    assert len(answer.json()["result"]["tools"]) > 950


@pytest.mark.parametrize(
    ("count", "said"),
    [(20, ""), (41, "Cursor show no more than 40"), (81, "warns above 80"), (129, "no more than 128")],
)
def test_more_tools_than_clients_take_are_a_warning(count: int, said: str) -> None:
    world = World()
    world.gateway.tool(name="one")(lambda: "x")
    one = world.gateway.registry.catalogue.find(None, "one")
    assert one is not None
    found = world.gateway.registry.replace(
        one.model_copy(update={"name": f"t{n}", "tenant": "acme"}) for n in range(count)
    )
    notes = [finding.message for finding in found if finding.where == "tenant acme"]
    assert bool(notes) == bool(said)
    assert all(said in note and "/mcp?tags=" in note for note in notes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "a.b"}, "refuse this name"),
        ({"name": "x" * 49}, "refuse this name"),
        ({"description": "x" * 2049}, "cut the description"),
        ({"input_schema": {"type": "object", "properties": {"$top": {}}}}, "refuse the argument '$top'"),
    ],
)
def test_what_some_client_will_not_take_of_a_handwritten_tool_is_a_warning(fields: Any, said: str) -> None:
    world = World()
    world.gateway.tool(name="one")(lambda: "x")
    one = world.gateway.registry.catalogue.find(None, "one")
    assert one is not None
    (finding,) = world.gateway.registry.replace([one.model_copy(update=fields)])
    assert (finding.severity.value, said in finding.message) == ("warning", True)


async def test_values_sent_as_text_are_taken_for_what_they_are(world: World) -> None:
    for text in ('{"a": [1]}',):
        answer = await world.modern("tools/call", {"name": "echo", "arguments": {"value": text}})
        assert json.loads(answer.json()["result"]["content"][0]["text"]) == {"a": [1]}
    answer = await world.modern("tools/call", {"name": "add", "arguments": {"a": "3", "b": "4"}})
    assert answer.json()["result"]["content"][0]["text"] == "7"


def test_a_huge_answer_is_cut_and_says_so() -> None:
    result = shape(RawAnswer(b"x" * (TEXT_LIMIT + 1), "text/plain"))
    assert result.content[0].text.endswith(f"[truncated: {TEXT_LIMIT + 1} characters, {TEXT_LIMIT} shown]")  # type: ignore[union-attr]


def test_an_empty_answer_has_a_text_all_the_same() -> None:
    (block,) = shape(RawAnswer(b"", "", status="204 No Content")).content
    assert block.text == "204 No Content"  # type: ignore[union-attr]


async def test_an_output_schema_has_an_object_at_its_root_and_every_answer_keeps_to_it(world: World) -> None:
    tools = await listed(world)
    assert all(tool["outputSchema"]["type"] == "object" for tool in tools.values() if "outputSchema" in tool)
    answer = (await world.modern("tools/call", {"name": "table"})).json()["result"]
    assert "structuredContent" in answer


async def test_output_schemas_have_no_references(world: World) -> None:
    promised = {"type": "object", "properties": {"next": {"$ref": "#"}, "a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {}}}

    @world.gateway.tool(output_schema=promised)
    def linked() -> dict[str, Any]:
        return {}

    assert "$ref" not in json.dumps((await listed(world))["linked"]["outputSchema"])
    assert "$ref" in json.dumps((await listed(world, "?profile=faithful"))["linked"]["outputSchema"])


async def test_an_error_carries_no_structured_content(world: World) -> None:
    result = (await world.modern("tools/call", {"name": "refuses"})).json()["result"]
    assert result["isError"] is True
    assert "structuredContent" not in result


async def test_an_empty_result_is_an_object(world: World) -> None:
    assert (await world.legacy("ping")).json()["result"] == {}


@pytest.mark.parametrize("version", ["2025-11-25", STATELESS_REVISIONS])
async def test_a_slow_call_shows_signs_of_life_to_who_wants_them(version: str) -> None:
    world = new_world(heartbeat_seconds=0.001)
    beaten = asyncio.Event()

    @world.gateway.tool
    async def slow(context: Context) -> str:
        await beaten.wait()
        await context.progress(1, 1, "mine")
        return "done"

    async def watch(answer: Any) -> None:
        while answer.body.count(b"still running") < 3:
            world.clock.advance(1)  # more than ten in a second are not told
            await asyncio.sleep(0.001)
        beaten.set()

    into = Answer()
    watching = asyncio.create_task(watch(into))
    params: dict[str, Any] = {"name": "slow", "_meta": {"progressToken": 5}}
    if version == STATELESS_REVISIONS:
        params["_meta"] |= envelope()
        answer = await asyncio.wait_for(world.modern("tools/call", params, into=into), 10)
    else:
        answer = await asyncio.wait_for(world.legacy("tools/call", params, into=into), 10)
    await watching
    told = [event["params"] for event in answer.events() if event.get("method") == "notifications/progress"]
    values = [one["progress"] for one in told]
    assert values == sorted(set(values))
    assert (told[-1]["progress"], told[-1]["message"]) == (1.0, "mine")


async def test_a_call_without_a_progress_token_is_left_alone() -> None:
    world = new_world(heartbeat_seconds=0)

    @world.gateway.tool
    async def slow() -> str:
        await asyncio.sleep(0)
        return "done"

    answer = await world.modern("tools/call", {"name": "slow"})
    assert answer.header("content-type") == "application/json"


async def test_instructions_fit_into_what_clients_keep(world: World) -> None:
    assert len((await world.modern("server/discover")).json()["result"]["instructions"]) <= 2048
