"""The styles of OpenAPI 3.1 section 4.8.12, with the examples of its table, and what must hold for every value."""

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoa.infrastructure.rest.encoding import (
    Unsendable,
    cookie_encoder,
    header_encoder,
    path_encoder,
    query_encoder,
    scalar,
)

LIST = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        ("simple", False, "blue", "blue"),
        ("simple", False, LIST, "blue,black,brown"),
        ("simple", False, OBJECT, "R,100,G,200,B,150"),
        ("simple", True, OBJECT, "R=100,G=200,B=150"),
        ("label", False, "blue", ".blue"),
        ("label", False, LIST, ".blue,black,brown"),
        ("label", True, LIST, ".blue.black.brown"),
        ("label", False, OBJECT, ".R,100,G,200,B,150"),
        ("label", True, OBJECT, ".R=100.G=200.B=150"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, LIST, ";color=blue,black,brown"),
        ("matrix", True, LIST, ";color=blue;color=black;color=brown"),
        ("matrix", False, OBJECT, ";color=R,100,G,200,B,150"),
        ("matrix", True, OBJECT, ";R=100;G=200;B=150"),
    ],
)
def test_path_styles_are_those_of_the_specification(style, explode, value, expected):
    assert path_encoder("color", style, explode=explode)(value) == expected


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        ("form", True, "", "color="),
        ("form", True, "blue", "color=blue"),
        ("form", False, LIST, "color=blue,black,brown"),
        ("form", True, LIST, "color=blue&color=black&color=brown"),
        ("form", False, OBJECT, "color=R,100,G,200,B,150"),
        ("form", True, OBJECT, "R=100&G=200&B=150"),
        ("spaceDelimited", False, LIST, "color=blue%20black%20brown"),
        ("spaceDelimited", False, OBJECT, "color=R%20100%20G%20200%20B%20150"),
        ("pipeDelimited", False, LIST, "color=blue%7Cblack%7Cbrown"),
        ("tabDelimited", False, LIST, "color=blue%09black%09brown"),
        ("deepObject", True, OBJECT, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
        (
            "deepObject",
            True,
            {"a": {"b": [1, {"c": True}]}},
            "color%5Ba%5D%5Bb%5D%5B0%5D=1&color%5Ba%5D%5Bb%5D%5B1%5D%5Bc%5D=true",
        ),
        ("deepObject", True, LIST[:2], "color%5B0%5D=blue&color%5B1%5D=black"),
        ("form", True, [], ""),
        ("form", False, [], ""),
        ("form", True, [None, 1], "color=1"),
        ("form", True, {"a": None, "b": False}, "b=false"),
        ("form", True, [{"a": 1}], "color=%7B%22a%22%3A1%7D"),
    ],
)
def test_query_styles_are_those_of_the_specification(style, explode, value, expected):
    assert query_encoder("color", style, explode=explode)(value) == expected


def test_reserved_characters_stay_where_they_are_allowed_but_never_split_the_query():
    encode = query_encoder("at", "form", explode=True, allow_reserved=True)

    assert encode("a/b?c=d:e&f#g+h%2Fi%") == "at=a/b?c=d:e%26f%23g%2Bh%2Fi%25"


def test_a_parameter_with_json_content_is_sent_as_json_text():
    assert (
        query_encoder("q", "form", explode=True, is_json=True)({"a": [1, None]}) == "q=%7B%22a%22%3A%5B1%2Cnull%5D%7D"
    )
    assert header_encoder(explode=False, is_json=True)({"a": 1}) == '{"a":1}'


def test_an_exploded_object_repeats_the_name_of_a_list_within_it():
    encode = query_encoder("page", "form", explode=True)
    assert encode({"size": 2, "sort": ["a,desc", "b", None]}) == "size=2&sort=a%2Cdesc&sort=b"
    assert encode({"sort": [["a"]], "none": []}) == "sort=%5B%5B%22a%22%5D%5D"


def test_an_exploded_object_cannot_use_a_name_that_the_gateway_sets():
    encode = query_encoder("filter", "form", explode=True, taken=frozenset({"api_key"}))

    with pytest.raises(Unsendable, match="no property named api_key"):
        encode({"api_key": "mine"})


def test_cookies_are_separated_as_cookies():
    assert cookie_encoder("color", explode=True)(LIST) == "color=blue; color=black; color=brown"
    assert cookie_encoder("color", explode=False)("a;b") == "color=a%3Bb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (5.0, "5"),
        (1e3, "1000"),
        (10**25, "1" + "0" * 25),
        (0.5, "0.5"),
    ],
)
def test_scalars_look_as_in_json_and_whole_numbers_have_no_fraction(value, expected):
    assert scalar(value) == expected


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_that_json_cannot_say_are_refused(value):
    with pytest.raises(Unsendable, match="finite"):
        scalar(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_value(value):
    assert float(scalar(value)) == value


@given(st.text())
@example("..")
@example("a/../b")
def test_an_encoded_value_holds_only_unreserved_characters_and_decodes_to_itself(value):
    text = query_encoder("q", "form", explode=True)(value)

    assert text.isascii()
    assert not set(text.removeprefix("q=")) & set(":/?#[]@!$&'()*+,;= \"<>\\^`{|}")
    assert unquote(text.removeprefix("q=")) == value


@pytest.mark.parametrize("value", ["v1.2", "a..b", "...", ".hidden", "x.", "..x", "1.0.0-rc.1", "main...topic"])
def test_path_values_with_dots_that_are_no_segment_stay_as_they_are(value):
    assert path_encoder("id", "simple", explode=False)(value) == value


@pytest.mark.parametrize("style", ["simple", "label", "matrix"])
@pytest.mark.parametrize("value", [".", "..", "../x", ["a", ".."], {"..": "x"}, {"x": "a/.."}, "a\n", "\x00"])
def test_path_values_with_dot_segments_or_control_characters_are_refused(style, value):
    for explode in (False, True):
        with pytest.raises(Unsendable, match="part of the path"):
            path_encoder("id", style, explode=explode)(value)


@pytest.mark.parametrize("style", ["simple", "label", "matrix"])
@pytest.mark.parametrize("value", ["", [], {}, [""]])
def test_an_empty_path_value_is_refused(style, value):
    with pytest.raises(Unsendable, match="not empty"):
        path_encoder("id", style, explode=False)(value)


@given(st.text())
@example("a\r\nX-Admin: 1")
@example("\x00")
@example("\x7f")
def test_a_header_value_never_holds_a_control_character(value):
    try:
        text = header_encoder(explode=False)(value)
    except Unsendable:
        assert any(ord(char) < 32 or char == "\x7f" for char in value)
    else:
        assert text == value
        assert not set(text) & {chr(code) for code in range(32) if code != 9}
