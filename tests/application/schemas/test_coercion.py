"""Coerced arguments: what a schema leaves no doubt about is understood, at every depth, and nothing else is touched."""

import json
import sys
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import json_values, object_schemas, recursive_cases

from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.coercion import MAX_NOTES
from stoa.application.schemas.coercion_plan import coercion_plan
from stoa.domain.errors import InvalidArguments

INTEGER = {"type": "integer"}
BOOLEAN = {"type": "boolean"}
STRINGS = {"type": "array", "items": {"type": "string"}}
INTEGERS = {"type": "array", "items": INTEGER}
FILTER = {
    "type": "object",
    "properties": {"limit": INTEGER, "exact": BOOLEAN, "ids": INTEGERS, "text": {"type": "string"}},
    "required": ["limit"],
}
NULL = {"type": "null"}
CAT = {
    "type": "object",
    "properties": {"kind": {"const": "cat"}, "lives": INTEGER},
    "required": ["kind"],
}
DOG = {
    "type": "object",
    "properties": {"kind": {"enum": ["dog", "wolf"]}, "lives": {"type": "string"}, "tricks": STRINGS},
    "required": ["kind"],
}

BIRD = {"type": "object", "properties": {"kind": {"const": "bird"}, "lives": INTEGER}}


def schema_of(described: Any, **definitions: Any) -> ArgumentSchema:
    return ArgumentSchema({"type": "object", "properties": {"a": described}, "$defs": definitions})


def understood(described: Any, value: Any, **definitions: Any) -> Any:
    schema = schema_of(described, **definitions)
    arguments = schema.normalise({"a": value})
    schema.check(arguments)
    return arguments["a"]


AMBIGUOUS = [
    ({"type": ["integer", "string"]}, "7"),
    ({}, "7"),
    ({"anyOf": [INTEGER, {"type": "string"}]}, "7"),
    ({"anyOf": [{"const": "7"}, INTEGER]}, "7"),
    ({"not": {"type": "string"}}, "7"),
    ({"type": "array", "items": INTEGERS}, [1, 2]),
    ({"type": ["array", "integer"], "items": INTEGER}, "x"),
    (INTEGERS, "[1"),
    (INTEGERS, ""),
    (INTEGERS, "1,x"),
    ({"type": "array", "items": FILTER}, '{"limit": 7}\n{"limit":'),
    ({"type": "array", "items": FILTER}, '{"limit": 7}\n5'),
    (INTEGERS, "1,,2"),
    (INTEGERS, ",".join("1" * 1001)),
    (INTEGERS, None),
    (STRINGS, 7),
    ({"type": "array", "prefixItems": [{}] * 70, "items": INTEGER}, ["7"] * 70),
    (INTEGER, "1.5"),
    (INTEGER, "9007199254740993.0"),
    (INTEGER, True),
    (BOOLEAN, "yes"),
    (BOOLEAN, 1),
    ({"type": "string"}, 7),
    ({"anyOf": [CAT, DOG]}, {"lives": "9"}),
    ({"type": "object", "patternProperties": {"^x": {"type": "string"}}, "additionalProperties": INTEGER}, {"x": "7"}),
]


@pytest.mark.parametrize(
    ("described", "value", "meant"),
    [
        (BOOLEAN, "True", True),
        (BOOLEAN, "FALSE", False),
        (BOOLEAN, " true ", True),
        ({"anyOf": [INTEGER, NULL]}, "7", 7),
        ({"anyOf": [INTEGER, NULL]}, "null", None),
        ({"type": ["integer", "null"]}, "None", None),
        ({"oneOf": [{"anyOf": [BOOLEAN]}, NULL]}, "True", True),
        ({"anyOf": [{"const": "auto"}, INTEGER]}, "7", 7),
        ({"anyOf": [{"const": "auto"}, INTEGER]}, "auto", "auto"),
        ({"enum": [1, 2]}, "2", 2),
        ({"allOf": [{"type": ["integer", "string"]}, {"type": ["integer", "null"]}]}, "7", 7),
        ({"$ref": "#/$defs/i"}, "7", 7),
        ({"anyOf": [{"$ref": "#/$defs/f"}, NULL]}, {"limit": "7"}, {"limit": 7}),
        ({"anyOf": [{"$ref": "#/$defs/f"}, NULL]}, '{"limit": "7", "ids": "1"}', {"limit": 7, "ids": [1]}),
        (FILTER, {"limit": "7", "exact": "True", "text": "7"}, {"limit": 7, "exact": True, "text": "7"}),
        (FILTER, {"limit": 7, "exact": None, "ids": None, "other": None}, {"limit": 7, "other": None}),
        ({"allOf": [FILTER, {"required": ["exact"]}]}, {"limit": 1, "exact": "false"}, {"limit": 1, "exact": False}),
        (INTEGERS, "[1, 2]", [1, 2]),
        (INTEGERS, ["1", 2.0], [1, 2]),
        (INTEGERS, "7", [7]),
        (INTEGERS, 7, [7]),
        (INTEGERS, "1, 2", [1, 2]),
        ({"type": "array", "items": {"enum": ["draft", "sent"]}}, "draft,sent", ["draft", "sent"]),
        ({"type": "array", "items": FILTER}, '{"limit": "7"}\n{"limit": 8}\n', [{"limit": 7}, {"limit": 8}]),
        (STRINGS, "x", ["x"]),
        (STRINGS, "x,y", ["x,y"]),
        (STRINGS, '["x"]', ["x"]),
        ({"anyOf": [STRINGS, NULL]}, "x", ["x"]),
        ({"type": "array", "items": FILTER}, {"limit": "7"}, [{"limit": 7}]),
        ({"type": "array", "items": FILTER}, [{"limit": "7"}, '{"limit": 8}'], [{"limit": 7}, {"limit": 8}]),
        ({"type": "array", "prefixItems": [INTEGER], "items": BOOLEAN}, ["1", "true"], [1, True]),
        ({"type": "object", "additionalProperties": INTEGER}, {"x": "7"}, {"x": 7}),
        ({"anyOf": [CAT, DOG]}, {"kind": "cat", "lives": "9"}, {"kind": "cat", "lives": 9}),
        ({"oneOf": [CAT, DOG]}, {"kind": "dog", "lives": "9"}, {"kind": "dog", "lives": "9"}),
        ({"oneOf": [CAT, DOG]}, {"kind": "wolf", "tricks": "sit"}, {"kind": "wolf", "tricks": ["sit"]}),
        ({"anyOf": [{"oneOf": [CAT, DOG]}, BIRD]}, {"kind": "bird", "lives": "9"}, {"kind": "bird", "lives": 9}),
        ({"anyOf": [{"oneOf": [CAT, DOG]}, BIRD]}, {"kind": "cat", "lives": "9"}, {"kind": "cat", "lives": 9}),
        ({"type": ["array", "integer"], "items": INTEGER}, "7", 7),
        ({"type": "number"}, "1e2", 100.0),
        (INTEGER, "12345678901234567890123", 12345678901234567890123),
    ],
)
def test_coercion_understands_what_the_schema_leaves_no_doubt_about(described: Any, value: Any, meant: Any) -> None:
    made = understood(described, value, i=INTEGER, f=FILTER)
    assert json.dumps(made) == json.dumps(meant)


@pytest.mark.parametrize(("described", "value"), AMBIGUOUS)
def test_coercion_leaves_alone_what_could_mean_two_things(described: Any, value: Any) -> None:
    arguments = {"a": value}
    schema = ArgumentSchema({"type": "object", "properties": {"a": described}, "required": ["a"]})
    assert schema.normalise_noting(arguments) == (arguments, ())


@pytest.mark.parametrize("described", [INTEGER, STRINGS, FILTER, {"enum": ["x"]}, {"anyOf": [INTEGER, BOOLEAN]}])
def test_coercion_takes_null_for_absent_only_where_null_is_impossible_and_absence_is_not(described: Any) -> None:
    optional = ArgumentSchema({"type": "object", "properties": {"a": described}})
    assert optional.normalise_noting({"a": None, "b": None}) == ({"b": None}, ("/a",))
    for kept in (
        {"properties": {"a": described}, "required": ["a"]},
        {"properties": {"a": {"anyOf": [described, NULL]}}},
        {"properties": {"a": {}}},
        {"properties": {"a": described}, "allOf": [{"required": ["a"]}]},
    ):
        assert ArgumentSchema({"type": "object", **kept}).normalise({"a": None}) == {"a": None}


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("described", "value", "meant"),
    [
        (TEXT, 7, "7"),
        (TEXT, 1.5, "1.5"),
        (TEXT, 2.0, "2"),
        (TEXT, True, "true"),
        ({"type": ["string", "null"]}, 7, "7"),
        ({"anyOf": [TEXT, NULL]}, 7, "7"),
        ({"enum": ["1", "2"]}, 1, "1"),
        (STRINGS, [1, "x"], ["1", "x"]),
        (STRINGS, 5, ["5"]),
        ({"type": "object", "additionalProperties": TEXT}, {"k": 5}, {"k": "5"}),
    ],
)
def test_coercion_takes_a_number_for_its_text_only_leniently(described: Any, value: Any, meant: Any) -> None:
    root = {"type": "object", "properties": {"a": described}}
    lenient = ArgumentSchema(root, validation="lenient")
    made = lenient.normalise({"a": value})
    assert (made, lenient.check(made)) == ({"a": meant}, ())
    strict = ArgumentSchema(root)
    with pytest.raises(InvalidArguments):
        strict.check(strict.normalise({"a": value}))


@pytest.mark.parametrize(
    ("described", "value"),
    [({"enum": ["1", "2"]}, 3), ({"type": ["string", "integer"]}, 3), (TEXT, 1e300), (TEXT, [1])],
)
def test_coercion_takes_no_number_for_a_text_that_could_be_another(described: Any, value: Any) -> None:
    root = {"type": "object", "properties": {"a": described}}
    assert ArgumentSchema(root, validation="lenient").normalise({"a": value}) == {"a": value}


LONG = {"properties": {"n": INTEGER, "long": TEXT}, "required": ["long"], "type": "object"}
SHORT = {"properties": {"n": BOOLEAN, "short": TEXT}, "required": ["short"], "type": "object"}
BRIEF = {"properties": {"n": INTEGER, "brief": TEXT}, "required": ["n"], "type": "object"}


@pytest.mark.parametrize(
    ("described", "value", "meant"),
    [
        ({"anyOf": [LONG, SHORT]}, {"n": "7", "long": "x"}, {"n": 7, "long": "x"}),
        ({"anyOf": [LONG, SHORT]}, {"n": "true", "short": "x"}, {"n": True, "short": "x"}),
        ({"anyOf": [LONG, BRIEF]}, {"n": "7", "long": "x"}, {"n": 7, "long": "x"}),
        ({"oneOf": [LONG, BRIEF]}, {"n": "7", "brief": "x"}, {"n": 7, "brief": "x"}),
    ],
)
def test_coercion_goes_into_the_alternative_that_is_left_or_does_what_all_of_them_say(
    described: Any, value: Any, meant: Any
) -> None:
    assert understood(described, value) == meant


@pytest.mark.parametrize("described", [INTEGER, {"type": ["integer", "null"]}, {"anyOf": [INTEGER, NULL]}])
@pytest.mark.parametrize("number", [0, 1, -7, 2**53 - 1, 10**22])
def test_coercion_makes_whole_floats_integers(described: Any, number: int) -> None:
    schema = schema_of({"type": "array", "items": described})
    made, noted = schema.normalise_noting({"a": [float(number)]})
    assert [type(one) for one in made["a"]] == [int]
    assert (made["a"], noted) == ([number], ()), "1.0 is 1: nothing was understood otherwise than written"


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63) - 1, 10**300, 0.1, 1e300])
def test_coercion_keeps_numbers_exact(value: float) -> None:
    assert repr(understood({"type": "number"}, value)) == repr(value)
    if isinstance(value, int):
        assert understood(INTEGER, value) == understood(INTEGER, str(value)) == value


def test_coercion_notes_name_places_and_never_values_or_names_of_callers() -> None:
    described = {"type": "object", "properties": {"a/b": INTEGERS}, "additionalProperties": FILTER}
    value = {"a/b": ["7", "8"], "hunter2": {"limit": "99"}, "other": {"limit": "100"}}
    _, noted = schema_of(described).normalise_noting({"a": value})
    assert noted == ("/a/a~1b/*", "/a/*/limit")


def test_coercion_notes_are_few_however_much_is_coerced() -> None:
    names = [f"n{number}" for number in range(1000)]
    schema = ArgumentSchema({"type": "object", "properties": dict.fromkeys(names, INTEGER)})
    made, noted = schema.normalise_noting(dict.fromkeys(names, "7"))
    assert made == dict.fromkeys(names, 7)
    assert len(noted) == MAX_NOTES


VALIDATIONS: Any = st.sampled_from(["strict", "lenient"])


@given(
    object_schemas(),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), json_values() | st.text(max_size=6)),
    VALIDATIONS,
)
def test_coercion_changes_nothing_that_fits_and_is_done_after_once(
    described: Any, arguments: Any, validation: Any
) -> None:
    schema = ArgumentSchema(described, validation=validation)
    before = json.dumps(arguments)
    made, noted = schema.normalise_noting(arguments)
    assert json.dumps(arguments) == before
    assert schema.normalise_noting(made) == (made, ())
    if jsonschema_rs.validator_for(described).is_valid(arguments):
        assert (made, noted) == (arguments, ())


PLACES = st.recursive(
    st.sampled_from([INTEGER, BOOLEAN, NULL, {"type": "string"}, {"const": "x"}, {"enum": [1, "1", None]}, {}, True]),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("ab"), inner)},
            optional={"required": st.just(["a"]), "additionalProperties": inner},
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.just({"$ref": "#"}),
    ),
    max_leaves=8,
)
SENT = st.recursive(
    st.sampled_from([None, 1, 1.0, "1", "x", "true", "True", "null", "[1]", '{"a": "1"}', True, 2.5, ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("ab"), PLACES), st.dictionaries(st.sampled_from("abc"), SENT), VALIDATIONS)
def test_coercion_obeys_its_laws_for_nested_unions(properties: Any, arguments: Any, validation: Any) -> None:
    described = {"type": "object", "properties": properties}
    schema = ArgumentSchema(described, validation=validation)
    made, noted = schema.normalise_noting(arguments)
    again, noted_again = schema.normalise_noting(made)
    assert (json.dumps(again), noted_again) == (json.dumps(made), ())
    if jsonschema_rs.validator_for(described).is_valid(arguments):
        assert (made, noted) == (arguments, ())


@given(recursive_cases(), VALIDATIONS)
def test_coercion_obeys_its_laws_for_recursive_schemas(case: Any, validation: Any) -> None:
    schema = ArgumentSchema(case.schema, validation=validation)
    made = schema.normalise(case.arguments)
    assert schema.normalise_noting(made) == (made, ())
    if jsonschema_rs.validator_for(case.schema).is_valid(case.arguments):
        assert made == case.arguments


def nested(levels: int, value: Any) -> Any:
    for _ in range(levels):
        value = {"child": value}
    return value


def calls_of(work: Callable[[], object]) -> int:
    """Python functions that it calls."""
    count = 0

    def note(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def steps_of(schema: ArgumentSchema, arguments: Any) -> int:
    return calls_of(lambda: schema.normalise(arguments))


TREE = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b"]}, "child": {"$ref": "#/$defs/tree"}, "n": INTEGER},
    "oneOf": [
        {"properties": {"kind": {"const": "a"}, "n": INTEGER}},
        {"properties": {"kind": {"const": "b"}, "n": {"type": "integer"}}},
    ],
}


def test_coercion_takes_work_in_proportion_to_the_arguments() -> None:
    tree = schema_of({"$ref": "#/$defs/tree"}, tree=TREE)
    assert steps_of(tree, {"a": nested(160, {"n": "1"})}) < 3 * steps_of(tree, {"a": nested(80, {"n": "1"})})
    wide = schema_of(INTEGERS)
    assert steps_of(wide, {"a": ["1"] * 2000}) < 3 * steps_of(wide, {"a": ["1"] * 1000})


def test_coercion_does_not_break_on_arguments_of_any_depth() -> None:
    tree = schema_of({"$ref": "#/$defs/tree"}, tree=TREE)
    deep = {"a": nested(10_000, {"n": "1"})}
    assert tree.normalise(deep) is deep


def test_coercion_costs_two_calls_where_nothing_has_to_be_done() -> None:
    schema = ArgumentSchema({"type": "object", "properties": {f"n{number}": INTEGER for number in range(100)}})
    assert steps_of(schema, {f"n{number}": number for number in range(100)}) <= 5


def test_coercion_plans_of_hostile_schemas_are_made_in_bounded_work() -> None:
    names = [f"d{number}" for number in range(60)]
    definitions = {
        name: {"anyOf": [{"$ref": f"#/$defs/{other}"} for other in names], "properties": {name: INTEGER}}
        for name in names
    }
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions}
    assert calls_of(lambda: coercion_plan(schema)) < 2_000_000
