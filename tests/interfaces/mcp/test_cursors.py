"""Opaque cursors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.interfaces.mcp import cursors
from stoa.interfaces.mcp.messages import Fault

text = st.text(st.characters(exclude_categories=["Cs"]))


@given(text)
def test_a_cursor_gives_back_the_name_that_it_was_made_of(name: str) -> None:
    assert cursors.decode(cursors.encode(name)) == name


@given(text | st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2))
def test_any_other_cursor_is_refused_as_invalid_params_or_read(cursor: Any) -> None:
    try:
        assert isinstance(cursors.decode(cursor), str)
    except Fault as fault:
        assert fault.code == -32602


@pytest.mark.parametrize("cursor", ["", "add", "AQ", "Af8=", "WGFkZA==", "AWFk\n", "é", None, 3])
def test_a_cursor_that_was_never_given_is_refused(cursor: Any) -> None:
    with pytest.raises(Fault):
        cursors.decode(cursor)
