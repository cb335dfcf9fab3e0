"""Laws of portable schemas: every client takes them, they refuse nothing that the original accepts, and what they show
is what is enforced."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.domain.schema.inlining import inlined
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.portable_level import ANYTHING
from stoa.domain.schema.portable_schema import SIZE_LIMIT, portable

KEYWORDS = {
    *("type", "description", "default", "enum", "required", "properties", "additionalProperties", "items", "minItems"),
    *("maxItems", "uniqueItems", "minProperties", "maxProperties", "anyOf", "minimum", "maximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "format", "x-mcp-header"),
}
BESIDE_ALTERNATIVES = {"anyOf", "description", "default", "x-mcp-header"}
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


def _rooted(root: JsonObject, one: Any) -> JsonObject:
    return {**{key: value for key, value in root.items() if key != "$ref"}, "type": "object", "$defs": {"One": one}}


INNER = st.recursive(st.booleans() | st.fixed_dictionaries({"type": TYPES}), _with, max_leaves=5)
SCHEMAS = st.builds(_rooted, _with(INNER), INNER)
"""Schemas as anybody may write them."""


def _typed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
            optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": inner},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 2)}),
        st.fixed_dictionaries({"anyOf": several}),
        st.fixed_dictionaries({"oneOf": several}, optional={"description": st.just("D")}),
        st.fixed_dictionaries({"allOf": several}),
        st.just({"$ref": "#/$defs/One"}),
    )


LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "number", "boolean"])}),
    st.fixed_dictionaries(
        {"type": st.just("string"), "enum": st.lists(st.sampled_from(["x", "long", "y"]), min_size=1)}
    ),
    st.fixed_dictionaries({"enum": st.lists(st.integers(-3, 3) | st.just("x") | st.booleans(), min_size=1)}),
    st.fixed_dictionaries({"type": st.just("integer"), "exclusiveMinimum": st.integers(-2, 2)}),
    st.fixed_dictionaries({"type": st.just(["string", "integer"])}, optional={"minLength": st.just(1)}),
)
TYPED = st.recursive(LEAVES, _typed, max_leaves=6)
OBJECTS = st.builds(
    lambda members, required, one: {
        "type": "object",
        "properties": members,
        "required": required,
        "$defs": {"One": one},
    },
    st.dictionaries(NAMES, TYPED, max_size=3),
    st.lists(NAMES, max_size=1),
    TYPED,
)
"""Schemas that say the type of every value, as those made from API descriptions do."""
TEXTS = st.sampled_from(["x", "long", "y"])
GIVEN = st.recursive(
    st.integers(-3, 3) | TEXTS | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def below(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas in a portable one."""
    assert isinstance(schema, dict)
    yield schema
    children = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    children += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    for child in children:
        yield from below(child)


def validator(schema: Any) -> Any:
    return jsonschema_rs.Draft202012Validator(schema)


def size(schema: Any) -> int:
    return len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())


@given(SCHEMAS)
@settings(max_examples=3 * settings.default.max_examples)
def test_portable_schema_has_only_what_every_client_takes(schema: Any) -> None:
    made = portable(schema)
    validator(made)
    assert made["type"] == "object"
    assert "properties" in made or "additionalProperties" in made
    for part in below(made):
        assert part.keys() <= KEYWORDS
        assert ("type" in part) != ("anyOf" in part)
        assert "anyOf" not in part or part.keys() <= BESIDE_ALTERNATIVES
        assert isinstance(part.get("type", ""), str)
        assert part.get("type") != "array" or "items" in part
        assert part.get("type") != "object" or "properties" in part or "additionalProperties" in part
        assert part.get("format", "date-time") == "date-time"
        assert "enum" not in part or (part["type"] == "string" and part["enum"] and all(part["enum"]))
        assert set(part.get("required", ())) <= part.get("properties", {}).keys()


@given(OBJECTS, st.dictionaries(NAMES, GIVEN, max_size=3))
@settings(max_examples=3 * settings.default.max_examples)
def test_portable_schema_accepts_what_the_original_accepts(schema: Any, value: Any) -> None:
    if validator(schema).is_valid(value):
        assert validator(portable(schema)).is_valid(value)


@given(OBJECTS)
@settings(max_examples=2 * settings.default.max_examples)
def test_portable_schema_keeps_every_value_and_every_required_member(schema: Any) -> None:
    values = {value for part in _originals(schema) for value in part.get("enum", ()) if isinstance(value, str)}
    made = portable(schema)
    assert set(schema["required"]) == set(made.get("required", ()))
    if "allOf" not in json.dumps(schema):  # where enumerations are intersected
        assert values <= {value for part in below(made) for value in part.get("enum", ())}


def _originals(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas that a value can be held against: the definition counts once it is used."""
    without = {key: value for key, value in schema.items() if key != "$defs"}
    yield from _parts(without)
    if "$ref" in json.dumps(without):
        yield from _parts(schema["$defs"]["One"])


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)


@pytest.mark.parametrize(
    "branches",
    [
        {"anyOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"type": "string"}}}]},
        {"if": {"required": ["b"]}, "then": {"properties": {"a": {"type": "integer"}}}},
    ],
)
def test_portable_schema_shows_a_member_as_the_only_branch_that_has_it(branches: Any) -> None:
    assert portable({"type": "object", **branches})["properties"]["a"] == {"type": "integer"}


@given(OBJECTS)
def test_portable_schema_is_its_own_portable_form(schema: Any) -> None:
    made = portable(schema)
    if "allOf" not in json.dumps(schema):  # whose alternatives may become alike
        assert portable(made) is made


# -- sizes

LEAF = {"type": "string", "description": "words " * 10}


def wide(width: int, depth: int = 9) -> JsonObject:
    """Components that each use the next `width` times."""
    defs: JsonObject = {
        f"L{n}": {"type": "object", "properties": {f"p{n}_{i}": {"$ref": f"#/$defs/L{n + 1}"} for i in range(width)}}
        for n in range(depth)
    }
    defs[f"L{depth}"] = {"type": "string", "enum": ["last"]}
    return {"type": "object", "properties": {"root": {"$ref": "#/$defs/L0"}}, "$defs": defs}


def many(number: int) -> JsonObject:
    """So many components with a required member and three others, each used once."""
    defs: JsonObject = {
        f"C{n}": {
            "type": "object",
            "properties": {"id": {"type": "integer", "minimum": 1}, f"name{n}": LEAF, f"kind{n}": LEAF, f"x{n}": LEAF},
            "required": ["id"],
        }
        for n in range(number)
    }
    return {"type": "object", "properties": {f"m{n}": {"$ref": f"#/$defs/C{n}"} for n in range(number)}, "$defs": defs}


def test_portable_schema_writes_a_component_within_itself_once_more() -> None:
    node = {"type": "object", "description": "A node", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    first = {"$ref": "#/$defs/Node", "$comment": "x" * 400}
    made = portable({"type": "object", "properties": {"first": first}, "$defs": {"Node": node}})
    stub = {"type": "object", "description": "as first", "properties": {}}
    second = {"type": "object", "description": "A node", "properties": {"next": stub}}
    assert made["properties"]["first"] == {**second, "properties": {"next": second}}


@pytest.mark.parametrize("width", [1, 2, 3, 9, 30])
def test_portable_schema_that_would_explode_is_no_larger_than_the_original(width: int) -> None:
    schema = wide(width)
    made = portable(schema)
    assert size(made) <= max(size(schema), 1_000)
    assert len(made["properties"]["root"]["properties"]) == width


def test_portable_schema_cuts_the_deepest_levels_and_names_what_they_hide() -> None:
    schema = many(80)
    made = portable(schema, 9_000)
    assert size(made) <= 12_000
    first, last = made["properties"]["m0"], made["properties"]["m79"]
    assert first["properties"].keys() == {"id", "name0", "kind0", "x0"}
    assert last == {
        "type": "object",
        "properties": {"id": {"type": "integer", "minimum": 1}},
        "required": ["id"],
        "description": "id, name79, kind79, x79",
    }


def test_portable_schema_refers_to_the_place_where_a_component_is_described() -> None:
    schema = many(40)
    schema["properties"] |= {f"again{n}": {"$ref": "#/$defs/C0"} for n in range(20)}
    made = portable(schema)
    assert made["properties"]["again19"]["description"] == "as m0"
    assert made["properties"]["again19"]["required"] == ["id"]


def test_portable_schema_says_a_description_once() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number", "description": "Metres east of the mark."}}}
    made = portable({"type": "object", "properties": {"from": point, "to": point}})
    texts = [made["properties"][end]["properties"]["x"].get("description") for end in ("from", "to")]
    assert texts == ["Metres east of the mark.", None]


def test_portable_schema_cuts_a_description_to_save_bytes_rather_than_leaving_it_out() -> None:
    members = {f"filter_{number}": {"type": ["string", "null"]} for number in range(12)}
    text = "The names of the fields to answer. " + "What is within a field stands in braces after its name. " * 5
    schema = {"type": "object", "properties": {**members, "fields": {"type": "string", "description": text}}}
    made = portable(schema)["properties"]
    assert made["filter_1"] == {"type": "string", "description": "null clears it"}
    assert 60 <= len(made["fields"]["description"]) < len(text)
    assert made["fields"]["description"].startswith("The names of the fields to answer.")


def test_portable_schema_ends_a_long_description_after_a_sentence() -> None:
    text = "The first sentence says what the member is for, and how to use it. " * 9
    made = portable(
        {"type": "object", "properties": {f"m{n}": {"type": "string", "description": text + str(n)} for n in range(9)}}
    )
    assert made["properties"]["m8"]["description"] == text[:133]


def test_portable_schema_leaves_out_words_that_a_name_says() -> None:
    members = {"unit_price": {"type": "number", "title": "Unit Price"}, "n": {"type": "integer", "description": "N"}}
    made = portable({"type": "object", "properties": members})
    assert made["properties"] == {"unit_price": {"type": "number"}, "n": {"type": "integer"}}


def test_portable_schema_keeps_the_words_of_a_value_that_may_be_anything() -> None:
    made = portable({"type": "object", "properties": {"q": {"description": "What is sought"}}})
    assert made["properties"] == {"q": {**ANYTHING, "description": "What is sought"}}


# -- one keyword after the other


def shown(member: Any) -> Any:
    room = {"$comment": "x" * 400}  # for words instead of keywords
    return portable({"type": "object", "properties": {"p": member}, **room})["properties"].get("p")


STRING = {"type": "string"}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        # null
        ({"type": ["string", "null"]}, {"type": "string", "description": "null clears it"}),
        (
            {"anyOf": [INTEGER, {"type": "null"}], "title": "N", "description": "Count"},
            {"type": "integer", "description": "Count (null clears it)"},
        ),
        (
            {"anyOf": [{"type": "array", "items": STRING}, {"type": "null"}], "default": None},
            {"type": "array", "items": STRING, "description": "null clears it"},
        ),
        ({"type": ["null", "integer", "string"]}, {"anyOf": [INTEGER, STRING], "description": "null clears it"}),
        ({"type": ["null"]}, {"type": "null"}),
        ({"anyOf": [{"type": "null"}]}, {**ANYTHING, "description": "null clears it"}),
        # patterns
        (
            {"type": "string", "pattern": r"^\d[\w-]\\\D[]\d]$"},
            {"type": "string", "pattern": r"^[0-9][0-9A-Za-z_-]\\\D[][0-9]]$"},
        ),
        # types
        ({"type": ["string", "integer"]}, {"anyOf": [STRING, INTEGER]}),
        ({"type": ["integer", "number"]}, {"type": "number"}),
        ({"type": ["string", 5]}, STRING),
        (
            {"type": ["string", "integer"], "minLength": 1, "minimum": 2, "description": "D"},
            {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 2}], "description": "D"},
        ),
        ({"items": STRING}, {"type": "array", "items": STRING}),
        ({"properties": {"a": STRING}}, {"type": "object", "properties": {"a": STRING}}),
        ({"minLength": 2}, {"type": "string", "minLength": 2}),
        # anything
        (True, ANYTHING),
        ({}, ANYTHING),
        ({"$comment": "c", "not": {"type": "null"}, "readOnly": True}, ANYTHING),
        ({"type": []}, ANYTHING),
        ({"type": "array"}, {"type": "array", "items": ANYTHING}),
        ({"type": "array", "items": STRING, "prefixItems": [{}]}, {"type": "array", "items": ANYTHING}),
        ({"anyOf": [{}, {}]}, ANYTHING),
        ({"anyOf": [STRING, {}]}, {"type": "string", "description": "or any other value"}),
        # nothing
        (False, None),
        ({"not": {}}, None),
        ({"anyOf": [STRING, False]}, STRING),
        # values
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": "string", "enum": ["a", ""]}, {"type": "string", "enum": ["a"], "description": "or an empty string"}),
        ({"enum": [""]}, {"type": "string", "maxLength": 0}),
        (
            {"type": ["string", "null"], "enum": ["a", None]},
            {"type": "string", "enum": ["a"], "description": "null clears it"},
        ),
        ({"type": "integer", "enum": [1, 2, 3]}, {"type": "integer", "minimum": 1, "maximum": 3}),
        (
            {"enum": [10, 5, 6]},
            {
                "anyOf": [
                    {"type": "integer", "minimum": 5, "maximum": 6},
                    {"type": "integer", "minimum": 10, "maximum": 10},
                ],
                "description": "one of 10, 5, 6",
            },
        ),
        (
            {"enum": list(range(0, 100, 2))},
            {
                "type": "integer",
                "minimum": 0,
                "maximum": 98,
                "description": f"one of {', '.join(map(str, range(0, 100, 2)))}",
            },
        ),
        ({"enum": [0.5]}, {"type": "number", "minimum": 0.5, "maximum": 0.5, "description": "only 0.5"}),
        ({"enum": [True, False]}, {"type": "boolean"}),
        ({"const": True}, {"type": "boolean", "description": "only true"}),
        ({"enum": [None]}, {"type": "null"}),
        (
            {"enum": ["a", 1]},
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "minimum": 1, "maximum": 1}]},
        ),
        ({"enum": [[1]]}, {"type": "array", "description": "only [1]", "items": ANYTHING}),
        (
            {"oneOf": [{"const": "a", "title": "First"}, {"const": "b", "description": "Second"}]},
            {"type": "string", "enum": ["a", "b"], "description": "a: First; b: Second"},
        ),
        (
            {"anyOf": [{"type": "string", "enum": ["a", "b"], "description": "D"}, {"type": "null"}]},
            {"type": "string", "enum": ["a", "b"], "description": "D (null clears it)"},
        ),
        (
            {"anyOf": [{"enum": ["a", "b"]}, {"enum": ["c", "b"]}, {"type": "integer", "minimum": 3}]},
            {"anyOf": [{"type": "string", "enum": ["a", "b", "c"]}, {"type": "integer", "minimum": 3}]},
        ),
        # limits
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"type": "integer", "exclusiveMinimum": 3, "minimum": 5}, {"type": "integer", "minimum": 5}),
        ({"type": "integer", "exclusiveMinimum": True, "exclusiveMaximum": 9}, {"type": "integer", "maximum": 8}),
        ({"type": "integer", "exclusiveMinimum": "x"}, INTEGER),
        ({"type": "number", "exclusiveMaximum": 1}, {"type": "number", "maximum": 1, "description": "less than 1"}),
        (
            {"type": "number", "exclusiveMinimum": 0, "description": "Share"},
            {"type": "number", "minimum": 0, "description": "Share (greater than 0)"},
        ),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "uuid"}, {"type": "string", "description": "format: uuid"}),
        (
            {"type": "string", "format": "uuid", "description": "Id"},
            {"type": "string", "description": "Id (format: uuid)"},
        ),
        ({"type": "integer", "format": "int64"}, INTEGER),
        ({"type": "string", "format": 5}, STRING),
        ({"type": "string", "minItems": 2, "required": ["a"]}, STRING),
        ({"type": "string", "x-mcp-header": "Region"}, {"type": "string", "x-mcp-header": "Region"}),
        ({"type": "string", "default": "a"}, {"type": "string", "default": "a"}),
        ({"type": "string", "examples": ["a", "b", "c"]}, {"type": "string", "description": "e.g. a, b"}),
        ({"type": "string", "examples": ["a"], "default": "a"}, {"type": "string", "default": "a"}),
        # objects
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "properties": {}}),
        ({"type": "object", "additionalProperties": STRING}, {"type": "object", "additionalProperties": STRING}),
        (
            {"type": "object", "required": ["a"], "properties": {"b": False}},
            {"type": "object", "properties": {"a": ANYTHING}, "required": ["a"]},
        ),
        (
            {"type": "object", "required": ["a"], "additionalProperties": STRING},
            {"type": "object", "properties": {"a": STRING}, "required": ["a"], "additionalProperties": STRING},
        ),
        (
            {"type": "object", "additionalProperties": STRING, "patternProperties": {"^x": {}}},
            {"type": "object", "properties": {}, "description": "members have names like ^x"},
        ),
        # tuples
        (
            {"type": "array", "prefixItems": [{"type": "number"}, STRING], "items": False},
            {
                "type": "array",
                "maxItems": 2,
                "items": {"anyOf": [{"type": "number"}, STRING]},
                "description": "in this order: number, string",
            },
        ),
        ({"type": "array", "prefixItems": [INTEGER, INTEGER], "items": INTEGER}, {"type": "array", "items": INTEGER}),
        (
            {"type": "array", "prefixItems": [{"type": "number", "description": "Longitude"}, {}], "maxItems": 2},
            {
                "type": "array",
                "maxItems": 2,
                "items": ANYTHING,
                "description": "in this order: number (Longitude), anything",
            },
        ),
        # conditions
        *(
            ({"type": "object", **condition}, {"type": "object", "properties": {}, "description": words})
            for condition, words in (
                ({"not": {"required": ["a", "b"]}}, "not a and b together"),
                ({"not": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}}, "not a; not b"),
                ({"dependentRequired": {"a": ["b", "c"]}}, "with a give b and c"),
                (
                    {"if": {"properties": {"a": {"enum": ["x", 1]}}}, "then": {"required": ["b"]}},
                    "if a is x or 1 give b",
                ),
                ({"if": {"required": ["a"]}, "else": {"required": ["b"]}}, "unless a is given give b"),
                ({"propertyNames": {"pattern": "^[a-z]+$"}}, "names are like ^[a-z]+$"),
                ({"propertyNames": {"enum": ["a", "b"]}}, "names are a or b"),
            )
        ),
        ({"type": "string", "not": {"enum": ["a", "b"]}}, {"type": "string", "description": "not a or b"}),
        # combinations
        ({"allOf": [STRING, {"minLength": 1}]}, {"type": "string", "minLength": 1}),
        ({"allOf": [{"minimum": 1}, {"minimum": 3}], "type": "integer"}, {"type": "integer", "minimum": 3}),
        (
            {"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]},
            {"type": "string", "enum": ["b"]},
        ),
        (
            {"allOf": [{"properties": {"a": STRING}, "required": ["a"]}, {"properties": {"b": INTEGER}}]},
            {"type": "object", "properties": {"a": STRING, "b": INTEGER}, "required": ["a"]},
        ),
        (
            {"anyOf": [{"anyOf": [STRING, INTEGER]}, {"type": "boolean"}]},
            {"anyOf": [STRING, INTEGER, {"type": "boolean"}]},
        ),
        ({"anyOf": [STRING, STRING]}, STRING),
        (
            {"type": "string", "anyOf": [{"minLength": 1}, {"maxLength": 5}]},
            {"anyOf": [{"type": "string", "minLength": 1}, {"type": "string", "maxLength": 5}]},
        ),
        (
            {
                "type": "object",
                "properties": {"a": STRING, "b": STRING},
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {"type": "object", "properties": {"a": STRING, "b": STRING}, "description": "give a or b"},
        ),
    ],
    ids=repr,
)  # fmt: skip
def test_portable_member_is_what_every_client_understands_of_it(member: Any, expected: Any) -> None:
    assert shown(member) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {}),
        ({"title": "T", "description": "D", "$comment": "c"}, {"description": "D"}),
        ({"additionalProperties": False}, {}),
        ({"required": ["a", 5, "a"]}, {"properties": {"a": ANYTHING}, "required": ["a"]}),
        (
            {"properties": {"a": STRING}, "additionalProperties": INTEGER},
            {"properties": {"a": STRING}, "additionalProperties": INTEGER},
        ),
        (
            {
                "oneOf": [
                    {"properties": {"id": INTEGER, "x": STRING}, "required": ["id", "x"]},
                    {"properties": {"name": STRING, "x": STRING}, "required": ["name", "x"]},
                ]
            },
            {
                "properties": {"id": INTEGER, "x": STRING, "name": STRING},
                "required": ["x"],
                "description": "give id or name",
            },
        ),
        (
            {"properties": {"a": STRING}, "anyOf": [{"properties": {"a": INTEGER}}]},
            {"properties": {"a": {"anyOf": [STRING, INTEGER]}}},
        ),
        (
            {"oneOf": [{"properties": {"k": {"const": "a"}}}, {"properties": {"k": {"const": "b"}}}]},
            {"properties": {"k": {"type": "string", "enum": ["a", "b"]}}},
        ),
        (
            {"if": {"required": ["i"]}, "then": {"properties": {"a": STRING}}, "else": {"properties": {"b": STRING}}},
            {"properties": {"a": STRING, "b": STRING}},
        ),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": STRING}}}}, {"properties": {"a": STRING}}),
    ],
    ids=repr,
)  # fmt: skip
def test_portable_root_is_one_object_with_all_members_that_may_be_given(
    schema: JsonObject, expected: JsonObject
) -> None:
    room = {"$comment": "x" * 400}
    assert portable({"type": "object", **room, **schema}) == {"type": "object", "properties": {}, **expected}


def test_portable_schema_keeps_the_items_of_an_optional_list() -> None:
    line = {"type": "object", "required": ["sku"], "properties": {"sku": STRING, "qty": INTEGER}}
    schema = {
        "type": "object",
        "properties": {
            "lines": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Line"}}, {"type": "null"}]},
            "line": {"anyOf": [{"$ref": "#/$defs/Line"}, {"type": "null"}]},
        },
        "$defs": {"Line": line},
    }
    written = {"type": "object", "properties": {"sku": STRING, "qty": INTEGER}, "required": ["sku"]}
    assert portable(schema)["properties"] == {
        "lines": {"type": "array", "description": "null clears it", "items": written},
        "line": {**written, "description": "null clears it"},
    }


def test_portable_schema_follows_no_reference_out_of_the_schema() -> None:
    assert shown({"$ref": "pet.json"}) == {**ANYTHING, "description": "pet.json, not described further here"}
    assert shown({"$ref": "#/$defs/none", "type": "string"})["type"] == "string"


def test_portable_schema_ends_where_a_schema_is_defined_as_itself() -> None:
    schema = {
        "type": "object",
        "properties": {"p": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}},
    }
    assert portable(schema)["properties"]["p"] == ANYTHING
    choice = {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}
    assert "properties" in portable({**schema, "$defs": {"A": choice}})


def test_portable_schema_too_deep_to_be_understood_is_the_original() -> None:
    deep: JsonObject = {"type": "string", "format": "uuid"}
    for _ in range(2000):
        deep = {"type": "array", "items": deep}
    schema = {"type": "object", "properties": {"p": deep}}
    assert portable(schema) is schema


@pytest.mark.parametrize(
    "member",
    [
        {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "a", "x-mcp-header": "X", "enum": ["a"]},
        {"type": "number", "minimum": 1, "maximum": 2, "multipleOf": 3, "description": "T", "default": 3},
        {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
            "default": [],
        },
        {"type": "object", "properties": {}, "minProperties": 1, "maxProperties": 2},
    ],
    ids=repr,
)
def test_portable_schema_with_common_keywords_only_is_the_same_object(member: Any) -> None:
    schema = {"type": "object", "properties": {"p": member}}
    assert portable(schema) is schema


def test_portable_schema_of_a_schema_without_end_ends() -> None:
    """Every component has all others as required members, which no value satisfies."""
    names = [f"N{n}" for n in range(12)]
    defs = {
        name: {
            "type": "object",
            "properties": {other: {"$ref": f"#/$defs/{other}"} for other in names},
            "required": names,
        }
        for name in names
    }
    made = portable({"type": "object", "properties": {"p": {"$ref": "#/$defs/N0"}}, "$defs": defs})
    assert size(made) < 4 * SIZE_LIMIT
    assert inlined({"type": "object"}) == {"type": "object"}
