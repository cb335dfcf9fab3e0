"""Laws of JSON Pointers (RFC 6901)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.schema.json_pointer import (
    ABSENT,
    escape,
    fragment_of,
    pointer_to,
    resolve,
    tokens_of,
    tokens_of_fragment,
    unescape,
)

TOKENS = st.lists(st.text("~/01ab%# é"), max_size=4)
RFC_EXAMPLE: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@given(st.text("~/01a"))
def test_json_pointer_token_is_unescaped_to_what_was_escaped(token: str) -> None:
    assert unescape(escape(token)) == token
    assert "/" not in escape(token)


@given(TOKENS)
def test_json_pointer_names_the_path_that_it_was_made_of(tokens: list[str]) -> None:
    assert tokens_of(pointer_to(tokens)) == tokens
    assert tokens_of_fragment(fragment_of(tokens)) == tokens
    assert "#" not in fragment_of(tokens)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        *(("", RFC_EXAMPLE), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2)),
        *(("/e^f", 3), ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8)),
    ],
)
def test_json_pointer_resolves_the_examples_of_the_rfc(pointer: str, value: Any) -> None:
    assert resolve(RFC_EXAMPLE, tokens_of(pointer)) == value


@pytest.mark.parametrize(
    "pointer", ["/foo/2", "/foo/-", "/foo/-1", "/foo/x", "/foo/\u0660", "/bar", "/foo/0/0", "/foo/" + "0" * 10]
)
def test_json_pointer_to_nothing_is_absent(pointer: str) -> None:
    assert resolve(RFC_EXAMPLE, tokens_of(pointer)) is ABSENT


def test_json_pointer_to_null_is_null() -> None:
    assert resolve({"a": [None]}, ["a", "0"]) is None
