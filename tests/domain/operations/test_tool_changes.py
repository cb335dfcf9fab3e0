"""Changes between two versions of an API's tools, by what they mean for callers."""

from typing import Any

import pytest
from tests.application.pipeline import tool

from stoa.domain.operations.tool import Tool
from stoa.domain.operations.tool_changes import tool_changes

REST = {"kind": "rest", "method": "GET", "base_url": "https://a.example", "path": "/pets"}
ANSWER = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}


def arguments(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def version(path: str = "/pets", base_url: str = "https://a.example", **fields: Any) -> Tool:
    binding = {**REST, "path": path, "base_url": base_url}
    fields = {"input_schema": arguments(q={"type": "string"}), "output_schema": ANSWER, **fields}
    return tool(fields.pop("name", "list"), binding=binding, **fields)


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"description": "Other words."}, "descriptionOnly"),
        ({"input_schema": arguments(q={"type": "string", "description": "words"})}, "descriptionOnly"),
        ({"input_schema": arguments(q={"type": "string"}, page={"type": "integer"})}, "widening"),
        ({"input_schema": arguments(q={"type": ["string", "null"]})}, "widening"),
        ({"input_schema": arguments(("q",), q={"type": "string"})}, "breaking"),
        ({"input_schema": arguments(q={"type": "integer"})}, "breaking"),
        ({"input_schema": arguments()}, "breaking"),
        (
            {"output_schema": {**ANSWER, "properties": {**ANSWER["properties"], "age": {"type": "integer"}}}},
            "compatible",
        ),
        ({"output_schema": {"type": "object", "properties": {"id": {"type": "integer"}}}}, "breaking"),
        ({"output_schema": None}, "breaking"),
        ({"name": "find"}, "breaking"),
        ({"base_url": "https://b.example"}, "breaking"),
        ({"tags": ("stoa:admin",)}, "breaking"),
        ({"timeout_seconds": 5.0}, "compatible"),
    ],
)
def test_a_changed_tool_has_the_kind_that_callers_meet(changed, kind):
    (change,) = tool_changes([version()], [version(**changed)])
    assert (change.kind, change.before, change.after) == (
        kind,
        version().fingerprint,
        version(**changed).fingerprint,
    )
    assert change.why


def test_tools_that_came_and_went_are_told_and_equal_ones_are_not():
    old = [version(), version("/dogs", name="dogs")]
    new = [version(), version("/cats", name="cats")]
    assert [(change.kind, change.tool) for change in tool_changes(old, new)] == [("added", "cats"), ("removed", "dogs")]
    assert tool_changes(old, old) == ()


def test_changes_that_break_are_told_with_all_their_reasons():
    old = version(input_schema=arguments(q={"type": "string"}, size={"type": "integer"}, old={}))
    new = version(
        input_schema=arguments(("page",), q={"type": "string"}, size={"type": "integer", "maximum": 9}, page={})
    )
    (change,) = tool_changes([old], [new])
    assert change.why == "it needs page now; it takes old no longer; it may refuse values that size took"
