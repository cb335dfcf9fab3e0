"""Validation says what JSON Schema says, and its work is bounded whatever the schema and the value are."""

import contextlib
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tests.strategies import SchemaCase, json_objects, object_schemas, recursive_cases, schema_cases

from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.bounded_validator import COUNT, BoundedValidator, TooCostly, is_plain_json
from stoa.application.schemas.step_counting import counted
from stoa.application.schemas.violations import MAX_STEPS, MAX_VIOLATIONS, violations_of
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.schema.schema_document import SchemaDocument

LIMIT = 600_000
STEPS = LIMIT // 60


def reference(schema: Any) -> Any:
    return jsonschema_rs.validator_for(schema, offline=True)


def validator_of(case: SchemaCase) -> BoundedValidator:
    try:
        return BoundedValidator(case.schema, limit=LIMIT)
    except InvalidInput as refused:
        assert "unevaluatedProperties" in refused.message
        reject()


class Uncounted:
    def __init__(self, parent: Any, value: Any, path: Any) -> None:
        assert value["weight"] > 0

    def validate(self, instance: Any) -> None:
        pass


def resolve(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@given(object_schemas(), json_objects)
def test_a_bounded_validator_answers_as_the_unbounded_one_does(schema: Any, value: Any) -> None:
    assert BoundedValidator(schema).is_valid(value) == reference(schema).is_valid(value)


@given(object_schemas(), json_objects)
def test_a_counted_schema_means_what_it_meant(schema: Any, value: Any) -> None:
    made = jsonschema_rs.validator_for(counted(SchemaDocument(schema)), keywords={COUNT: Uncounted}, offline=True)
    assert made.is_valid(value) == reference(schema).is_valid(value)


@given(recursive_cases())
def test_a_bounded_validator_judges_recursive_schemas_rightly(case: SchemaCase) -> None:
    bounded = BoundedValidator(case.schema, limit=LIMIT)
    try:
        answer = bounded.is_valid(case.arguments)
    except TooCostly:
        return
    assert answer == reference(case.schema).is_valid(case.arguments)


@given(schema_cases())
@settings(deadline=None)
def test_a_bounded_validator_takes_a_bounded_number_of_steps(case: SchemaCase) -> None:
    bounded = validator_of(case)
    try:
        bounded.is_valid(case.arguments)
    except TooCostly:
        assert bounded.work.left < 0
    # Once the work is used up, each alternative that is still open is asked once more and refused at once.
    assert bounded.work.steps <= STEPS + 2_000


@given(schema_cases() | st.builds(SchemaCase, object_schemas(), json_objects))
@settings(deadline=None)
def test_violations_are_few_name_places_and_tell_no_values(case: SchemaCase) -> None:
    validator = validator_of(case)
    found = violations_of(SchemaDocument(case.schema), validator.patterns, case.arguments)
    assert 1 <= len(found) <= MAX_VIOLATIONS
    for one in found:
        resolve(case.arguments, one.path)


def chain(keyword: str, levels: int) -> Any:
    defined: Any = {f"s{n}": {keyword: [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(levels)}
    defined[f"s{levels}"] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    return {"type": "object", "$ref": "#/$defs/s0", "$defs": defined}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
@pytest.mark.parametrize("value", [1, "x"])
def test_a_schema_that_doubles_at_each_level_is_refused_or_answered_within_the_limit(keyword: str, value: Any) -> None:
    bounded = BoundedValidator(chain(keyword, 60), limit=LIMIT)
    with contextlib.suppress(TooCostly):
        bounded.is_valid({"a": value})
    assert bounded.work.steps <= STEPS + 2_000


def ambiguous(*, order: str) -> Any:
    """Both alternatives go down into the same child, and what tells them apart comes last."""
    inner = [
        {"properties": {"child": {"$ref": "#/$defs/node"}}, order: {"properties": {"kind": {"const": kind}}}}
        for kind in ("a", "b")
    ]
    return {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": {"anyOf": inner}}}


@pytest.mark.parametrize("order", ["not", "then", "dependentSchemas", "unevaluatedProperties"])
@pytest.mark.parametrize("levels", [10, 60, 200])
def test_a_union_that_is_not_told_apart_is_judged_within_the_limit(order: str, levels: int) -> None:
    schema = ambiguous(order=order)
    bounded = BoundedValidator(schema, limit=LIMIT)
    value: Any = 1
    for _ in range(levels):
        value = {"child": value, "kind": "zzz"}
    with contextlib.suppress(TooCostly):
        bounded.is_valid({"root": value})
    assert bounded.work.steps <= STEPS + 2_000


AGAIN = {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/properties/b/items"}, "b": {"items": AGAIN}}},
        {"properties": {"a": {"$ref": "#/components/x"}}, "components": {"x": AGAIN}},
        {"properties": {"a": {"$ref": "#/$defs/a~1b%25"}}, "$defs": {"a/b%": {"not": {"not": {"$ref": "#"}}}}},
        {"properties": {"a": {"$dynamicRef": "#n"}}, "$dynamicAnchor": "n", "type": "object"},
        {"$id": "https://x.example/s", "properties": {"a": {"$ref": "s#/$defs/A"}}, "$defs": {"A": AGAIN}},
        {"properties": {"a": {"$ref": "t#/$defs/B"}}, "$defs": {"A": {"$id": "t", "$defs": {"B": AGAIN}}}},
        {"$schema": DRAFT_7, "properties": {"a": {"$ref": "#", "type": "null"}}, "type": "object"},
        {"$schema": DRAFT_7, "properties": {"a": {"items": [{"$ref": "#"}], "additionalItems": {"$ref": "#"}}}},
        {"$schema": DRAFT_2019, "properties": {"a": {"$recursiveRef": "#"}}, "type": "object"},
        {"patternProperties": {"^a": {"$ref": "#"}}, "type": "object"},
        {"properties": {"a": {"$ref": "#/allOf/1"}, "b": AGAIN}, "allOf": [{}, {"type": "object"}]},
        {"properties": {"a": {"$ref": "#/$defs/a%2Fb"}, "b": AGAIN}, "$defs": {"a": {"b": AGAIN}, "a/b": False}},
        {"properties": {"a": {"allOf": [{"properties": {"a": {"$ref": "#"}}}], "unevaluatedProperties": False}}},
    ],
)  # fmt: skip
def test_references_of_all_kinds_lead_where_they_led(schema: Any) -> None:
    bounded, plain = BoundedValidator(schema), reference(schema)
    assert COUNT in json.dumps(counted(SchemaDocument(schema)))
    leaves = [None, 1, {}, [], {"a": 1}, [None], {"b": [1]}, {"b": [None]}]
    for first, second in itertools.product(leaves, leaves):
        for value in (
            {"a": first},
            {"a": first, "b": [second]},
            {"a": {"a": first, "c": second}},
            {"a": [first, second]},
        ):
            assert bounded.is_valid(value) == plain.is_valid(value), value


@pytest.mark.parametrize(
    "node",
    [
        {"anyOf": [{"properties": {"c": {"$ref": "#/$defs/n"}}}, {"required": ["d"]}], "unevaluatedProperties": False},
        {"allOf": [{"$ref": "#/$defs/n"}], "unevaluatedProperties": False},
        {
            "if": {"required": ["d"]},
            "then": {"items": {"$ref": "#/$defs/n"}},
            "unevaluatedItems": {"$ref": "#/$defs/n"},
        },
    ],
)
def test_unevaluated_properties_that_multiply_are_refused_at_registration(node: Any) -> None:
    with pytest.raises(InvalidInput, match="write additionalProperties"):
        ArgumentSchema({"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}})


def test_unevaluated_properties_of_a_strict_tree_are_checked() -> None:
    tree = {"type": "object", "properties": {"children": {"items": {"$ref": "#/$defs/strict"}}}}
    strict = {"$ref": "#/$defs/tree", "unevaluatedProperties": False}
    root = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/strict"}},
        "$defs": {"tree": tree, "strict": strict},
    }
    bounded = BoundedValidator(root)
    assert bounded.is_valid({"a": {"children": [{"children": []}]}})
    assert not bounded.is_valid({"a": {"children": [{"other": 1}]}})


def test_many_alternatives_over_a_big_array_are_refused_within_the_limit() -> None:
    many = BoundedValidator({"items": {"anyOf": [{"const": n} for n in range(200)]}}, limit=LIMIT)
    assert many.is_valid([199] * 100)
    with pytest.raises(TooCostly):
        many.is_valid([200] * 1_000_000)
    assert many.work.steps <= STEPS


def test_unique_items_are_told_apart_in_linear_time() -> None:
    bounded = BoundedValidator({"uniqueItems": True})
    for size in (1_000, 20_000):  # the library compares each pair of these
        assert bounded.is_valid([10**30 + number for number in range(size)])
        assert bounded.is_valid([[10**30 + number] for number in range(size // 4)])
    assert bounded.work.steps < 20_000


ALIKE = st.integers(-2, 2) | st.floats(-2, 2) | st.booleans() | st.none() | st.text("a1[,", max_size=3)
NEARLY_EQUAL = st.recursive(
    ALIKE,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("a1", max_size=1), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(NEARLY_EQUAL, max_size=6))
def test_unique_items_are_those_of_json_schema(value: Any) -> None:
    schema = {"uniqueItems": True}
    assert BoundedValidator(schema).is_valid(value) == reference(schema).is_valid(value)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_plain_json_is_finite_and_not_nested_without_end() -> None:
    assert is_plain_json({"a": [None, True, 1.5, "x", 10**400]})
    assert is_plain_json(nested(512))
    for other in (nested(513), nested(100_000), float("inf"), [float("nan")], {"a": {1: 2}}, {"x"}, object(), b"x"):
        assert not is_plain_json(other)


def op(kind: str) -> Any:
    return {
        "type": "object",
        "required": ["op", "of"],
        "properties": {"op": {"type": "string", "enum": [kind]}, "of": {"$ref": "#/$defs/Filter"}},
    }


LEAF = {
    "type": "object",
    "required": ["op", "field"],
    "properties": {"op": {"type": "string", "enum": ["eq"]}, "field": {"type": "string"}},
}
FILTER = {
    "type": "object",
    "properties": {"filter": {"$ref": "#/$defs/Filter"}},
    "$defs": {
        "Filter": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in ("Not", "Any", "All", "Leaf")]},
        "Not": op("not"),
        "Any": op("any"),
        "All": op("all"),
        "Leaf": LEAF,
    },
}


@pytest.mark.parametrize("levels", [1, 10, 30])
def test_a_mistake_deep_in_a_union_is_pointed_at(levels: int) -> None:
    value: Any = {"op": "eq", "field": 1}
    for _ in range(levels):
        value = {"op": "not", "of": value}
    with pytest.raises(InvalidArguments) as refused:
        ArgumentSchema(FILTER).check({"filter": value})
    (violation,) = refused.value.violations
    assert violation.path == "/filter" + "/of" * levels + "/field"
    assert violation.expected == 'value is not of type "string"'


def test_a_mistake_far_down_an_array_is_pointed_at() -> None:
    schema = ArgumentSchema({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}})
    with pytest.raises(InvalidArguments) as refused:
        schema.check({"a": [1] * 500 + ["x"]})
    assert [one.path for one in refused.value.violations] == ["/a/500"]
    with pytest.raises(InvalidArguments) as refused:
        schema.check({"a": ["x"] * 500_000})
    assert len(refused.value.violations) == MAX_VIOLATIONS


def calls_in(function: Callable[[], object]) -> int:
    """Calls of functions, native ones too, that one call takes."""
    calls = itertools.count()
    sys.setprofile(lambda _frame, event, _function: next(calls) if event in {"call", "c_call"} else None)
    try:
        function()
    finally:
        sys.setprofile(None)
    return next(calls)


def test_a_mismatch_that_many_ways_lead_to_is_explained_once() -> None:
    found = violations_of(SchemaDocument(chain("allOf", 18)), {}, {"a": "x"})
    assert found == [Violation("/a", 'value is not of type "integer"')]


@pytest.mark.parametrize(
    ("items", "entries"), [({"type": "integer"}, [1]), (True, [1]), ({"type": "array", "items": True}, [[1], []])]
)
def test_a_mismatch_beyond_a_million_entries_is_looked_for_within_the_budget(items: Any, entries: list[Any]) -> None:
    document = SchemaDocument({"type": "object", "properties": {"a": {"items": items, "maxItems": 1}}})
    values = {"a": entries * (1_000_000 // len(entries)) + ["x"]}
    assert calls_in(lambda: violations_of(document, {}, values)) < 20 * MAX_STEPS


def test_a_mismatch_is_explained_without_a_copy_of_what_is_below() -> None:
    beyond_json = {"deep": object()}  # the library raises ValueError where it copies this
    document = SchemaDocument({"type": "object", "required": ["b"], "maxProperties": 0})
    expected = {one.expected for one in violations_of(document, {}, {"a": beyond_json})}
    assert expected == {'"b" is a required property', "value has more than 0 properties"}


@pytest.mark.parametrize("keyword", ["enum", "const"])
def test_a_mismatch_beside_constants_names_the_constants_only_where_they_do_not_fit(keyword: str) -> None:
    constant = {"a": {"b": 1}}
    document = SchemaDocument({keyword: [constant] if keyword == "enum" else constant, "required": ["c"]})
    (violation,) = violations_of(document, {}, constant)
    assert violation.expected == '"c" is a required property'
    assert len(violations_of(document, {}, {"a": {"b": 2}})) == 2


def test_a_mismatch_among_large_constants_compiles_few_of_them() -> None:
    many = [{"enum": [[1] * 1000 + [number], 0]} for number in range(1000)]
    document = SchemaDocument({"type": "object", "properties": {"a": {"allOf": many}}})
    assert calls_in(lambda: violations_of(document, {}, {"a": [1] * 1000})) < 20 * MAX_STEPS


@pytest.mark.parametrize(
    ("schema", "value", "path", "expected"),
    [
        ({"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 2, "/a", "more than one"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "/a", "under any of the schemas"),
        ({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "null"}}]}, [1], "/a/0", 'type "null"'),
        ({"not": {"type": "string"}}, "x", "/a", "'not'"),
        ({"type": "object", "additionalProperties": False}, {"x": 1}, "/a", "'x'"),
        ({"contains": {"type": "null"}}, [1], "/a", "contains"),
        ({"propertyNames": {"maxLength": 1}}, {"xx": 1}, "/a", "propertyNames"),
        ({"if": {"type": "string"}, "then": {"minLength": 2}}, "x", "/a", "shorter than 2"),
        ({"dependentSchemas": {"x": {"required": ["y"]}}}, {"x": 1}, "/a", '"y" is a required property'),
        ({"prefixItems": [{"type": "null"}], "items": {"type": "string"}}, [None, 1], "/a/1", 'type "string"'),
        ({"patternProperties": {"^x": {"type": "null"}}}, {"x1": 1}, "/a/x1", 'type "null"'),
        ({"pattern": "^[a-z]+$"}, "A", "/a", '"^[a-z]+$"'),
        ({"uniqueItems": True}, [1, 1], "/a", "non-unique"),
        ({"enum": ["red", "green"]}, "blue", "/a", "red"),
        ({"allOf": [{"type": "string"}, {"maxLength": 0}]}, "x", "/a", "longer than 0"),
        ({"allOf": [{"properties": {"b": {}}}], "unevaluatedProperties": False}, {"c": 1}, "", "fits the schema"),
    ],
)  # fmt: skip
def test_each_kind_of_mismatch_says_what_was_expected(schema: Any, value: Any, path: str, expected: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        ArgumentSchema({"type": "object", "properties": {"a": schema}}).check({"a": value})
    (violation,) = refused.value.violations
    assert violation.path == path
    assert expected in violation.expected


def test_what_is_too_costly_to_check_is_refused_and_says_so() -> None:
    schema = ArgumentSchema(chain("anyOf", 60))
    with pytest.raises(InvalidArguments, match="more work than one call may cause"):
        schema.check({"a": "x"})


def test_a_chain_of_references_without_end_is_refused_or_used_but_not_fatal() -> None:
    defined: Any = {f"s{n}": {"$ref": f"#/$defs/s{n + 1}"} for n in range(5_000)}
    defined["s5000"] = {"type": "object"}
    with contextlib.suppress(InvalidInput):
        ArgumentSchema({"type": "object", "$ref": "#/$defs/s0", "$defs": defined}).check({"a": "x"})


@pytest.mark.parametrize(
    ("branches", "value", "told"),
    [
        ([{"type": "integer"}, {"type": "string", "enum": ["", "x"]}], "y", 'integer; "" or "x"'),
        ([{"type": "object", "required": ["a", "b"]}, {"$ref": "#/$defs/C"}], {}, "object with a, b; value with c"),
        ([{"const": 1}, {"type": ["boolean", "null"]}], "y", "1; boolean or null"),
    ],
)
def test_alternatives_of_which_none_fits_are_named(branches, value, told):
    validator = BoundedValidator({"properties": {"p": {"anyOf": branches}}, "$defs": {"C": {"required": ["c"]}}})
    (violation,) = validator.violations({"p": value})
    assert violation.path == "/p"
    assert violation.expected.endswith(f"the 'anyOf' keyword: {told}")


def test_alternatives_of_which_one_cannot_be_told_in_a_few_words_are_not_named():
    branches = [{"minLength": 3}, {"type": "string", "pattern": "^x"}]
    (violation,) = BoundedValidator({"anyOf": branches}).violations("y")
    assert violation.expected.endswith("keyword")
