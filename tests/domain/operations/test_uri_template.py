"""URI templates: what was expanded is matched again, and no value becomes a path that was not meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import unicode_text

from stoa.domain.operations.dot_segments import holds_dot_segment
from stoa.domain.operations.uri_template import UriTemplate

TEMPLATES = ["memo://{a}", "memo://x/{a}/y/{b}", "memo:{a}-{b}.txt", "memo://{a}/{b}?q=1"]
values = st.one_of(unicode_text, st.sampled_from(["a/b", "x%2Fy", "100%", "..", "a b"])).filter(
    lambda text: text and not any(c < " " or c == "\x7f" for c in text)
)


@given(st.sampled_from(TEMPLATES), values, values)
def test_what_was_expanded_is_matched_again_unless_it_is_refused(text, a, b):
    template = UriTemplate(text)
    given_values = {name: {"a": a, "b": b}[name] for name in template.names}
    uri = template.expand(given_values)
    matched = template.match(uri)
    is_dotted = any(holds_dot_segment(value) for value in given_values.values())
    if is_dotted:
        assert matched is None
    elif "-" not in text:
        assert matched == given_values
    else:  # several ways to split: the first one counts
        assert matched is None or template.expand(matched) == uri


@given(st.sampled_from(TEMPLATES), st.text(alphabet="memo:/x-y.tq=1?#%2EeF{}ab\\\x00", max_size=40))
def test_no_value_is_empty_or_leads_elsewhere(text, rest):
    for uri in (rest, f"memo:{rest}", f"memo://{rest}", f"memo://x/{rest}"):
        for value in (UriTemplate(text).match(uri) or {}).values():
            assert value
            assert not {".", ".."} & set(value.replace("\\", "/").split("/"))
            assert "\x00" not in value


@pytest.mark.parametrize(
    "uri",
    [
        "memo://x/%2e%2e/y/b", "memo://x/../y/b", "memo://x/a%2F..%2Fb/y/b", "memo://x/%5C..%5C/y/b", "memo://x//y/b",
        "memo://x/%252e%252e%2Fb/y/b",
        "memo://x/a/y/", "memo://x/a/y/b/c", "memo://x/%/y/b", "memo://x/%ff/y/b", "memo://x/%00/y/b", "memo://x/a/y/b?c",
        "memo://x/{a}/y/{b}", "MEMO://x/a/y/b",
    ],
)  # fmt: skip
def test_a_uri_that_does_not_fit_or_must_not_is_not_matched(uri):
    assert UriTemplate("memo://x/{a}/y/{b}").match(uri) is None


def test_values_are_decoded_once():
    assert UriTemplate("memo://{a}").match("memo://100%2525%2Fb") == {"a": "100%25/b"}


@pytest.mark.parametrize(
    "text", ["memo://{a", "memo://a}", "memo://{a}{b}", "memo://{+a}", "memo://{a*}", "memo://{a}/{a}", "memo://{}"]
)
def test_what_is_no_template_of_level_1_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        UriTemplate(text)


def test_a_long_uri_is_matched_in_linear_time():
    template = UriTemplate("memo://{a}-{b}-{c}-{d}!")
    assert template.match("memo://" + "a-" * 100_000) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memo://{a", "a brace is not closed, or not opened"),
        ("memo://a}", "a brace is not closed, or not opened"),
        ("memo://{{a}}", "a brace is not closed, or not opened"),
        ("memo://{+a}", "write variables as {name}: letters, digits and _; operators are not supported"),
        ("memo://{9a}", "write variables as {name}: letters, digits and _; operators are not supported"),
        ("memo://{ä}", "write variables as {name}: letters, digits and _; operators are not supported"),
        ("memo://{}", "write variables as {name}: letters, digits and _; operators are not supported"),
        ("memo://{a}/{a}", "a variable stands there twice"),
        ("memo://{a}{b}", "text must stand between two variables"),
    ],
)
def test_a_refused_template_is_told_why(text, message):
    with pytest.raises(ValueError, match=r".") as refused:
        UriTemplate(text)
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["a", "_", "Z9_", "petId"])
def test_variables_have_the_names_of_identifiers(name):
    assert UriTemplate(f"memo://{{{name}}}").names == (name,)
    assert UriTemplate(f"{{{name}}}").match("x") == {name: "x"}


def test_a_template_may_begin_and_end_with_a_variable():
    assert UriTemplate("{a}:{b}").match("x:y") == {"a": "x", "b": "y"}
    assert UriTemplate("{a}:{b}").expand({"a": "x", "b": "y z/"}) == "x:y%20z%2F"


@pytest.mark.parametrize(
    ("text", "uri", "values"),
    [
        ("memo://{a}-{b}", "memo://x-y-z", {"a": "x", "b": "y-z"}),
        ("memo://{a}.txt", "memo://x.txt.txt", {"a": "x.txt"}),
        ("memo://{a}.txt", "memo://.txt", None),
        ("memo://{a}.txt", "memo://x.txt?", None),
        ("memo://{a}/x", "memo://a/x/x", None),
        ("memo://a", "memo://a", {}),
        ("memo://a", "memo://ab", None),
        ("memo://{a}--{b}", "memo:////--x", None),
        ("memo://{a}", "memo://a~b!$&'()*+,;=:@-._", {"a": "a~b!$&'()*+,;=:@-._"}),
        ("memo://{a}", "memo://%C3%A4%20b", {"a": "ä b"}),
        ("memo://{a}", "memo://%c3%a4%2d", {"a": "ä-"}),
        ("memo://{a}", "memo://a%7Fb", None),
        ("memo://{a}", "memo://a%1Fb", None),
        ("memo://{a}", "memo://a%zz", None),
        ("memo://{a}", "memo://%ED%A0%80", None),
        ("memo://{a}", "memo://...", {"a": "..."}),
        ("memo://{a}", "memo://.", None),
        ("memo://{a}", "memo://a%2F.%2Fb", None),
        ("memo://{a}", "memo://a%2F..", None),
        ("memo://{a}", "memo://a%2Fb%5Cc", {"a": "a/b\\c"}),
        ("memo://{a}", "memo://..%5Ca", None),
        ("memo://{a}", "memo://a?b", None),
        ("memo://{a}", "memo://a#b", None),
        ("memo://{a}", "memo://a}b", None),
    ],
)
def test_what_is_matched_and_what_is_not(text, uri, values):
    assert UriTemplate(text).match(uri) == values


def test_without_variables_it_matches_itself_and_nothing_longer():
    assert UriTemplate("memo://x").match("memo://x") == {}
    assert UriTemplate("memo://x").match("memo://x/y") is None
