"""Generated names are legal, distinct and always the same."""

import re

from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.naming import NAME_LIMIT, tool_name, unique

LEGAL = re.compile(r"^[a-zA-Z0-9_-]{1,48}\Z")


@given(st.text(), st.text(max_size=60), st.text(max_size=60))
def test_every_text_gives_a_legal_name_and_always_the_same(text, prefix, suffix):
    name = tool_name(text, prefix, suffix)
    assert LEGAL.match(name)
    assert tool_name(text, prefix, suffix) == name


@given(st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9_-]{0,46}[a-zA-Z0-9])?", fullmatch=True))
def test_a_legal_name_stays_as_it_is(text):
    assert tool_name(text) == text


@given(st.lists(st.text(alphabet="ab/ ", max_size=3).map(tool_name), max_size=30))
def test_unique_names_are_legal_and_distinct_and_keep_the_first_of_a_kind(names):
    result = unique(names)
    assert len(result) == len(names) == len(set(result))
    assert all(LEGAL.match(name) for name in result)
    for name in set(names):
        assert result[names.index(name)] == name


def test_long_names_that_differ_late_stay_apart():
    long = "list_all_the_things_of_a_project_with_a_long_name"
    assert tool_name(long + "_a") != tool_name(long + "_b")
    assert tool_name(long + "_a").startswith("list_all_the_things_of_a_project")


def test_numbered_names_do_not_outgrow_the_limit():
    name = "x" * NAME_LIMIT
    assert unique([name, name])[1] == "x" * (NAME_LIMIT - 2) + "_2"


def test_accents_are_dropped_and_other_scripts_hashed():
    assert tool_name("créer-élève") == "creer-eleve"
    assert re.match(r"^tool_[0-9a-f]{6}$", tool_name("日本"))
