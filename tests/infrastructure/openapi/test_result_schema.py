"""Output schemas: which response they come from, and how lenient they are."""

import json

import jsonschema_rs
import pytest
from tests.infrastructure.openapi.documents import (
    api,
    convert,
    messages,
    only_tool,
    operation,
    swagger,
    with_result,
)

TEXT = {"type": "string"}
PET = {"type": "object", "required": ["name"], "properties": {"name": TEXT}}


def answer(schema):
    return {"description": "d", "content": {"application/json": {"schema": schema}}}


def member(name):
    return answer({"type": "object", "properties": {name: TEXT}})


@pytest.mark.parametrize(
    ("responses", "expected"),
    [
        ({"201": member("b"), "200": member("a")}, "a"),
        ({"default": member("x"), "202": member("c")}, "c"),
        ({"2XX": member("d"), "404": member("x")}, "d"),
        ({"200": {"description": "empty"}, "201": member("b")}, "b"),
        ({"200": {"$ref": "#/components/responses/Fine"}}, "e"),
        (
            {
                "200": {
                    "description": "d",
                    "content": {"text/html": {}, "application/hal+json": {"schema": {"properties": {"f": TEXT}}}},
                }
            },
            "f",
        ),
    ],
)
def test_the_first_successful_json_response_counts(responses, expected):
    document = api({"/": {"get": operation(responses=responses)}}, components={"responses": {"Fine": member("e")}})
    assert list(only_tool(document).output_schema["properties"]) == [expected]


@pytest.mark.parametrize(
    "schema", [TEXT, {"type": "array", "items": PET}, {"oneOf": [PET, TEXT]}, {}, {"$ref": "x.yaml"}]
)
def test_only_objects_have_an_output_schema(schema):
    assert only_tool(with_result(schema)).output_schema is None


def test_an_error_response_is_no_result():
    responses = {"404": member("x"), "default": member("y")}
    assert only_tool(api({"/": {"get": operation(responses=responses)}})).output_schema is None


def test_a_reference_to_an_object_is_an_object():
    document = with_result({"$ref": "#/components/schemas/Pet"}, components={"schemas": {"Pet": PET}})
    assert only_tool(document).output_schema == PET


def test_results_are_described_leniently():
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "password"],
        "properties": {
            "id": {"type": "integer", "maximum": 5, "readOnly": True},
            "password": {"type": "string", "writeOnly": True},
            "when": {"type": "string", "format": "date-time", "pattern": "^x"},
            "either": {"oneOf": [TEXT, {"type": "string", "maxLength": 3}]},
        },
    }
    assert only_tool(with_result(schema)).output_schema == {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "when": TEXT, "either": {"anyOf": [TEXT, TEXT]}},
    }


def test_a_map_is_an_object():
    schema = only_tool(with_result({"type": "object", "additionalProperties": {"type": "integer"}})).output_schema
    assert jsonschema_rs.is_valid(schema, {"a": 1})
    assert not jsonschema_rs.is_valid(schema, {"a": "x"})


def test_a_result_too_large_to_describe_is_left_out_and_told_once():
    members = {f"m{n}": {"type": "string", "enum": [f"{n}-{i}-{'x' * 20}" for i in range(20)]} for n in range(100)}
    conversion = convert(with_result({"type": "object", "properties": members}))
    assert conversion.tools[0].output_schema is None
    assert messages(conversion) == "warning: pets.yaml: 1 tools have no output schema: theirs exceeds 24 KB"


def test_a_recursive_result_stands_alone():
    tree = {"type": "object", "properties": {"child": {"$ref": "#/definitions/Tree"}}}
    responses = {"200": {"description": "d", "schema": {"$ref": "#/definitions/Tree"}}}
    document = swagger({"/": {"get": operation(responses=responses)}}, definitions={"Tree": tree})
    schema = only_tool(document).output_schema
    assert json.dumps(schema).count("#/definitions") == 0
    assert jsonschema_rs.is_valid(schema, {"child": {"child": {}}})
    assert not jsonschema_rs.is_valid(schema, {"child": {"child": 5}})


def test_default_answer_describes_the_result_where_it_is_the_only_one():
    answer = {"description": "fine", "content": {"application/json": {"schema": {"properties": {"a": {}}}}}}
    only = api({"/pets": {"get": operation(responses={"default": answer})}})
    assert list(only_tool(only).output_schema["properties"]) == ["a"]
    beside = api({"/pets": {"get": operation(responses={"204": {"description": "done"}, "default": answer})}})
    assert only_tool(beside).output_schema is None
