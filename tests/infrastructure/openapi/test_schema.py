"""Schemas: any dialect to 2020-12, references in place or under $defs, nothing invalid gets through."""

import json

import pytest
from tests.infrastructure.openapi.documents import (
    accepts,
    api,
    convert,
    messages,
    only_tool,
    operation,
    properties,
    swagger,
    with_body,
    with_parameters,
)
from tests.infrastructure.openapi.laws import assert_sound

TEXT = {"type": "string"}


def normalised(schema, version="3.0.3", **components):
    """What a member `x` of this schema becomes."""
    document = with_body({"type": "object", "properties": {"x": schema}}, components={"schemas": components})
    tool = only_tool({**document, "openapi": version})
    return properties(tool)["x"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"anyOf": [TEXT], "nullable": True}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"anyOf": [TEXT, {"nullable": True}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"oneOf": [{"nullable": True, "description": "d"}, TEXT]}, {"anyOf": [{"type": "null"}, TEXT]}),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 1}),
        ({"type": "integer", "maximum": 9, "exclusiveMaximum": False}, {"type": "integer", "maximum": 9}),
        (
            {"type": "string", "example": "rex", "xml": {"name": "n"}, "x-internal": 1},
            {"type": "string", "examples": ["rex"]},
        ),
        ({"type": "string", "example": 5}, {"type": "string", "examples": ["5"]}),
        ({"type": "string", "example": {"a": 5}}, {"type": "string"}),
        ({"type": "integer", "default": None}, {"type": "integer"}),
        ({"type": "integer", "default": "five"}, {"type": "integer"}),
        ({"type": "integer", "default": 5}, {"type": "integer", "default": 5}),
        ({"type": "string", "enum": ["a"], "default": "b"}, {"type": "string", "enum": ["a"]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": "string", "enum": ["abc"], "maxLength": 2, "pattern": "x"}, {"type": "string", "enum": ["abc"]}),
        ({"type": "boolean", "enum": ["yes", "off"]}, {"type": "boolean", "enum": [True, False]}),
        ({"items": TEXT}, {"type": "array", "items": TEXT}),
        ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        ({"allOf": [TEXT], "description": "d"}, {"type": "string", "description": "d"}),
        ({"type": "string", "enum": ["a", "a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": "object", "required": True, "properties": {}}, {"type": "object", "properties": {}}),
        ({"type": "string", "format": "int-or-string"}, {"type": ["integer", "string"], "format": "int-or-string"}),
        ({"type": "object", "properties": {"example": TEXT}}, {"type": "object", "properties": {"example": TEXT}}),
    ],
)
def test_openapi_dialects_become_json_schema(schema, expected):
    assert normalised(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected", "told"),
    [
        ({"type": "file"}, {"type": "string", "format": "binary"}, "`type` is 'file'"),
        ({"type": "int"}, {"type": "integer"}, "`type` is 'int'; read as integer"),
        ({"type": "unicorn"}, {}, "`type` is 'unicorn'; read as anything"),
        (
            {"type": "array", "items": [TEXT, {"type": "integer"}]},
            {"type": "array", "items": {"anyOf": [TEXT, {"type": "integer"}]}},
            "`items`",
        ),
        ({"type": "string", "pattern": "a++b"}, TEXT, "`pattern`"),
        ({"type": "string", "pattern": "["}, TEXT, "`pattern`"),
        ({"type": "string", "minLength": -1}, TEXT, "`minLength`"),
        ({"type": "number", "multipleOf": 0}, {"type": "number"}, "`multipleOf`"),
        ({"type": "string", "enum": [[1], [2]]}, {"enum": [[1], [2]]}, "no value of `enum` is of type"),
        ({"type": "string", "enum": ["a", {}, "a"]}, {"type": "string", "enum": ["a"]}, "not of type string"),
        ({"type": "string", "enum": ["a", "a"]}, {"type": "string", "enum": ["a"]}, "lists a value twice"),
        (
            {"type": "array", "items": TEXT, "enum": ["a", "b"]},
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            "lists no arrays",
        ),
        ({"type": "integer", "enum": ["a"]}, {"type": "string", "enum": ["a"]}, "no value of `enum` is of type"),
        ({"type": "string", "minLength": 9, "maxLength": 3}, TEXT, "no value is within `minLength` and `maxLength`"),
        ({"type": "integer", "minimum": 3, "exclusiveMaximum": 3}, {"type": "integer"}, "no value is within `minimum`"),
        (
            {"type": "object", "required": ["a"], "properties": {}, "additionalProperties": False},
            {"type": "object", "required": ["a"], "properties": {"a": {}}, "additionalProperties": False},
            "anything is accepted for 'a'",
        ),
        ({"anyOf": "x"}, {}, "`anyOf` must be a list"),
        ([TEXT], {}, "a schema must be an object"),
        ({"$ref": "pets.json#/Pet"}, {}, "is outside this document"),
        ({"$ref": "#/components/schemas/Missing"}, {}, "points at nothing"),
        ({"$ref": "#/components/schemas/Loop"}, {}, "leads in a circle"),
    ],
)
def test_what_is_not_valid_becomes_valid_with_a_finding(schema, expected, told):
    components = {"schemas": {"Loop": {"$ref": "#/components/schemas/Loop"}}}
    conversion = convert(with_body({"type": "object", "properties": {"x": schema}}, components=components))
    assert properties(conversion.tools[0])["x"] == expected
    assert told in messages(conversion)
    assert_sound(conversion)


def test_what_stands_beside_a_reference_counts_from_version_3_1_on():
    schema = {"$ref": "#/components/schemas/Name", "maxLength": 5, "description": "short"}
    assert normalised(schema, "3.0.3", Name=TEXT) == {"type": "string", "description": "short"}
    expected = {"type": "string", "maxLength": 5, "description": "short"}
    assert normalised(schema, "3.1.0", Name=TEXT) == expected


def test_a_nullable_reference_also_takes_null():
    assert normalised({"$ref": "#/components/schemas/Name", "nullable": True}, Name=TEXT) == {
        "anyOf": [TEXT, {"type": "null"}]
    }


def test_small_references_are_written_out():
    tool = only_tool(
        with_body(
            {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}, components={"schemas": {"Pet": TEXT}}
        )
    )
    assert "$ref" not in json.dumps(tool.input_schema)


TREE = {
    "type": "object",
    "properties": {"name": TEXT, "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
}


def test_recursive_schemas_go_under_defs_and_still_check():
    tool = only_tool(
        with_body(
            {"type": "object", "properties": {"tree": {"$ref": "#/components/schemas/Tree"}}},
            components={"schemas": {"Tree": TREE}},
        )
    )
    assert list(tool.input_schema["$defs"]) == ["Tree"]
    assert accepts(tool, {"tree": {"children": [{"children": [{"name": "leaf"}]}]}})
    assert not accepts(tool, {"tree": {"children": [{"children": [{"name": 5}]}]}})


def test_a_large_schema_refers_to_what_it_uses_and_nothing_else():
    members = {f"m{n}": {"type": "string", "description": "many words " * 20} for n in range(60)}
    schemas = {
        "Large": {"type": "object", "properties": members},
        "Unused": {"type": "object", "properties": {"secret": TEXT}},
    }
    body = {
        "type": "object",
        "properties": {f"p{n}": {"type": "array", "items": {"$ref": "#/components/schemas/Large"}} for n in range(9)},
    }
    tool = only_tool(with_body(body, components={"schemas": schemas}))
    assert list(tool.input_schema["$defs"]) == ["Large"]
    assert properties(tool)["p0"]["items"] == {"$ref": "#/$defs/Large"}
    assert len(json.dumps(tool.input_schema)) < 24_000


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_defined_as_itself_says_nothing(keyword):
    schemas = {
        "A": {keyword: [{"$ref": "#/components/schemas/B"}, TEXT]},
        "B": {keyword: [{"$ref": "#/components/schemas/A"}, {"type": "integer"}]},
    }
    conversion = convert(
        with_body(
            {"type": "object", "properties": {"x": {"$ref": "#/components/schemas/A"}}}, components={"schemas": schemas}
        )
    )
    assert_sound(conversion)
    assert accepts(conversion.tools[0], {"x": True})


def test_exponential_references_stay_small():
    schemas = {
        f"S{n}": {
            "type": "object",
            "properties": {side: {"$ref": f"#/components/schemas/S{n + 1}"} for side in ("a", "b", "c")},
        }
        for n in range(40)
    }
    schemas["S40"] = TEXT
    conversion = convert(with_body({"$ref": "#/components/schemas/S0"}, components={"schemas": schemas}))
    assert_sound(conversion)
    assert len(json.dumps(conversion.tools[0].input_schema)) < 24_000


def test_a_long_chain_of_references_is_followed():
    schemas = {
        f"S{n}": {"type": "object", "properties": {"next": {"$ref": f"#/components/schemas/S{n + 1}"}}}
        for n in range(1500)
    }
    schemas["S1500"] = TEXT
    assert_sound(convert(with_body({"$ref": "#/components/schemas/S0"}, components={"schemas": schemas})))


def test_schemas_without_end_are_cut_with_a_warning():
    schema = TEXT
    for _ in range(80):
        schema = {"type": "object", "properties": {"a": schema}}
    conversion = convert(with_body({"type": "object", "properties": {"x": schema}}))
    assert "nested too deeply" in messages(conversion)
    assert_sound(conversion)


def test_components_of_one_name_in_two_places_stay_apart():
    document = with_body(
        {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/T"}, "b": {"$ref": "#/x-more/T"}}},
        components={"schemas": {"T": {"type": "object", "properties": {"self": {"$ref": "#/components/schemas/T"}}}}},
    )
    document["x-more"] = {"T": {"type": "object", "properties": {"other": {"$ref": "#/x-more/T"}}}}
    tool = only_tool(document)
    assert sorted(tool.input_schema["$defs"]) == ["T", "T_2"]
    assert accepts(tool, {"a": {"self": {}}, "b": {"other": {}}})


def test_a_finding_of_a_shared_component_is_told_once():
    schemas = {"Bad": {"type": "object", "properties": {"x": {"type": "unicorn"}}}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Bad"}}}}
    paths = {f"/p{n}": {"post": operation(operationId=f"o{n}", requestBody=body)} for n in range(5)}
    conversion = convert(api(paths, components={"schemas": schemas}))
    assert [finding.where for finding in conversion.findings] == ["pets.yaml #/components/schemas/Bad/properties/x"]


def test_data_that_looks_like_a_schema_stays_data():
    default = {"$ref": "#/components/schemas/Nothing", "description": "d" * 200, "nullable": True}
    assert normalised({"type": "object", "default": default})["default"] == default


def test_a_member_named_like_a_keyword_is_a_member():
    schema = {
        "type": "object",
        "properties": {"$ref": TEXT, "default": {"$ref": "#/components/schemas/Name"}, "enum": TEXT},
    }
    assert normalised(schema, Name=TEXT)["properties"] == {"$ref": TEXT, "default": TEXT, "enum": TEXT}


def test_version_2_nullable_extension_is_understood():
    said = {"name": "q", "in": "query", "required": True, "type": "string", "x-nullable": True}
    tool = only_tool(swagger({"/": {"get": operation(parameters=[said])}}))
    assert properties(tool)["q"]["type"] == ["string", "null"]


def test_leftovers_of_3_0_in_a_3_1_document_are_understood():
    schema = {"type": "integer", "nullable": True, "minimum": 0, "exclusiveMinimum": True}
    assert normalised(schema, "3.1.0") == {"type": ["integer", "null"], "exclusiveMinimum": 0}


def test_json_schema_of_3_1_passes_through():
    schema = {
        "type": ["array", "null"],
        "prefixItems": [TEXT, {"type": "integer"}],
        "items": {"const": "x"},
        "contains": {"type": "string"},
        "minContains": 1,
    }
    assert normalised(schema, "3.1.0") == schema


def test_parameters_that_refer_have_their_own_description_and_that_of_the_component():
    document = with_parameters(
        {"name": "q", "in": "query", "description": "own", "schema": {"$ref": "#/components/schemas/Name"}},
        components={"schemas": {"Name": {**TEXT, "description": "shared"}}},
    )
    assert properties(only_tool(document))["q"] == {"type": "string", "description": "own. shared"}
