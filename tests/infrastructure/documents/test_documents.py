"""The bounded reader: what it refuses, whoever asks, before it costs anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.infrastructure.documents import DocumentProblem, parse_yaml, parse_yaml_all, read_value, read_values
from stoa.infrastructure.documents.yaml_text import ALIAS_LIMIT


def merge_bomb(levels: int, width: int) -> str:
    lines = ["l0: &l0 {a: 1}"]
    lines += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * width)}]}}" for n in range(1, levels + 1)]
    return "\n".join(lines)


BOMBS = {
    "merge keys": merge_bomb(7, 10),
    "merge keys, two by two": merge_bomb(23, 2),
    "merge keys without a list": "a0: &a0 {x: 1, y: 2}\n"
    + "\n".join(f"a{n}: &a{n} {{l: {{<<: *a{n - 1}}}, r: {{<<: *a{n - 1}}}}}" for n in range(1, 30)),
    "lists": "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))]),
    "one long text": f"t: &t {'x' * 200_000}\nall: [{', '.join(['*t'] * 1000)}]",
    "one long key": f"t: &t {'x' * 200_000}\nall: [{', '.join(['{*t : 1}'] * 1000)}]",
    "a key that is an anchor": f"&t {'x' * 1000}: 1\nall: [{', '.join(['*t'] * 100_000)}]",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_documents_whose_aliases_multiply_are_refused_with_the_line(bomb: str) -> None:
    with pytest.raises(DocumentProblem, match=f"aliases expand to more than {ALIAS_LIMIT} values") as refused:
        read_value(bomb)
    assert refused.value.line > 0
    with pytest.raises(DocumentProblem, match="aliases expand"):
        read_values(f"{bomb}\n---\n{bomb}")


@pytest.mark.parametrize("text", ["[" * 10_000, "- " * 10_000, "{a: " * 10_000, '{"a":' * 10_000, "? " * 10_000])
def test_documents_that_are_nested_too_deeply_are_refused(text: str) -> None:
    with pytest.raises(DocumentProblem):
        read_values(text)


@pytest.mark.parametrize("number", ["1" * 1_000_000, "0x" + "f" * 100_000, "1e999999999", "-" + "9" * 5000])
def test_documents_with_a_number_beyond_all_measure_have_text_in_its_place(number: str) -> None:
    assert read_value(f"a: {number}") == {"a": number}


def test_documents_in_json_with_a_number_beyond_all_measure_are_refused() -> None:
    with pytest.raises(DocumentProblem, match="number out of range"):
        read_value('{"a": ' + "1" * 1_000_000 + "}")


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/name:os.system", "!!merge", "!!nonsense"])
def test_documents_with_a_tag_that_is_none_of_yamls_are_refused(tag: str) -> None:
    with pytest.raises(DocumentProblem, match="is none of YAML's"):
        read_value(f"a: {tag} x")
    with pytest.raises(DocumentProblem, match="is none of YAML's"):
        read_value(f"a: {tag} [x]")


def test_documents_keep_what_an_application_tagged_as_it_stands() -> None:
    assert read_value("a: !Ref x\nb: !Sub [1]") == {"a": "x", "b": [1]}


def test_documents_of_one_file_do_not_see_each_others_anchors() -> None:
    assert parse_yaml_all("a: &x 1\n---\nb: &x 2\nc: *x") == [{"a": 1}, {"b": 2, "c": 2}]
    with pytest.raises(DocumentProblem, match="is not defined"):
        parse_yaml_all("a: &x 1\n---\nb: *x")


def test_documents_that_are_merged_keep_what_stands_first() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {<<: *a, <<: *b}"
    assert parse_yaml(text)["c"] == {"x": 1, "y": 1, "z": 3}
    assert parse_yaml(text)["d"] == {"x": 1, "y": 1, "z": 2}


@given(st.lists(st.dictionaries(st.text("ab", max_size=2), st.integers() | st.none()), max_size=3))
def test_documents_in_json_and_the_same_in_yaml_are_equal(values: list[object]) -> None:
    text = json.dumps(values)
    assert read_values(text) == [values] == [read_value(text)] == [parse_yaml(text)]
