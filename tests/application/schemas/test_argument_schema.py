"""Arguments are checked, coerced only where nothing else can be meant, and refused without surprises."""

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import json_objects, json_values, object_schemas

from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.errors import InvalidArguments, InvalidInput

TYPES = {"integer": st.integers(-(10**30), 10**30), "boolean": st.booleans(), "array": st.lists(json_values())}
TYPES |= {"number": st.integers() | st.floats(allow_nan=False, allow_infinity=False), "object": json_objects}


def schema(**properties):
    return ArgumentSchema({"type": "object", "properties": properties})


def checked_by(schema, arguments):
    normal = schema.normalise(arguments)
    schema.check(normal)
    return normal


def violations(checked, arguments):
    with pytest.raises(InvalidArguments) as refused:
        checked.check(checked.normalise(arguments))
    return {violation.path: violation.expected for violation in refused.value.violations}


def resolve(document, pointer):
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@given(st.sampled_from(sorted(TYPES)).flatmap(lambda kind: st.tuples(st.just(kind), TYPES[kind])))
def test_json_text_stands_for_the_value_where_no_string_can_be_meant(case):
    kind, value = case
    given_back = checked_by(schema(a={"type": kind}), {"a": json.dumps(value), "b": "untouched"})
    assert given_back["b"] == "untouched"
    assert json.dumps(given_back["a"], sort_keys=True) == json.dumps(value, sort_keys=True)


@given(st.sampled_from(sorted(TYPES)), json_values())
def test_a_property_that_may_be_a_string_keeps_its_string(kind, value):
    text = json.dumps(value)
    checked = schema(a={"type": [kind, "string"]}, b={"type": "integer"}, c={}, d={"enum": [text]})
    assert checked_by(checked, {"a": text, "b": "7", "c": text, "d": text}) == {"a": text, "b": 7, "c": text, "d": text}


@given(object_schemas(), json_objects)
def test_what_the_schema_accepts_is_passed_on_untouched(described, arguments):
    if jsonschema_rs.validator_for(described).is_valid(arguments):
        assert checked_by(ArgumentSchema(described), arguments) == arguments  # 1.0 becomes 1 where no fraction may be


@given(object_schemas(), json_objects)
def test_whatever_is_let_through_satisfies_the_schema(described, arguments):
    try:
        checked = checked_by(ArgumentSchema(described), arguments)
    except InvalidArguments as refused:
        assert refused.violations
        for violation in refused.violations:
            resolve(arguments, violation.path)
    else:
        assert jsonschema_rs.validator_for(described).is_valid(checked)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "1.5"), ("integer", "1 2"), ("integer", "true"), ("integer", ""), ("integer", '"1"'),
        ("integer", "1" * 5000), ("number", "NaN"), ("number", "Infinity"), ("number", "true"), ("boolean", "1"),
        ("boolean", "yes"), ("array", "{}"), ("object", "[]"), ("object", "[" * 100_000), ("array", "[1"),
    ],
)  # fmt: skip
def test_text_that_is_not_exactly_the_wanted_value_is_refused(kind, text):
    assert list(violations(schema(a={"type": kind}), {"a": text})) == ["/a"]


def test_a_violation_is_pointed_at():
    checked = schema(**{"a/b~c": {"type": "array", "items": {"type": "object", "required": ["x"]}}})
    assert violations(checked, {"a/b~c": [{"x": 1}, {}]}) == {"/a~1b~0c/1": '"x" is a required property'}
    demanding = ArgumentSchema({"type": "object", "required": ["a"]})
    assert violations(demanding, {}) == {"": '"a" is a required property'}


def test_violations_name_the_place_but_not_the_value():
    told = violations(schema(a={"type": "integer"}, b={"const": 1}), {"a": "hunter2", "b": "hunter2"})
    assert set(told) == {"/a", "/b"}
    assert "hunter2" not in str(told)


def test_at_most_five_violations_are_told():
    checked = ArgumentSchema({"type": "object", "additionalProperties": {"type": "integer"}})
    assert len(violations(checked, {str(number): "x" for number in range(50)})) == 5


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


ENDLESS = {"$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}}}


@pytest.mark.parametrize(
    "value",
    [{"\ud800": 1}, {1: 2}, {"set"}, object(), nested(300)],
    ids=["half a pair", "number as key", "set", "object", "deep"],
)
def test_what_json_cannot_carry_is_refused_cleanly(value):
    checked = schema(a={"anyOf": [{"type": "array", "maxItems": 0}, {"enum": [[1], {"a": 1}]}]})
    assert violations(checked, {"a": value})


def test_a_schema_without_end_judges_as_deep_as_a_parser_goes():
    checked = ArgumentSchema({"type": "object", "properties": {"a": {"$ref": "#/$defs/list"}}, **ENDLESS})
    assert checked_by(checked, {"a": nested(300)})
    assert violations(checked, {"a": [[[[1]]]]}) == {"/a/0/0/0/0": 'value is not of type "array"'}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_cannot_say_is_no_number_within_bounds(value):
    assert violations(schema(a={"type": "number", "minimum": -1, "maximum": 1}), {"a": value})


@pytest.mark.parametrize("digits", [20, 400, 4000])
def test_huge_integers_are_judged_exactly(digits):
    value = 10**digits
    assert violations(schema(a={"type": "integer", "maximum": value - 1}), {"a": value})
    assert checked_by(schema(a={"type": "integer", "maximum": value}), {"a": value}) == {"a": value}


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "strng"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://schemas.example/a.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/hosts"}}},
        {"$schema": "https://schemas.example/unknown", "type": "object"},
        {"type": "object", "properties": {1: {}}},
        {"type": "object", "default": object()},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_registration(bad):
    with pytest.raises(InvalidInput, match="inputSchema is not a usable JSON Schema"):
        ArgumentSchema(bad)


def test_a_whole_number_with_a_point_is_an_integer():
    assert checked_by(schema(a={"type": "integer"}), {"a": "1.0"}) == {"a": 1.0}
    assert violations(schema(a={"type": "integer"}), {"a": "1.5"})


def test_where_nothing_may_stand_a_text_is_refused_as_anything_else():
    assert list(violations(schema(a=False), {"a": "1"})) == ["/a"]
    assert checked_by(schema(a=True), {"a": "1"}) == {"a": "1"}
