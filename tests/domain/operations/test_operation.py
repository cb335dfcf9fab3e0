"""What tools, resources and prompts have in common: the bounds of their fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import operations

from stoa.domain.operations.access import Access
from stoa.domain.operations.operation import OperationKey, string_schema
from stoa.domain.operations.tool import LocalBinding, Tool

BINDING = LocalBinding(function="f")


def tool(**fields: Any) -> Tool:
    return Tool(**{"name": "ant", "binding": BINDING, **fields})


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("timeout_seconds", [0.001, 300], [0, -1, 300.001]),
        ("metered_arguments", [(), ("a",), ("x" * 64,), tuple("abcdefgh")], [("",), ("x" * 65,), tuple("abcdefghi")]),
        ("name", ["a", "A.b_c-9", "x" * 128], ["", "x" * 129, "a b", "ä", "a/b", "a\n"]),
        ("tenant", [None, "a", "a-b", "0", "x" * 63], ["", "-a", "a-", "A", "x" * 64, "a_b", "a\n"]),
        ("tasks", ["never", "optional", "required", "explicit"], ["always", ""]),
    ],
)
def test_the_bounds_of_each_field(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(tool(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(ValidationError, match=field):
            tool(**{field: value})


@given(operations())
def test_a_key_is_the_owner_the_name_and_the_kind(one: Any) -> None:
    assert one.key == OperationKey(one.tenant, one.identifier, one.kind)
    shown = one.identifier if one.kind == "tool" else f"{one.kind}:{one.identifier}"
    assert str(one.key) == f"{one.tenant or 'global'}/{shown}"


def test_a_key_is_a_tools_unless_it_says_more() -> None:
    assert OperationKey(None, "ant") == OperationKey(None, "ant", "tool")


def test_the_scopes_of_access_are_the_published_ones() -> None:
    assert {access.name: str(access) for access in Access} == {
        "READ": "stoa:read",
        "WRITE": "stoa:write",
        "ADMIN": "stoa:admin",
    }


def test_what_cannot_be_json_is_told_what_to_mend() -> None:
    with pytest.raises(ValidationError, match="its schemas must be JSON of at most 255 levels, without cycles"):
        tool(description="\ud800")


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([{}, {"description": "x"}])),
    st.sets(st.sampled_from("abc")),
)
def test_a_schema_of_strings_takes_the_named_strings_and_nothing_else(properties: Any, required: set[str]) -> None:
    schema = string_schema(properties, sorted(required))
    assert schema == {
        "type": "object",
        "properties": {name: {"type": "string", **rest} for name, rest in properties.items()},
        "required": sorted(required),
        "additionalProperties": False,
    }
