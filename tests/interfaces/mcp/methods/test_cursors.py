"""Opaque cursors."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.interfaces.mcp.jsonrpc.messages import Fault
from stoa.interfaces.mcp.methods import cursors

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
lists = st.sampled_from(["tools", "resources", "resourceTemplates", "prompts"])


@given(text, lists)
def test_a_cursor_gives_back_the_name_that_it_was_made_of(name: str, of: str) -> None:
    assert cursors.decode(cursors.encode(name, of), of) == name


@given(text, lists, lists)
def test_a_cursor_is_of_one_list_alone(name: str, of: str, other: str) -> None:
    if of != other:
        with pytest.raises(Fault):
            cursors.decode(cursors.encode(name, of), other)


@given(text | st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2))
def test_any_other_cursor_is_refused_as_invalid_params(cursor: Any) -> None:
    with pytest.raises(Fault) as refused:
        cursors.decode(cursor, "tools")
    assert refused.value.code == -32602


@given(text, st.data())
def test_a_cursor_with_a_changed_character_is_refused_or_names_another_place(name: str, data: st.DataObject) -> None:
    cursor = cursors.encode(name, "tools")
    place = data.draw(st.integers(0, len(cursor) - 1))
    character = data.draw(st.characters(max_codepoint=0x17F).filter(lambda one: one != cursor[place]))
    try:
        assert cursors.decode(cursor[:place] + character + cursor[place + 1 :], "tools") not in {name, ""}
    except Fault as fault:
        assert fault.code == -32602


@pytest.mark.parametrize(
    "raw", [b"", b"\x01add", b"\x02tools", b"\x02tools\0", b"\x02prompts\0add", b"\x02tools\0\xff"], ids=repr
)
def test_a_cursor_that_was_never_given_is_refused(raw: bytes) -> None:
    for cursor in (base64.urlsafe_b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=") + "="):
        with pytest.raises(Fault):
            cursors.decode(cursor, "tools")


def test_a_second_spelling_of_a_cursor_is_refused() -> None:
    cursor = cursors.encode("a", "tools")
    for other in (cursor + "\n", cursor.rstrip("="), cursor + "====", " " + cursor):
        if other != cursor:
            with pytest.raises(Fault):
                cursors.decode(other, "tools")
