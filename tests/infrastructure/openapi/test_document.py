"""Text to document: what is read, and how what is not is refused."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.infrastructure.openapi.documents import api, convert, messages, only_tool, operation, properties, swagger

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.documents import DocumentProblem, parse_yaml

HEAD = "openapi: 3.0.0\ninfo: {title: T, version: '1'}\nservers: [{url: https://a.example}]\n"


def test_json_and_yaml_of_the_same_document_give_the_same_tools():
    yaml_text = HEAD + "paths:\n  /pets:\n    get:\n      operationId: list\n"
    document = {
        "openapi": "3.0.0",
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": "https://a.example"}],
        "paths": {"/pets": {"get": {"operationId": "list"}}},
    }
    assert convert(yaml_text) == convert(json.dumps(document))


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0", "3.2.0"])
def test_every_version_3_is_read(version):
    assert only_tool(api({"/pets": {"get": operation()}}, version=version)).name == "act"


def test_version_2_is_read():
    assert only_tool(swagger({"/pets": {"get": operation()}})).name == "act"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"openapi": "3.0.0",\n "paths": [}', "pets.yaml: line 2: not readable as JSON"),
        ("openapi: 3.0.0\npaths:\n  - [", "pets.yaml: line 3: not readable as YAML"),
        ("openapi: 3.0.0\npaths: *nowhere\n", "pets.yaml: line 2: not readable as YAML: alias *nowhere"),
        ("a: 1\n---\nb: 2\n", "pets.yaml: line 2: not readable as YAML: more than one YAML document"),
        ("", "pets.yaml: line 1: not an OpenAPI document but empty"),
        ("[]", "pets.yaml: line 1: not an OpenAPI document but a list"),
        ("asyncapi: 3.0.0\n", "this is asyncapi, not OpenAPI"),
        ("kind: Tool\n", "neither `openapi` nor `swagger` is given"),
        ("swagger: '1.2'\npaths: {}\n", "`swagger` is '1.2'; versions 2.0 and 3.x are read"),
        ("openapi: 3.0.0\ninfo: {}\n", "it has no `paths`"),
        ("openapi: 3.0.0\ninfo: {}\npaths: []\n", "pets.yaml: line 3: its `paths` is not an object"),
    ],
)
def test_what_is_no_document_is_refused_with_place_and_reason(text, expected):
    with pytest.raises(InvalidInput) as caught:
        convert(text)
    assert expected in caught.value.message


def test_yaml_keys_dates_and_words_stay_text():
    text = "200: a\non: b\nwhen: 2024-05-06\nanswer: no\nmark: 12:30\nnumber: 010\nreal: 1.5\nnone: ~\nyes: true\n"
    assert parse_yaml(text) == {
        "200": "a",
        "on": "b",
        "when": "2024-05-06",
        "answer": "no",
        "mark": "12:30",
        "number": 10,
        "real": 1.5,
        "none": None,
        "yes": True,
    }


def test_of_duplicate_yaml_keys_the_last_one_counts():
    assert parse_yaml("a: 1\na: 2\n") == {"a": 2}


def test_yaml_anchors_and_merge_keys_are_followed():
    assert parse_yaml("base: &b {x: 1, y: 2}\nall: {<<: *b, y: 3}\nsame: *b\n") == {
        "base": {"x": 1, "y": 2},
        "all": {"y": 3, "x": 1},
        "same": {"x": 1, "y": 2},
    }


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(DocumentProblem, match="aliases expand"):
        parse_yaml("\n".join(lines))


def test_a_value_that_contains_itself_is_refused():
    with pytest.raises(DocumentProblem, match="alias"):
        parse_yaml("a: &a [*a]\n")


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "[" * 300 + "]" * 300, "- " * 5_000])
def test_bottomless_nesting_is_refused(text):
    with pytest.raises(DocumentProblem):
        parse_yaml(text)


@given(st.text(max_size=200))
def test_any_text_converts_or_is_refused(text):
    try:
        convert(text)
    except InvalidInput as refused:
        assert refused.message.startswith("pets.yaml: line ")


@given(st.text(alphabet="ab:-[]{}&*!<|>'\"#, \n0~\t", max_size=80))
def test_any_text_after_a_good_head_converts_or_is_refused(text):
    try:
        convert(HEAD + "paths:\n  /pets:\n    get:\n      " + text)
    except InvalidInput as refused:
        assert refused.message.startswith("pets.yaml: line ")


CHARACTERS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)))
"""JSON writes the others as two escapes that YAML does not have."""
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CHARACTERS,
    lambda values: st.lists(values) | st.dictionaries(CHARACTERS, values),
    max_leaves=20,
)


@given(JSON_VALUES)
@example({"<<": [{"a": 1}]})
def test_yaml_reads_json_as_json(value):
    assert parse_yaml(json.dumps(value)) == value


def test_infinity_in_a_document_does_not_reach_a_tool():
    text = json.dumps(
        api({"/p": {"get": operation(parameters=[{"name": "n", "in": "query", "schema": {"type": "number"}}])}})
    ).replace('{"type": "number"}', '{"type": "number", "maximum": 1e999, "default": 1e999, "enum": [1e999, 2]}')
    conversion = convert(text)
    assert properties(conversion.tools[0])["n"] == {"type": "number", "enum": [2]}
    assert "`maximum` is not a number" in messages(conversion)
