"""What is promised to clients is always kept: published schemas demand little, and results are made to fit."""

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import json_objects, json_values, object_schemas, tool_results

from stoa.application.schemas.output_schema import OutputSchema, relaxed
from stoa.domain.errors import InvalidInput
from stoa.domain.results.result import MISSING, TextContent, ToolResult

likely_values = st.dictionaries(st.sampled_from(["a", "b", "x", "self"]), json_values(max_leaves=4), max_size=3)


@given(object_schemas(), likely_values | json_objects)
def test_whatever_satisfies_the_schema_satisfies_the_published_one(schema, value):
    if jsonschema_rs.validator_for(schema).is_valid(value):
        assert jsonschema_rs.validator_for(relaxed(schema)).is_valid(value)


@given(object_schemas())
def test_an_empty_object_always_satisfies_the_published_schema(schema):
    OutputSchema("ant", schema)
    assert jsonschema_rs.validator_for(relaxed(schema)).is_valid({})


@given(object_schemas(), tool_results | likely_values.map(lambda value: ToolResult((), value)))
def test_every_result_fits_the_published_schema_and_keeps_its_content(schema, result):
    fitted = OutputSchema("ant", schema).fit(result)
    assert (fitted.content, fitted.is_error) == (result.content, result.is_error)
    if result.is_error:
        assert fitted is result
    else:
        assert jsonschema_rs.validator_for(relaxed(schema)).is_valid(fitted.structured)


@given(object_schemas())
def test_null_is_allowed_for_every_named_property(schema):
    names = schema.get("properties", {})
    for name in names:
        if names[name] != {"$ref": "#"}:
            assert jsonschema_rs.validator_for(relaxed(schema["properties"][name], is_root=False)).is_valid(None)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", 1]),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}, ["a", 1]),
        ({"additionalProperties": False, "patternProperties": {"^x": {"type": "integer"}}}, {"x1": 1}),
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 3),
        ({"type": "integer", "nullable": True}, 5),
        ({"enum": [1, None]}, None),
    ],
)
def test_forms_that_are_easily_tightened_by_mistake(schema, value):
    root = {"type": "object", "properties": {"a": schema}}
    root |= {"$schema": schema["$schema"]} if "$schema" in schema else {}
    result = ToolResult((), {"a": value})
    assert OutputSchema("ant", root).fit(result) is result


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {"A": {"type": "string"}}},
        {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}},
        {"properties": {"a": {"$ref": "#a"}}, "$defs": {"A": {"$anchor": "a", "type": "string"}}},
        {"$id": "https://x.example/s", "properties": {"a": {"$ref": "s#/$defs/A"}}, "$defs": {"A": {"type": "string"}}},
    ],
)
def test_references_into_the_schema_still_lead_somewhere(schema):
    fitting, other = ToolResult((), {"a": "x"}), ToolResult((), {"a": [1]})
    output = OutputSchema("ant", {"type": "object", **schema})
    assert output.fit(fitting) is fitting
    assert output.fit(other).structured == {}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"type": ["object", "null"]},
        {"type": "object", "properties": {"a": {"type": "strng"}}},
        {"type": "object", "properties": {"a": {"type": 5}}},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "object", "$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}},
    ],
)
def test_a_schema_that_cannot_be_promised_is_refused(schema):
    with pytest.raises(InvalidInput, match="outputSchema"):
        OutputSchema("ant", schema)


def test_a_circle_of_references_comes_to_an_end():
    circle = {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}
    output = OutputSchema("ant", {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": circle})
    assert output.fit(ToolResult((), {"a": 1})).structured in ({"a": 1}, {})


def test_an_answer_without_structure_gets_an_empty_one_and_it_is_logged(caplog):
    output = OutputSchema("ant", {"type": "object"})
    assert output.fit(ToolResult((TextContent("hi"),))) == ToolResult((TextContent("hi"),), {})
    assert output.fit(ToolResult((), [1])).structured == {}
    assert output.fit(ToolResult.error("no")).structured is MISSING
    assert len(caplog.records) == 2


def test_an_answer_that_cannot_be_looked_at_does_not_fit():
    value = []
    for _ in range(400):
        value = [value]
    output = OutputSchema("ant", {"type": "object", "properties": {"a": {"type": "integer"}}})
    assert output.fit(ToolResult((), {"a": value})).structured == {}
    assert output.fit(ToolResult((), {1: 2})).structured == {}


def test_what_is_relaxed_keeps_its_shape_in_branches_and_items():
    text = {"type": "string", "minLength": 2}
    numbers = {"type": "array", "items": {"type": "integer", "minimum": 3}}
    promised = {"type": "object", "properties": {"a": {"oneOf": [text, numbers]}}, "required": ["a"]}
    branches = [{"type": ["string", "null"]}, {"type": ["array", "null"], "items": {"type": ["integer", "null"]}}]
    assert relaxed(promised) == {"type": "object", "properties": {"a": {"anyOf": [*branches, {"type": "null"}]}}}


ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "price": {"type": "number"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "by": {"additionalProperties": {"type": "integer"}},
        "pay": {
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": "card"}, "year": {"type": "integer"}}},
                {"type": "object", "properties": {"kind": {"const": "cash"}, "year": {"type": "string"}}},
            ]
        },
    },
    "required": ["id", "missing"],
    "$defs": {"line": {"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    ("answer", "kept", "omitted"),
    [
        ({"id": 7, "price": "free", "else": [1]}, {"id": 7, "else": [1]}, ("/price",)),
        (
            {"id": 7, "lines": [{"n": 1, "text": "a"}, {"n": "two", "text": "b"}]},
            {"id": 7, "lines": [{"n": 1, "text": "a"}, {"text": "b"}]},
            ("/lines/*/n",),
        ),
        ({"id": 1.0, "lines": [1, {"n": 1}]}, {"id": 1.0, "lines": [None, {"n": 1}]}, ("/lines/*",)),
        ({"by": {"ann": "few", "bob": 2}}, {"by": {"bob": 2}}, ("/by/*",)),
        ({"id": "x", "lines": "none"}, {}, ("/id", "/lines")),
        ({"id": 7, "pay": [1]}, {"id": 7}, ("/pay",)),
    ],
)
def test_an_answer_that_misses_its_schema_in_a_member_keeps_all_others(answer, kept, omitted):
    output = OutputSchema("order", ORDER)
    result = output.fit(ToolResult((TextContent("all of it"),), answer, headers=(("ETag", "x"),)))
    assert result == ToolResult((TextContent("all of it"),), kept, headers=(("ETag", "x"),), omitted=omitted)


@pytest.mark.parametrize(
    ("answer", "repaired"),
    [
        ({"id": "7", "price": "12.50"}, {"id": 7, "price": 12.5}),
        ({"lines": [{"n": "2", "text": 5}]}, {"lines": [{"n": 2, "text": "5"}]}),
        ({"by": {"ann": "3"}}, {"by": {"ann": 3}}),
        ({"pay": {"kind": "cash", "year": 2024}}, {"pay": {"kind": "cash", "year": 2024}}),
    ],
)
def test_an_answer_with_numbers_in_quotes_or_without_becomes_what_its_schema_says(answer, repaired):
    result = OutputSchema("order", ORDER).fit(ToolResult((), answer))
    assert (result.structured, result.omitted) == (repaired, ())


def test_an_answer_that_fits_no_alternative_keeps_the_other_members():
    unclear = {"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "array"}]}
    both = {"allOf": [unclear, {"anyOf": [{"properties": {"b": {"type": "integer"}}}, {"type": "array"}]}]}
    output = OutputSchema("odd", {"type": "object", "properties": {"x": both, "y": {"type": "integer"}}})
    result = output.fit(ToolResult((), {"x": {"a": "1", "b": "2"}, "y": 3}))
    assert result.structured["y"] == 3


@given(object_schemas(), json_objects)
def test_what_is_kept_of_any_answer_satisfies_the_published_schema_and_was_in_the_answer(schema, answer):
    output = OutputSchema("any", schema | {"type": "object"})
    result = output.fit(ToolResult((), answer))
    assert jsonschema_rs.validator_for(relaxed(schema | {"type": "object"})).is_valid(result.structured)
    assert all(name in answer for name in result.structured)
    assert (result.structured == answer) == (not result.omitted)
