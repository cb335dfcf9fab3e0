"""The walker of JSON Schema: every keyword that holds schemas is known, and data is never taken for one."""

from typing import Any

import pytest

from stoa.domain.schema.subschemas import DATA, subschemas, with_subschemas

INNER = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"not": INNER}, [("not", None, "here")]),
        ({"items": INNER}, [("items", None, "below")]),
        ({"items": [INNER, True]}, [("items", 0, "below"), ("items", 1, "below")]),
        ({"anyOf": [INNER, 5]}, [("anyOf", 0, "here")]),
        ({"properties": {"enum": INNER}}, [("properties", "enum", "below")]),
        ({"dependencies": {"a": ["b"], "c": INNER}}, [("dependencies", "c", "here")]),
        ({"$defs": {"A": INNER}}, [("$defs", "A", "defined")]),
        ({"default": INNER, "x-other": INNER, "type": "object"}, []),
    ],
)
def test_subschemas_are_named_with_their_place(schema: Any, expected: Any) -> None:
    assert [(found.keyword, found.key, found.place) for found in subschemas(schema)] == expected


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("not", {}, "changed"),
        ("allOf", [{}, {}], ["changed", "changed"]),
        ("properties", {"a": {}, "b": {}}, {"a": "changed", "b": "changed"}),
        ("x-unknown", {}, "changed"),
        *((keyword, {"a": {}}, {"a": {}}) for keyword in sorted(DATA)),
    ],
)
def test_subschemas_are_rewritten_and_data_is_not(keyword: str, value: Any, expected: Any) -> None:
    assert with_subschemas(keyword, value, lambda _: "changed") == expected
