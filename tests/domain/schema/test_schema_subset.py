"""Whether one schema accepts all that another does: what is shown holds, and ordinary changes are seen."""

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import json_values, object_schemas

from stoa.domain.schema.schema_subset import is_within

TEXT = {"type": "string"}
OPEN = {"type": "object", "properties": {"a": TEXT}}
CLOSED = {**OPEN, "additionalProperties": False}
NODE = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}}


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (TEXT, {}),
        (TEXT, {**TEXT, "description": "words"}),
        (TEXT, {"type": ["string", "null"]}),
        ({"type": "integer"}, {"type": "number"}),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}),
        ({"const": 1}, {"type": "integer"}),
        ({**TEXT, "enum": ["a"]}, TEXT),
        ({**TEXT, "maxLength": 3}, {**TEXT, "maxLength": 4}),
        ({**OPEN, "required": ["a"]}, OPEN),
        (CLOSED, OPEN),
        (CLOSED, {**CLOSED, "properties": {"a": TEXT, "b": TEXT}}),
        ({"anyOf": [TEXT, {"type": "null"}]}, {"type": ["string", "null"]}),
        (TEXT, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"type": "array", "items": {"type": "integer"}}, {"type": "array", "items": {"type": "number"}}),
        (NODE, NODE),
    ],
)
def test_a_schema_is_within_one_that_accepts_more_and_not_the_other_way_round(narrow, wide):
    assert is_within(narrow, wide)
    if narrow != wide and wide != {**TEXT, "description": "words"} and "anyOf" not in narrow:
        assert not is_within(wide, narrow)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (TEXT, {"type": "integer"}),
        (TEXT, {**TEXT, "pattern": "^a"}),
        (TEXT, False),
        (OPEN, {**OPEN, "required": ["a"]}),
        (CLOSED, {**CLOSED, "properties": {"b": TEXT}}),
        ({"type": "array"}, {"type": "array", "items": TEXT}),
        ({"type": "number"}, {"type": "number", "minimum": 0}),
    ],
)
def test_a_schema_is_not_within_one_that_may_refuse_its_instances(narrow, wide):
    assert not is_within({"$defs": {}, **narrow}, wide if isinstance(wide, dict) else {"not": {}})


@given(object_schemas(), object_schemas(), st.lists(json_values(), max_size=5))
def test_what_is_shown_to_be_within_holds_for_instances(narrow, wide, values):
    if not is_within(narrow, wide):
        return
    narrow_check, wide_check = jsonschema_rs.validator_for(narrow), jsonschema_rs.validator_for(wide)
    for value in [{}, *values]:
        # A member that only the wide schema declares is not held against it.
        if narrow_check.is_valid(value) and isinstance(value, dict) and set(value) <= set(narrow.get("properties", {})):
            assert wide_check.is_valid(value)


@given(object_schemas())
def test_a_schema_is_within_itself(schema):
    assert is_within(schema, schema)
