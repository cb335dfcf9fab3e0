"""Values that a document allows are accepted, and sent as they were given: random schemas with values that another
validator finds legal."""

import json
from typing import Any

import jsonschema_rs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.infrastructure.openapi.documents import binding, only_tool, with_body

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.rest.request_plan import RequestPlan

NAMES = st.sampled_from(["a", "b", "kind", "x-y"])
TEXTS = st.sampled_from(["p", "q", "", "hello"])
NUMBERS = st.sampled_from([0, 1, 2, 7])
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(lambda name: {"type": name}),
    st.lists(TEXTS, min_size=1, unique=True).map(lambda values: {"type": "string", "enum": values}),
    st.sampled_from([{"const": "p"}, {"type": ["string", "null"], "minLength": 1}, {"type": "integer", "maximum": 5}]),
    st.sampled_from(
        [{"type": "integer", "exclusiveMinimum": 0}, {"type": ["integer", "string"], "pattern": "^[a-z]*$"}]
    ),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    others = st.sampled_from(
        [
            {},
            {"additionalProperties": False},
            {"additionalProperties": {"type": "integer"}},
            {"minProperties": 1},
            {"not": {"required": ["a", "b"]}},
            {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"dependentRequired": {"a": ["b"]}},
            {"patternProperties": {"^x-": {"type": "string"}}},
        ]
    )
    members = st.dictionaries(NAMES, inner, max_size=3)
    made = st.tuples(members, st.lists(NAMES, max_size=1), others)
    return made.map(lambda parts: {"type": "object", "properties": parts[0], "required": parts[1], **parts[2]})


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.just({"$ref": "#/components/schemas/C"}),
    lambda inner: (
        objects(inner)
        | inner.map(lambda items: {"type": "array", "items": items})
        | st.lists(inner, min_size=1, max_size=3).flatmap(
            lambda branches: st.sampled_from(["anyOf", "oneOf", "allOf"]).map(lambda keyword: {keyword: branches})
        )
    ),
    max_leaves=8,
)
COMPONENTS = objects(SCALARS | st.just({"type": "array", "items": {"$ref": "#/components/schemas/C"}}))
SCALAR_VALUES = st.none() | st.booleans() | NUMBERS | st.just(1.5) | TEXTS
VALUES = st.recursive(
    SCALAR_VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=4
)


def value_for(draw: Any, schema: Any, component: Any, depth: int = 4) -> Any:
    """A value that is likely to be legal."""
    if depth == 0 or not schema:
        return draw(VALUES)
    if "$ref" in schema:
        return value_for(draw, component, component, depth - 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        branches = [branch for branch in schema.get(keyword, ()) if set(branch) != {"required"}]
        if branches:
            return value_for(draw, draw(st.sampled_from(branches)), component, depth - 1)
    if "const" in schema or "enum" in schema:
        return draw(st.sampled_from([schema["const"]] if "const" in schema else schema["enum"]))
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if kind == "object":
        members = schema["properties"]
        wanted = (
            {*draw(st.sets(st.sampled_from(sorted(members)))), *schema["required"]} if members else schema["required"]
        )
        return {name: value_for(draw, members.get(name), component, depth - 1) for name in sorted(wanted)}
    if kind == "array":
        return [value_for(draw, schema["items"], component, depth - 1) for _ in range(draw(st.integers(0, 2)))]
    return draw({"string": TEXTS, "integer": NUMBERS, "number": NUMBERS, "boolean": st.booleans()}.get(kind, st.none()))


def arguments_of(tool: Tool, body: Any) -> dict[str, Any]:
    bound = binding(tool).body
    assert bound is not None
    if bound.argument is not None:
        return {bound.argument: body}
    keys = {member: key for key, member in (bound.fields or {}).items()}
    return {keys.get(member, member): value for member, value in body.items()}


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(SCHEMAS, COMPONENTS, st.data())
def test_legal_values_are_accepted_and_sent_as_they_were_given(schema, component, data):
    schemas = {"C": component}
    value = value_for(data.draw, schema, component)
    legal = jsonschema_rs.validator_for({"allOf": [schema], "components": {"schemas": schemas}}, offline=True)
    assume(legal.is_valid(value))
    tool = only_tool(with_body(schema, version="3.1.0", components={"schemas": schemas}))
    checked = ArgumentSchema(tool.input_schema, validation=tool.validation, takes_others=tool.binding.takes_others)
    arguments = checked.normalise(arguments_of(tool, value))
    checked.check(arguments)
    sent = RequestPlan(tool, binding(tool), InMemoryCredentialSource()).build(arguments, "id", is_signed=False).data
    assert json.loads(sent or b"null") == value
