"""What is hidden is gone, from the structure and from the text."""

from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import json_values

from stoa.domain.redaction import REDACTED, WITHHELD, redact
from stoa.domain.result import MISSING, ImageContent, RawAnswer, TextContent, ToolResult, shape

SECRET = "s3cr3t-value"


def paths(value: Any, here: str = "") -> list[str]:
    """A pointer to everything in a value."""
    children: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        children = [(name.replace("~", "~0").replace("/", "~1"), one) for name, one in value.items()]
    elif isinstance(value, list):
        children = [(str(place), one) for place, one in enumerate(value)]
    return [pointer for name, one in children for pointer in (f"{here}/{name}", *paths(one, f"{here}/{name}"))]


def at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


@given(json_values(max_leaves=20), st.data())
def test_what_a_pointer_names_is_replaced_and_nothing_else(value, data):
    known = paths(value)
    if not known:
        return
    pointer = data.draw(st.sampled_from(known))
    hidden = redact(ToolResult((TextContent("before"),), value), [pointer])
    assert at(hidden.structured, pointer) == REDACTED
    for other in known:
        if not (other == pointer or other.startswith(f"{pointer}/") or pointer.startswith(f"{other}/")):
            assert at(hidden.structured, other) == at(value, other)
    assert hidden.content == (TextContent(pydantic_core.to_json(hidden.structured).decode()),)


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/users/*/password", {"users": [{"password": REDACTED, "name": "a"}, {"password": REDACTED}]}),
        ("/users/1", {"users": [{"password": SECRET, "name": "a"}, REDACTED]}),
        ("/*", {"users": REDACTED}),
        ("/nobody/0", {"users": [{"password": SECRET, "name": "a"}, {"password": SECRET}]}),
        ("/users/0/name/deeper", {"users": [{"password": SECRET, "name": "a"}, {"password": SECRET}]}),
    ],
)
def test_pointers_with_stars_and_into_nothing(pointer, expected):
    value = {"users": [{"password": SECRET, "name": "a"}, {"password": SECRET}]}
    assert redact(ToolResult((), value), [pointer]).structured == expected


def test_the_text_is_written_anew_and_pictures_stay():
    answer = shape(RawAnswer(b'{"password": "%s"}' % SECRET.encode(), "application/json"))
    picture = ImageContent("AAAA", "image/png")
    hidden = redact(ToolResult((*answer.content, picture), answer.structured), ["/password"])
    assert SECRET not in repr(hidden)
    assert hidden.content[1:] == (picture,)


@pytest.mark.parametrize("is_error", [True, False])
def test_what_has_no_structure_is_withheld(is_error):
    result = ToolResult((TextContent(SECRET),), MISSING, is_error=is_error)
    assert redact(result, ["/password"]) == ToolResult.error(WITHHELD)
    assert redact(ToolResult((TextContent(SECRET),), {"a": 1}, is_error=True), ["/a"]) == ToolResult.error(WITHHELD)


def test_the_words_that_stand_for_what_is_hidden():
    assert REDACTED == "[redacted]"
    assert WITHHELD.startswith("The policy hides parts of this tool's answers, and this one has no structure")


@pytest.mark.parametrize("pointer", ["/a~1b/c~0d", "/a~1b/*", "/*/c~0d"])
def test_escaped_names_are_those_that_are_meant(pointer):
    hidden = redact(ToolResult((), {"a/b": {"c~d": 1}, "a": 2}), [pointer])
    assert hidden.structured["a/b"] == {"c~d": REDACTED}


def test_an_escaped_tilde_before_a_one_is_no_slash():
    value = {"~1": SECRET, "/": 2}
    assert redact(ToolResult((), value), ["/~01"]).structured == {"~1": REDACTED, "/": 2}


def test_every_pointer_is_heeded_and_the_rest_of_the_result_stays():
    result = ToolResult((TextContent("x"),), [1, 2, {"a": 3}], messages=())
    assert redact(result, ["/0", "/2/a"]) == ToolResult(
        (TextContent('["[redacted]",2,{"a":"[redacted]"}]'),), [REDACTED, 2, {"a": REDACTED}]
    )
    assert redact(result, ["/00", "/3", "/-1"]).structured == result.structured
