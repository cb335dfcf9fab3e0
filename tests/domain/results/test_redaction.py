"""What is hidden is gone, from the structure and from the text."""

import base64
import json
from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.strategies import json_values

from stoa.domain.results.redaction import REDACTED, WITHHELD, redact
from stoa.domain.results.result import (
    MISSING,
    TEXT_LIMIT,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    RawAnswer,
    TextContent,
    ToolResult,
    shape,
)

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
        ("/users/2/name", {"users": [{"password": SECRET, "name": "a"}, {"password": SECRET}]}),
    ],
)
def test_pointers_with_stars_and_into_nothing(pointer, expected):
    value = {"users": [{"password": SECRET, "name": "a"}, {"password": SECRET}]}
    assert redact(ToolResult((), value), [pointer]).structured == expected


def test_redaction_writes_the_text_anew_and_keeps_nothing_that_has_no_structure():
    answer = shape(RawAnswer(b'{"password": "%s"}' % SECRET.encode(), "application/json"))
    beside = (
        ImageContent(base64.b64encode(SECRET.encode()).decode(), "image/svg+xml"),
        EmbeddedResource("x:y", "text/plain", SECRET),
        TextContent(SECRET),
    )
    spoken = (PromptMessage("user", TextContent(SECRET)),)
    hidden = redact(ToolResult((*answer.content, *beside), answer.structured, messages=spoken), ["/password"])
    assert hidden == ToolResult((TextContent('{"password":"[redacted]"}'),), {"password": REDACTED})


@pytest.mark.parametrize("is_error", [True, False])
def test_redaction_withholds_what_has_no_structure(is_error):
    result = ToolResult((TextContent(SECRET),), MISSING, is_error=is_error)
    assert redact(result, ["/password"]) == ToolResult.error(WITHHELD)
    assert redact(ToolResult((TextContent(SECRET),), {"a": 1}, is_error=True), ["/a"]) == ToolResult.error(WITHHELD)


PERSON = {"email": SECRET, "items": [{"ssn": SECRET}], "address": {"street": SECRET}}


@pytest.mark.parametrize(
    ("answer", "pointer"),
    [
        ([PERSON], "/email"),
        (json.dumps(PERSON), "/email"),
        ({"email": json.dumps({"address": SECRET})}, "/email/address"),
        ({"address": [{"street": SECRET}]}, "/address/street"),
        ({"address": SECRET}, "/address/street"),
        ({"address": 5}, "/address/street"),
        ({"address": False}, "/address/street"),
        ({"items": {"ssn": SECRET}}, "/items/*/ssn"),
        ({"items": {"data": [{"ssn": SECRET}]}}, "/items/*/ssn"),
        ({"items": {"data": [{"ssn": SECRET}]}}, "/items/0/ssn"),
        ({"items": [[{"ssn": SECRET}]]}, "/items/*/ssn"),
        ({"items": SECRET}, "/items/*"),
        ([PERSON], "/00"),
        ([PERSON], "/-1"),
        ([PERSON], "/-"),
        ([PERSON], "/\u0660"),
    ],
)
def test_redaction_withholds_an_answer_in_which_a_pointer_meets_another_kind_of_value(answer, pointer):
    shown = redact(ToolResult((TextContent(json.dumps(answer)),), answer), [pointer])
    assert shown == ToolResult.error(WITHHELD)
    assert redact(ToolResult((), answer), ["/nothing/of/that", pointer]) == ToolResult.error(WITHHELD)


@pytest.mark.parametrize("answer", [None, {}, {"address": None}, {"address": {}}])
def test_redaction_shows_an_answer_in_which_there_is_nothing_to_hide(answer):
    assert redact(ToolResult((), answer), ["/address/street"]).structured == answer


@pytest.mark.parametrize("body", [b'{"password": "%s", "more": ' % SECRET.encode(), b'{"password": "%s"}\n{}'])
@pytest.mark.parametrize("kind", ["application/json", "", "text/plain", "application/problem+json"])
def test_redaction_withholds_json_that_cannot_be_read(body, kind):
    assert redact(shape(RawAnswer(body, kind)), ["/password"]) == ToolResult.error(WITHHELD)


def test_redaction_withholds_an_answer_that_was_cut():
    body = json.dumps({"password": SECRET, "padding": "x" * TEXT_LIMIT}).encode()
    assert redact(shape(RawAnswer(body, "application/json")), ["/password"]) == ToolResult.error(WITHHELD)


class _Person(BaseModel):
    password: str


@pytest.mark.parametrize("value", [{"list": (_Person(password=SECRET),)}, {"list": {0: {"password": SECRET}}}])
def test_redaction_follows_pointers_through_what_is_no_json_yet(value):
    assert SECRET not in repr(redact(ToolResult((), value), ["/list/0/password"]))


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": float("inf")}], ids=["object", "nan", "inf"])
def test_redaction_withholds_what_is_no_json(value):
    assert redact(ToolResult((), value), ["/a"]) == ToolResult.error(WITHHELD)


def test_redaction_withholds_what_is_nested_too_deeply_to_be_looked_at():
    value: Any = {"a": SECRET}
    for _ in range(5000):
        value = [value]
    assert redact(ToolResult((), value), ["/0" * 5000 + "/a"]) == ToolResult.error(WITHHELD)


def stars(pointer: str, data: st.DataObject) -> str:
    tokens = pointer.split("/")[1:]
    return "".join(f"/{data.draw(st.sampled_from([token, '*']))}" for token in tokens)


@given(json_values(max_leaves=20), st.lists(st.sampled_from(["a", "0", "1", "*", "b"]), min_size=1, max_size=4))
def test_redaction_hides_what_a_pointer_reaches_or_withholds_the_answer(value, tokens):
    """Either every place that the pointer names holds REDACTED, or nothing is shown."""
    shown = redact(ToolResult((TextContent("before"),), value), ["/" + "/".join(tokens)])
    if shown.is_error:
        assert shown == ToolResult.error(WITHHELD)
        return
    here = [shown.structured]
    for token in tokens:
        assert all(one is None or isinstance(one, (dict, list)) for one in here)
        named = [(str(k), v) for one in here if one is not None
                 for k, v in (one.items() if isinstance(one, dict) else enumerate(one))]  # fmt: skip
        here = [child for name, child in named if token in {name, "*"}]
    assert set(map(repr, here)) <= {repr(REDACTED)}


@given(json_values(max_leaves=20), st.data())
def test_redaction_leaves_no_trace_of_a_hidden_value_whatever_the_form(value, data):
    """A marked text is put at a random place, and a pointer to it given, with stars or without."""
    known = paths(value)
    if not known:
        return
    place = data.draw(st.sampled_from(known))
    *way, last = [token.replace("~1", "/").replace("~0", "~") for token in place.split("/")[1:]]
    holder = value
    for token in way:
        holder = holder[int(token)] if isinstance(holder, list) else holder[token]
    holder[int(last) if isinstance(holder, list) else last] = data.draw(
        st.sampled_from([SECRET, {"deeper": SECRET}, [SECRET], {SECRET: 1}])
    )
    answer = shape(RawAnswer(pydantic_core.to_json(value), data.draw(st.sampled_from(["application/json", ""]))))
    shown = redact(answer, [stars(place, data)])
    assert SECRET not in repr(shown)


def test_the_words_that_stand_for_what_is_hidden():
    assert REDACTED == "[redacted]"
    assert WITHHELD.startswith("The policy hides parts of this tool's answers, and this one has no structure")


@pytest.mark.parametrize("pointer", ["/a~1b/c~0d", "/a~1b/*", "/*/c~0d"])
def test_escaped_names_are_those_that_are_meant(pointer):
    hidden = redact(ToolResult((), {"a/b": {"c~d": 1}, "a": None}), [pointer])
    assert hidden.structured["a/b"] == {"c~d": REDACTED}


def test_an_escaped_tilde_before_a_one_is_no_slash():
    value = {"~1": SECRET, "/": 2}
    assert redact(ToolResult((), value), ["/~01"]).structured == {"~1": REDACTED, "/": 2}


def test_every_pointer_is_heeded_and_the_rest_of_the_result_stays():
    result = ToolResult((TextContent("x"),), [1, 2, {"a": 3}], messages=())
    assert redact(result, ["/0", "/2/a"]) == ToolResult(
        (TextContent('["[redacted]",2,{"a":"[redacted]"}]'),), [REDACTED, 2, {"a": REDACTED}]
    )
    assert redact(result, ["/3", "/2/b"]).structured == result.structured
