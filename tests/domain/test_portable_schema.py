"""Laws of portable schemas: every client understands them, and they refuse nothing that the original accepts."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.domain.portable_schema import BUDGET, inlined, portable

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
@settings(max_examples=4 * settings.default.max_examples)
def test_what_the_original_accepts_the_portable_one_accepts_too(schema: Any, value: Any) -> None:
    if validator(schema).is_valid(value):
        assert validator(portable(schema)).is_valid(value)


@given(SCHEMAS)
def test_a_portable_schema_is_its_own_portable_form(schema: Any) -> None:
    made = portable(schema)
    assert portable(made) is made


@given(SCHEMAS, st.dictionaries(NAMES, VALUES | st.none(), max_size=3))
@settings(max_examples=3 * settings.default.max_examples)
def test_writing_references_out_accepts_no_less(schema: Any, value: Any) -> None:
    made = inlined(schema)
    assert "$ref" not in json.dumps(made)
    if "not" not in json.dumps(schema) and "oneOf" not in json.dumps(schema) and '"if"' not in json.dumps(schema):
        assert not validator(schema).is_valid(value) or validator(made).is_valid(value)


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
    assert len(json.dumps(made)) < 4 * BUDGET
    assert len(made["properties"]["root"]["properties"]) == 9


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "null"]}, {"type": "string"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "N"}, {"type": "integer", "title": "N"}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
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
