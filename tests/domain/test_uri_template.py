"""URI templates: what was expanded is matched again, and no value becomes a path that was not meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import unicode_text

from stoa.domain.uri_template import UriTemplate

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
    is_dotted = any(part in {".", ".."} for v in given_values.values() for part in v.replace("\\", "/").split("/"))
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
        "memo://x/a/y/", "memo://x/a/y/b/c", "memo://x/%/y/b", "memo://x/%ff/y/b", "memo://x/%00/y/b", "memo://x/a/y/b?c",
        "memo://x/{a}/y/{b}", "MEMO://x/a/y/b",
    ],
)  # fmt: skip
def test_a_uri_that_does_not_fit_or_must_not_is_not_matched(uri):
    assert UriTemplate("memo://x/{a}/y/{b}").match(uri) is None


def test_values_are_decoded_once():
    assert UriTemplate("memo://{a}").match("memo://%252e%252e%2Fb") == {"a": "%2e%2e/b"}


@pytest.mark.parametrize(
    "text", ["memo://{a", "memo://a}", "memo://{a}{b}", "memo://{+a}", "memo://{a*}", "memo://{a}/{a}", "memo://{}"]
)
def test_what_is_no_template_of_level_1_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        UriTemplate(text)


def test_a_long_uri_is_matched_in_linear_time():
    template = UriTemplate("memo://{a}-{b}-{c}-{d}!")
    assert template.match("memo://" + "a-" * 100_000) is None


def test_without_variables_it_matches_itself_and_nothing_longer():
    assert UriTemplate("memo://x").match("memo://x") == {}
    assert UriTemplate("memo://x").match("memo://x/y") is None
