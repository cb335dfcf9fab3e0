"""Long answers are cut where their structure allows it: what is shown is whole, and with the pieces it is all."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoa.domain.results.cutting import MAX_LEVELS, Cut, cut_json, cut_text, whole_start

LIMIT = 2000


def cut(value: Any, limit: int = LIMIT, **form: Any) -> tuple[Any, Cut]:
    body = json.dumps(value, **form).encode()
    assert len(body) > limit
    made = cut_json(body, limit)
    assert made is not None
    assert len(made.text.encode()) <= limit
    assert all(len(piece.text) <= limit for piece in made.rest.pieces)
    return json.loads(made.text), made


def entries_of(made: Cut, place: str) -> list[Any]:
    """The entries of all pieces at this place, in order."""
    pieces = [piece for piece in made.rest.pieces if piece.about.startswith(f"{place}, entries ")]
    return [entry for piece in pieces for entry in json.loads(piece.text)]


@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_cut_of_an_array_keeps_its_first_entries_whole_and_the_others_follow(form: Any):
    value = [{"id": number, "name": f'a "quoted, [name] {number}\\'} for number in range(300)]

    shown, made = cut(value, **form)

    assert shown == value[: len(shown)]
    assert shown + entries_of(made, "the answer") == value
    assert made.rest.omitted == f"the answer: {len(shown)} of 300 entries are shown"


def test_cut_goes_through_the_largest_array_and_keeps_what_stands_beside_it():
    value = {"total": 300, "data": {"items": [{"id": number} for number in range(300)], "kind": "list"}, "next": "x"}

    shown, made = cut(value)

    items = shown["data"]["items"]
    assert 0 < len(items) < 300
    assert shown == {**value, "data": {**value["data"], "items": items}}
    assert items + entries_of(made, "/data/items") == value["data"]["items"]
    assert made.rest.omitted == f"/data/items: {len(items)} of 300 entries are shown"


def test_cut_of_an_object_keeps_whole_members():
    value = {f"key {number}": {"number": number} for number in range(300)}

    shown, made = cut(value)

    rest = {name: member for piece in made.rest.pieces for name, member in json.loads(piece.text).items()}
    assert shown.keys().isdisjoint(rest)
    assert shown | rest == value
    assert len(shown) > 30


def test_cut_never_shows_half_a_text_and_gives_it_by_its_characters():
    value = {"size": 1, "content": "é\n" * 3000, "name": "x"}

    shown, made = cut(value)

    assert shown == {"size": 1, "name": "x"}
    assert {piece.media_type for piece in made.rest.pieces} == {"text/plain"}
    assert "".join(piece.text for piece in made.rest.pieces) == value["content"]
    assert made.rest.pieces[0].about.startswith("/content, characters 0 to ")


def test_cut_of_entries_that_are_too_long_themselves_goes_into_them():
    value = [{"rows": list(range(1000))}, {"rows": list(range(900))}]

    shown, made = cut(value)

    assert shown == [{"rows": list(range(len(shown[0]["rows"])))}]
    assert shown[0]["rows"] + entries_of(made, "/0/rows") == value[0]["rows"]
    assert entries_of(made, "/1/rows") == value[1]["rows"]


def test_cut_leaves_numbers_as_they_are_written():
    body = b"[" + b",".join(b"1.10e0" for _ in range(1000)) + b"]"

    made = cut_json(body, LIMIT)

    assert made is not None
    assert made.text.startswith("[1.10e0,1.10e0,")


@pytest.mark.parametrize(
    "body",
    [
        b'[1,2,"' + b"x" * LIMIT,
        b"[1,2" + b" " * LIMIT,
        b"[1}" + b" " * LIMIT,
        b"{} {}" + b" " * LIMIT,
        b"1," * LIMIT,
        b'"' + b"x" * LIMIT + b'"',
        b"[" * (MAX_LEVELS + 1) + b"]" * (MAX_LEVELS + 1) + b" " * LIMIT,
        b"[" + b"0," * 500_001 + b"0]",
    ],
    ids=["cut off in a text", "cut off", "brackets", "two values", "no value", "a text", "deep", "many values"],
)
def test_cut_by_structure_is_left_to_text_where_there_is_none(body: bytes):
    assert cut_json(body, LIMIT) is None


def test_cut_names_no_member_that_people_could_not_read():
    _, made = cut({"a\u001b[31m": "x" * 3000, "n" * 100: "y" * 3000, "a/b~": "z" * 3000})

    places = {piece.about.partition(",")[0] for piece in made.rest.pieces}
    assert places == {"/0", "/1", "/a~1b~0"}


def test_cut_of_text_ends_at_a_line():
    text = "".join(f"line {number}\n" for number in range(1000))

    made = cut_text(text, LIMIT)

    assert made.text.endswith("\n")
    assert made.text + "".join(piece.text for piece in made.rest.pieces) == text
    assert all(piece.text.startswith("line ") for piece in made.rest.pieces)
    assert made.rest.omitted == f"the first {len(made.text)} of {len(text)} characters are shown"


def test_cut_of_text_without_lines_ends_at_a_character():
    text = "\U0001f600" * 5000

    made = cut_text(text, LIMIT)

    assert [len(made.text), *(len(piece.text) for piece in made.rest.pieces)] == [2000, 2000, 1000]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=8), inner, max_size=12),
    max_leaves=60,
)


def _count(value: Any) -> int:
    match value:
        case list():
            return sum(map(_count, value))  # type: ignore[arg-type]
        case dict():
            return sum(map(_count, value.values()))  # type: ignore[arg-type]
        case _:
            return 1


@example([{'0"\x1f': ""}], 16)
@given(st.lists(_JSON, min_size=1) | st.dictionaries(st.text(max_size=8), _JSON, min_size=1), st.integers(16, 120))
def test_cut_of_any_json_is_json_and_loses_nothing(value: Any, limit: int):
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    value = json.loads(body)
    made = cut_json(body, limit) if len(body) > limit else None
    if made is None:
        return
    shown = json.loads(made.text)
    assert isinstance(shown, type(value))
    texts = {piece.about.partition(",")[0] for piece in made.rest.pieces if piece.media_type == "text/plain"}
    values = [json.loads(piece.text) for piece in made.rest.pieces if piece.media_type == "application/json"]
    assert _count(shown) + sum(map(_count, values)) + len(texts) == _count(value)


@pytest.mark.parametrize(
    ("start", "whole"),
    [
        (
            b'{"next": null, "items": [{"a": [1, 2], "b": "x,]"}, {"a": 2',
            {"next": None, "items": [{"a": [1, 2], "b": "x,]"}]},
        ),
        (b'[{"a": [1, 2, 3, 4', [{"a": [1, 2, 3]}]),
        (b' [1, 2, "x', [1, 2]),
        (b'{"a": 1, "b": {"c": 2, "d": 3', {"a": 1, "b": {"c": 2}}),
        (b'{"a": [], "b": [1], "c": "text', {"a": [], "b": [1]}),
    ],
)
def test_start_of_json_ends_after_a_whole_entry(start: bytes, whole: Any):
    made = whole_start(start)
    assert made is not None
    assert json.loads(made) == whole


@pytest.mark.parametrize(
    "start", [b"", b'"text', b'["text', b"1, 2", b"x[1, 2", b"[1]]", b"{]", b"[" * (MAX_LEVELS + 1)]
)
def test_start_of_json_without_a_whole_value_has_no_structure(start: bytes):
    assert whole_start(start) is None


@given(st.lists(_JSON, min_size=1) | st.dictionaries(st.text(max_size=8), _JSON, min_size=1), st.data())
def test_start_of_any_json_is_json(value: Any, data: st.DataObject):
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    made = whole_start(body[: data.draw(st.integers(0, len(body) - 1))])
    if made is not None:
        assert isinstance(json.loads(made), type(value))
