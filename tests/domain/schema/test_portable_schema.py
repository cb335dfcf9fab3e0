"""Laws of portable schemas: every client understands them, and they refuse nothing that the original accepts."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.domain.schema.inlining import SIZE_LIMIT, inlined
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.portable_schema import portable

KEYWORDS = {
    *("type", "title", "description", "default", "examples", "enum", "required", "properties", "additionalProperties"),
    *("items", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "anyOf", "allOf", "minimum"),
    *("maximum", "multipleOf", "minLength", "maxLength", "pattern", "format", "x-mcp-header"),
}
NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(st.integers(-3, 3), st.sampled_from(["", "x", "long"]), st.booleans())
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])


def _with(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
            "patternProperties": st.dictionaries(st.just("^c"), inner, max_size=1),
            "items": inner,
            "prefixItems": several,
            "enum": st.lists(SCALARS | st.none(), min_size=1, max_size=3, unique_by=repr),
            "const": SCALARS,
            "anyOf": several,
            "oneOf": several,
            "allOf": several,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "exclusiveMinimum": st.integers(-2, 2) | st.just(0.5),
            "exclusiveMaximum": st.integers(-2, 2),
            "minimum": st.integers(-2, 2),
            "format": st.sampled_from(["date", "date-time", "int64"]),
            "$ref": st.just("#/$defs/One"),
            "$schema": st.just("https://json-schema.org/draft/2020-12/schema"),
            "$comment": st.just("x"),
        },
    )


INNER = st.recursive(st.booleans() | st.fixed_dictionaries({"type": TYPES}), _with, max_leaves=5)
SCHEMAS = st.builds(
    lambda root, one: {**root, "type": "object", "$defs": {"One": one}},
    _with(INNER).map(lambda schema: {key: value for key, value in schema.items() if key != "$ref"}),
    INNER,
)


def below(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas in a portable one."""
    assert isinstance(schema, dict)
    yield schema
    children = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("allOf", [])]
    children += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for child in children:
        yield from below(child)


def validator(schema: Any) -> Any:
    return jsonschema_rs.Draft202012Validator(schema)


@given(SCHEMAS)
@settings(max_examples=3 * settings.default.max_examples)
def test_a_portable_schema_has_only_what_every_client_takes(schema: Any) -> None:
    made = portable(schema)
    validator(made)
    assert made["type"] == "object"
    assert isinstance(made["properties"], dict)
    assert made.keys().isdisjoint({"anyOf", "allOf", "oneOf", "not", "if"})
    for part in below(made):
        assert part.keys() <= KEYWORDS
        assert isinstance(part.get("type", ""), str)
        assert part.get("type") != "array" or "items" in part
        assert part.get("type") != "object" or "properties" in part
        assert part.get("format", "date-time") == "date-time"


@given(SCHEMAS, st.dictionaries(NAMES, VALUES, max_size=3))
@settings(max_examples=200)
def test_what_the_original_accepts_the_portable_one_accepts_too(schema: Any, value: Any) -> None:
    if validator(schema).is_valid(value) and not chooses(inlined(schema)):
        assert validator(portable(schema)).is_valid(value)


def chooses(schema: Any) -> bool:
    """Are there alternatives or conditions at the root, which may describe a member that others leave open?"""
    if not isinstance(schema, dict):
        return False
    return not schema.keys().isdisjoint({"anyOf", "oneOf", "then", "else"}) or any(
        map(chooses, schema.get("allOf", []))
    )


@pytest.mark.parametrize(
    "branches",
    [
        {"anyOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "string"}}}]},
        {"if": {"required": ["b"]}, "then": {"properties": {"a": {"type": "integer"}}}},
    ],
)
def test_a_member_that_only_a_branch_describes_is_shown_as_it_says(branches: Any) -> None:
    assert portable({"type": "object", **branches})["properties"]["a"] == {"type": "integer"}


@given(SCHEMAS)
def test_a_portable_schema_is_its_own_portable_form(schema: Any) -> None:
    made = portable(schema)
    assert portable(made) is made


def test_a_recursive_schema_is_cut_off_where_it_repeats_itself() -> None:
    node = {"type": "object", "description": "A node", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    made = portable({"type": "object", "properties": {"first": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}})
    second = made["properties"]["first"]["properties"]["next"]
    assert second["properties"]["next"] == {
        "type": "object",
        "description": "A node (Node, not described further here)",
        "properties": {},
    }


def test_a_schema_that_would_explode_stays_small() -> None:
    wide = {
        f"L{n}": {"type": "object", "properties": {f"p{i}": {"$ref": f"#/$defs/L{n + 1}"} for i in range(9)}}
        for n in range(9)
    }
    wide["L9"] = {"type": "string"}
    made = portable({"type": "object", "properties": {"root": {"$ref": "#/$defs/L0"}}, "$defs": wide})
    assert len(json.dumps(made)) < 4 * SIZE_LIMIT
    assert len(made["properties"]["root"]["properties"]) == 9


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": "string"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "N"}, {"type": "integer", "title": "N"}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        (
            {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
            {"type": "array", "items": {"type": "string"}, "default": None},
        ),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"type": "number", "exclusiveMaximum": 1}, {"type": "number", "maximum": 1, "description": "(less than 1)"}),
        ({"type": "string", "format": "uuid"}, {"type": "string", "description": "(format: uuid)"}),
        ({"const": "x"}, {"enum": ["x"]}),
        ({"type": "string", "x-mcp-header": "Region"}, {"type": "string", "x-mcp-header": "Region"}),
    ],
)
def test_members_are_written_as_every_client_reads_them(schema: Any, expected: Any) -> None:
    assert portable({"type": "object", "properties": {"p": schema}})["properties"]["p"] == expected


def test_alternatives_at_the_root_become_members_of_one_object() -> None:
    by_id = {"properties": {"id": {"type": "integer"}, "x": {}}, "required": ["id", "x"]}
    by_name = {"properties": {"name": {"type": "string"}, "x": {}}, "required": ["name", "x"]}
    assert portable({"type": "object", "oneOf": [by_id, by_name]}) == {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "x": {}, "name": {"type": "string"}},
        "required": ["x"],
    }


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (True, {}),
        ({}, {}),
        ({"$comment": "c", "not": {}, "if": {}, "then": {}, "readOnly": True, "$schema": "x"}, {}),
        ({"const": None}, {"enum": [None]}),
        ({"type": ["null"]}, {"type": "null"}),
        ({"type": []}, {"type": []}),
        ({"type": ["string", 5]}, {"type": "string"}),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        ({"type": ["string", "null"], "enum": [None]}, {"type": "string", "enum": [None]}),
        ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a", None]}),
        ({"type": "null", "enum": [None]}, {"type": "null", "enum": [None]}),
        ({"type": ["null", "integer", "string"]}, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (
            {"type": ["array", "object"]},
            {"anyOf": [{"type": "array", "items": {}}, {"type": "object", "properties": {}}]},
        ),
        ({"type": ["string", "integer"], "anyOf": [{"minLength": 1}, {"minimum": 1}]},
         {"anyOf": [{"minLength": 1}, {"minimum": 1}]}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"oneOf": [{"type": "string"}], "anyOf": [{"type": "integer"}, {"type": "boolean"}]},
         {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}),
        ({"anyOf": [{"type": "null"}]}, {}),
        ({"anyOf": [{"type": "string", "title": "Inner"}], "title": "Outer"}, {"type": "string", "title": "Outer"}),
        ({"anyOf": [{"type": "string", "title": "Inner"}]}, {"type": "string", "title": "Inner"}),
        ({"anyOf": [{"minLength": 1}], "minLength": 2}, {"anyOf": [{"minLength": 1}], "minLength": 2}),
        ({"anyOf": [{"minLength": 1}], "maxLength": 2}, {"minLength": 1, "maxLength": 2}),
        ({"anyOf": "x"}, {}),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, {"allOf": [{"type": "string"}, {"minLength": 1}]}),
        (
            {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}}}],
             "additionalProperties": False, "required": ["b"]},
            {"type": "object", "properties": {"a": {}, "b": {"type": "string"}}, "required": ["b", "a"]},
        ),
        ({"allOf": [{"type": "object"}, {"anyOf": [{"minProperties": 1}, {"maxProperties": 2}]}]},
         {"allOf": [{"type": "object", "properties": {}}, {"anyOf": [{"minProperties": 1}, {"maxProperties": 2}]}]}),
        ({"allOf": []}, {"type": "object", "properties": {}}),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 9},
         {"type": "integer", "minimum": 4, "maximum": 8}),
        ({"type": "integer", "exclusiveMinimum": 3, "minimum": 5}, {"type": "integer", "minimum": 5}),
        ({"type": "integer", "exclusiveMinimum": 3, "maximum": 5}, {"type": "integer", "minimum": 4, "maximum": 5}),
        ({"type": "integer", "exclusiveMinimum": True, "exclusiveMaximum": 9}, {"type": "integer", "maximum": 8}),
        ({"type": "integer", "exclusiveMinimum": "x", "exclusiveMaximum": 9}, {"type": "integer", "maximum": 8}),
        ({"type": "integer", "exclusiveMinimum": 0.5},
         {"type": "integer", "minimum": 0.5, "description": "(greater than 0.5)"}),
        ({"exclusiveMinimum": 3}, {"minimum": 3, "description": "(greater than 3)"}),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "description": "Share"},
         {"type": "number", "minimum": 0, "maximum": 1, "description": "Share (greater than 0) (less than 1)"}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "uuid", "description": "Id"},
         {"type": "string", "description": "Id (format: uuid)"}),
        ({"type": "integer", "format": "int64"}, {"type": "integer"}),
        ({"type": "string", "format": 5}, {"type": "string"}),
        ({"type": "string", "items": {}, "required": ["a"], "additionalProperties": False}, {"type": "string"}),
        ({"items": {"type": "string"}}, {}),
        ({"type": "array", "items": {"const": 1}}, {"type": "array", "items": {"enum": [1]}}),
        ({"type": "array", "items": True, "prefixItems": [{}]}, {"type": "array", "items": {}}),
        ({"type": "array", "items": {"type": "string"}, "prefixItems": [{}]}, {"type": "array", "items": {}}),
        ({"type": "object", "required": [], "additionalProperties": False},
         {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"type": "object", "required": ["a"], "additionalProperties": True},
         {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": True}),
        ({"type": "object", "additionalProperties": {"const": 1}},
         {"type": "object", "properties": {}, "additionalProperties": {"enum": [1]}}),
        ({"type": "object", "additionalProperties": False, "patternProperties": {"^x": {}}},
         {"type": "object", "properties": {}, "additionalProperties": True}),
        ({"type": "object", "patternProperties": {"^x": {}}}, {"type": "object", "properties": {}}),
        ({"properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": False},
         {"properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False}),
    ],
    ids=repr,
)  # fmt: skip
def test_a_member_says_what_every_client_understands_of_it(p: Any, expected: Any) -> None:
    assert portable({"type": "object", "properties": {"p": p}})["properties"]["p"] == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {}),
        ({"title": "T", "description": "D", "$comment": "c", "examples": [{}]}, {"title": "T", "description": "D"}),
        ({"title": 5, "description": None}, {}),
        ({"required": ["a", 5, "a", "b"]}, {"required": ["a", "b"]}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"enum": [1]}}),
        ({"additionalProperties": False, "patternProperties": {"^x": {}}}, {}),
        ({"properties": {"a": {"const": 1}}}, {"properties": {"a": {"enum": [1]}}}),
        ({"allOf": [{"properties": {"a": {}}, "required": ["a"]}, True]}, {"properties": {"a": {}}, "required": ["a"]}),
        ({"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"required": ["b"]}]}, {"properties": {"a": {}}}),
        ({"anyOf": [{"required": ["a", "b"]}, {"required": ["b", "c"]}], "required": ["z"]}, {"required": ["z", "b"]}),
        ({"oneOf": [{"properties": {"a": {}}, "required": ["a"]}]}, {"properties": {"a": {}}, "required": ["a"]}),
        (
            {"if": {"properties": {"i": {}}}, "then": {"properties": {"a": {}}, "required": ["a"]},
             "else": {"properties": {"b": {}}}},
            {"properties": {"a": {}, "b": {}}},
        ),
        ({"then": False, "else": {"properties": {"b": {}}}}, {"properties": {"b": {}}}),
        (
            {"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": {"type": "integer"}}}]},
            {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}},
        ),
        (
            {"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": {"type": "string"}}}]},
            {"properties": {"a": {"type": "string"}}},
        ),
        ({"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": True}}]},
         {"properties": {"a": {"anyOf": [{"type": "string"}, {}]}}}),
        ({"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": {}}}]}, {"properties": {"a": {}}}),
        ({"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": False}}]}, {"properties": {"a": {}}}),
        ({"properties": {"a": True}, "anyOf": [{"properties": {"a": {"type": "string"}}}]}, {"properties": {"a": {}}}),
    ],
    ids=repr,
)  # fmt: skip
def test_the_root_is_one_object_with_all_members_that_may_be_given(schema: JsonObject, expected: JsonObject) -> None:
    assert portable({"type": "object", **schema}) == {"type": "object", "properties": {}, **expected}


def test_a_schema_too_deep_to_be_understood_stays_as_it_is() -> None:
    deep: JsonObject = {"type": "string", "format": "uuid"}
    for _ in range(2000):
        deep = {"type": "array", "items": deep}
    schema = {"type": "object", "properties": {"p": deep}}
    assert portable(schema) is schema


@pytest.mark.parametrize(
    "p",
    [
        {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "a", "x-mcp-header": "X", "enum": ["a"]},
        {"type": "number", "minimum": 1, "maximum": 2, "multipleOf": 3, "title": "T", "default": 3},
        {
            "type": "array",
            "items": {},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
            "default": [],
            "examples": [[]],
        },
        {"type": "object", "properties": {}, "minProperties": 1, "maxProperties": 2, "additionalProperties": False},
    ],
    ids=repr,
)
def test_keywords_of_the_common_part_stay(p: Any) -> None:
    schema = {"type": "object", "properties": {"p": p}}
    assert portable(schema) is schema
