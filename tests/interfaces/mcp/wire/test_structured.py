"""What is promised in a list is kept in the results: structured content satisfies the published output schema, in every
revision, whatever the tool answers."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World

from stoa.application import TextContent, ToolResult
from stoa.domain.errors import BackendUnavailable, InvalidInput

NAMES = st.sampled_from(["a", "b", "c"])
SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer", "minimum": 0},
            {"type": ["string", "null"]},
            {"enum": ["x", "y"]},
            {"const": 1},
            {"type": "string", "format": "date-time"},
            {},
            True,
        ]
    ),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=2)},
            optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": st.booleans()},
        )
    ),
    max_leaves=5,
)
ROOTS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(NAMES, SCHEMAS, max_size=3)},
    optional={
        "required": st.lists(NAMES, max_size=3, unique=True),
        "additionalProperties": st.booleans(),
        "minProperties": st.integers(0, 2),
    },
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=True) | st.sampled_from(["x", "z", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
ANSWERS = st.one_of(
    VALUES,
    VALUES.map(lambda value: ToolResult((TextContent("text"),), value)),
    VALUES.map(lambda value: ToolResult((TextContent("no"),), value, is_error=True)),
    st.just(ToolResult((TextContent("text alone"),))),
    st.just(BackendUnavailable("down")),
)


async def _ask(world: World, version: str, method: str, params: Any) -> Any:
    if version == STATELESS_REVISIONS:
        return (await world.modern(method, params)).json()
    return (await world.legacy(method, params, version=version)).json()


@pytest.mark.parametrize("version", [*HANDSHAKE_REVISIONS, STATELESS_REVISIONS])
@settings(max_examples=60, deadline=None)
@given(schema=ROOTS | st.none(), answer=ANSWERS)
async def test_structured_content_satisfies_the_published_schema(version: str, schema: Any, answer: Any) -> None:
    world = World()

    async def tell() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        world.gateway.tool(tell, output_schema=schema)
    except InvalidInput:
        return  # nothing is published that cannot be kept
    (entry,) = (await _ask(world, version, "tools/list", {}))["result"]["tools"]
    result = (await _ask(world, version, "tools/call", {"name": "tell"}))["result"]
    assert ("outputSchema" in entry) == (schema is not None and version >= "2025-06-18")
    if result.get("isError"):
        assert "structuredContent" not in result
        return
    if "outputSchema" in entry:
        assert jsonschema_rs.validator_for(entry["outputSchema"]).is_valid(result["structuredContent"])
    if "structuredContent" in result:
        assert version >= "2025-06-18"
        assert version == STATELESS_REVISIONS or isinstance(result["structuredContent"], dict)
