"""A manifest in a file of its own: every number as it is written, and nothing that could hurt."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.files.manifests import read_document

NUMBERS = [
    "0.1",
    "1e-5",
    "1_000",
    "010",
    "0x1F",
    "1:30",
    "0.1000000000000000000001",
    "12",
    ".5",
    "1.",
    "2026-01-01",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_in_yaml_is_the_text_that_was_written(tmp_path: Path, number: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"a: {number}\nb: null\nc: [{number}, yes]", encoding="utf-8")
    assert read_document(file) == {"a": number, "b": None, "c": [number, "yes"]}


@given(number=st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers().map(str))
def test_a_number_in_json_is_the_text_that_was_written(tmp_path_factory: Any, number: str) -> None:
    file = tmp_path_factory.getbasetemp() / "number.json"
    file.write_text(f'{{"a": [{number}], "b": true}}', encoding="utf-8")
    assert read_document(file) == {"a": [number], "b": True}


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.yaml", "a: 1\nb: {c: 1,\n c: 2}", "line 3: the field c occurs twice"),
        ("a.json", '{"a": {"b": 1, "b": 2}}', "the field b occurs twice"),
        ("a.json", '{"a": NaN}', "line 1 column"),
        ("a.json", '{\n"a": ', "line 2"),
        ("a.json", '{"a": "\\ud800"}', "line 1 column"),
        ("a.json", "[1]", "expected one document"),
        ("a.yaml", "- 1", "expected one document"),
        ("a.yaml", "", "expected one document"),
        ("a.yaml", "a: 1\n---\nb: 1", "expected one document"),
        ("a.yaml", "a: [1", "line "),
        ("a.yaml", "a:\n\tb: 1", "line 2: found character that cannot start any token; indent with spaces, not tabs"),
        (
            "a.yaml",
            "a:\n  b: 1\n   c: 1",
            "line 3: mapping values are not allowed in this context; check the indentation",
        ),
        ("a.yaml", "a:\n  b: {c: 1}\n   d: 1", "line 3: did not find expected key; check the indentation"),
        ("a.yaml", "? [a]\n: 1", "line 1"),
        ("a.yaml", "a: !!python/object:os.system 1", "line 1"),
        ("a.yaml", "[" * 100_000, "line 1: nested deeper than 200 levels"),
        ("a.yaml", "- " * 100_000, "line 1: nested deeper than 200 levels"),
        ("a.json", "[" * 100_000, "recursion limit"),
        ("a.yaml", _bomb(), "aliases"),
        ("a.yaml", "a: &a [*a]", "aliases"),
    ],
)
def test_what_is_no_manifest_is_refused_by_file_and_place(tmp_path: Path, name: str, text: str, problem: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as refused:
        read_document(file)
    assert refused.value.message.startswith(f"{file}: ")
    assert problem in refused.value.message


def test_a_file_that_is_not_there_or_too_large_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml: cannot be read: No such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        read_document(tmp_path)
    large = tmp_path / "large.yaml"
    large.write_text(json.dumps("x" * 9_000_000))
    with pytest.raises(InvalidInput, match="larger than"):
        read_document(large)
