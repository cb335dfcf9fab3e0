"""Laws of inlining: no references are left, nothing is accepted less, and the size is bounded."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.schema.test_portable_schema import NAMES, SCHEMAS, VALUES, validator

from stoa.domain.schema.inlining import SIZE_LIMIT, inlined
from stoa.domain.schema.json_value import JsonObject


@given(SCHEMAS, st.dictionaries(NAMES, VALUES | st.none(), max_size=3))
@settings(max_examples=3 * settings.default.max_examples)
def test_inlined_schema_accepts_no_less(schema: Any, value: Any) -> None:
    made = inlined(schema)
    assert "$ref" not in json.dumps(made)
    if "not" not in json.dumps(schema) and "oneOf" not in json.dumps(schema) and '"if"' not in json.dumps(schema):
        assert not validator(schema).is_valid(value) or validator(made).is_valid(value)


def with_defs(p: Any, **defs: Any) -> JsonObject:
    return {"type": "object", "properties": {"p": p}, "$defs": defs}


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ({"$ref": "#/$defs/One"}, {"type": "string", "title": "One"}),
        ({"$ref": "#/$defs/Noted", "examples": ["b"]}, {"type": "string", "examples": ["b"]}),
        ({"$ref": "#/$defs/One", "title": "Mine"}, {"type": "string", "title": "Mine"}),
        ({"$ref": "#/$defs/One", "minLength": 1}, {"type": "string", "title": "One", "minLength": 1}),
        (
            {"$ref": "#/$defs/One", "type": "string", "description": "d"},
            {"allOf": [{"type": "string", "title": "One"}, {"type": "string"}], "description": "d"},
        ),
        ({"items": {"$ref": "#/$defs/One"}}, {"items": {"type": "string", "title": "One"}}),
        ({"anyOf": [{"$ref": "#/$defs/One"}, True]}, {"anyOf": [{"type": "string", "title": "One"}, True]}),
        ({"patternProperties": {"^$ref": {"$ref": "#/$defs/One"}}},
         {"patternProperties": {"^$ref": {"type": "string", "title": "One"}}}),
        ({"dependentSchemas": {"type": {"$ref": "#/$defs/One"}}},
         {"dependentSchemas": {"type": {"type": "string", "title": "One"}}}),
        ({"properties": {"enum": {"$ref": "#/$defs/One"}}},
         {"properties": {"enum": {"type": "string", "title": "One"}}}),
        ({"$defs": {"x": {}}, "definitions": {"x": {}}, "type": "string"}, {"type": "string"}),
        ({"enum": [{"$ref": "x"}], "default": {"$ref": "#/$defs/One"}, "const": {"$defs": 1}},
         {"enum": [{"$ref": "x"}], "default": {"$ref": "#/$defs/One"}, "const": {"$defs": 1}}),
        ({"examples": [{"$ref": "x"}], "example": {"$ref": "x"}, "dependentRequired": {"$ref": ["a"]}},
         {"examples": [{"$ref": "x"}], "example": {"$ref": "x"}, "dependentRequired": {"$ref": ["a"]}}),
        ({"$ref": 5, "type": "string"}, {"type": "string"}),
        ({"$ref": "#/$defs/Two"}, {"type": "string", "title": "One", "description": "Two"}),
        ({"$ref": "#/$defs/a~1b"}, {"type": "integer"}),
        ({"$ref": "#/$defs/a%7E1b"}, {"type": "integer"}),
        ({"$ref": "#/$defs/c~0d"}, {"type": "boolean"}),
        ({"$ref": "#/$defs/~01"}, {"type": "null"}),
        ({"$ref": "#/$defs/Many/anyOf/1"}, {"type": "number"}),
        ({"$ref": "#/$defs/Many/anyOf/10"}, {"description": "(10, not described further here)"}),
        ({"$ref": "#/$defs/Many/anyOf/-1"}, {"description": "(-1, not described further here)"}),
        ({"$ref": "#/$defs/Many/anyOf/x"}, {"description": "(x, not described further here)"}),
        ({"$ref": "#/$defs/Yes"}, {"description": "(Yes, not described further here)"}),
        ({"$ref": "#/$defs/No/thing"}, {"description": "(thing, not described further here)"}),
        ({"$ref": "https://e.example/s.json#/$defs/Pet", "type": "object"},
         {"type": "object", "description": "(Pet, not described further here)"}),
        ({"$ref": "pet.json"}, {"description": "(pet.json, not described further here)"}),
        ({"$ref": "#anchor", "description": "An anchor"}, {"description": "An anchor"}),
        ({"$ref": "#anchor"}, {"description": "(anchor, not described further here)"}),
    ],
    ids=repr,
)  # fmt: skip
def test_inlining_writes_a_reference_out_where_it_stands(p: Any, expected: Any) -> None:
    one = {"type": "string", "title": "One"}
    two = {"$ref": "#/$defs/One", "description": "Two"}
    many = {"anyOf": [{"type": "string"}, {"type": "number"}]}
    defs = {
        "One": one,
        "Noted": {"type": "string", "examples": ["a"]},
        "Two": two,
        "Many": many,
        "Yes": True,
        "a/b": {"type": "integer"},
        "c~d": {"type": "boolean"},
    }
    made = inlined(with_defs(p, **defs, **{"~1": {"type": "null"}}))
    assert made == {"type": "object", "properties": {"p": expected}}


def test_inlining_cuts_recursion_to_the_root_off() -> None:
    whole = {"type": "object", "description": "A node.", "properties": {"next": {"$ref": "#"}}}
    stub = {"type": "object", "description": "A node. (the whole again, not described further here)"}
    made = inlined(whole)
    assert made["properties"]["next"]["properties"]["next"]["properties"]["next"] == stub


def test_inlining_writes_a_reference_at_the_root_out() -> None:
    one = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert inlined({"$ref": "#/definitions/One", "definitions": {"One": one}}) == one


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"enum": ["$ref", "$defs"]}}},
        {"type": "object", "title": "definitions", "required": ["$ref"]},
        {},
    ],
)
def test_inlining_returns_a_schema_without_references_as_it_is(schema: JsonObject) -> None:
    assert inlined(schema) is schema


@pytest.mark.parametrize("key", ["$defs", "definitions"])
def test_inlining_leaves_unused_definitions_out(key: str) -> None:
    assert inlined({"type": "object", "allOf": [{key: {"A": {}}}], key: {"A": {}}}) == {"type": "object", "allOf": [{}]}


def chain(width: int, weight: Any = None) -> JsonObject:
    """Definitions that each refer `width` times to the next."""
    defs: JsonObject = {
        f"L{n}": {
            "type": "object",
            "properties": {f"p{i}": {"$ref": f"#/$defs/L{n + 1}"} for i in range(width)},
            **(weight or {}),
        }
        for n in range(12)
    }
    return with_defs({"$ref": "#/$defs/L0"}, **defs, L12={"type": "string"})


def depth(made: JsonObject) -> int:
    """How many references inside references were written out."""
    levels, here = 0, made["properties"]["p"]
    while "properties" in here:
        here, levels = here["properties"]["p0"], levels + 1
    assert "not described further here" in here["description"]
    return levels


def test_inlining_goes_less_deep_where_a_schema_is_wide() -> None:
    depths = [depth(inlined(chain(width))) for width in (1, 2, 3, 5, 7, 20, 60, 500)]
    assert depths == [8, 8, 5, 4, 3, 2, 1, 1]
    assert all(len(json.dumps(inlined(chain(width)))) < 5 * SIZE_LIMIT for width in range(1, 12))
    assert SIZE_LIMIT == 24_576


def test_inlining_writes_nothing_out_where_the_schema_alone_is_too_large() -> None:
    schema = chain(1)
    schema["properties"] |= {f"q{n}": {"$ref": "#/$defs/L0"} for n in range(5000)}
    made = inlined(schema)["properties"]
    assert made["q4999"] == made["p"] == {"type": "object", "description": "(L0, not described further here)"}
    assert len(made) == 5001


@pytest.mark.parametrize(
    "weight",
    [
        {"description": "x" * 2000},
        {"enum": [{}] * 200},
        {"patternProperties": {"x" * 100 + str(n): True for n in range(20)}},
        {"x" * 2000: 1},
        {f"x{n}": 1 for n in range(200)},
        {"patternProperties": {str(n): True for n in range(200)}},
    ],
)
def test_inlining_counts_whatever_makes_a_schema_large(weight: Any) -> None:
    assert depth(inlined(chain(2, weight))) in {2, 3}


@pytest.mark.parametrize("keyword", ["properties", "patternProperties", "dependentSchemas", "dependencies"])
def test_inlining_takes_no_member_name_for_a_keyword(keyword: str) -> None:
    made = inlined(with_defs({keyword: {"enum": {"$ref": "#/$defs/One"}}}, One={"type": "string"}))
    assert made["properties"]["p"] == {keyword: {"enum": {"type": "string"}}}
