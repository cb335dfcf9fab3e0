"""Names of generated tools are legal everywhere, deterministic and unique."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.operations.naming import NAME_LIMIT, shortened, tool_name, unique

legal = re.compile(r"[a-zA-Z0-9_-]{1,48}")
anything = st.text(max_size=80) | st.text(st.sampled_from("ab_-/é"), max_size=80)


@given(anything, anything, anything)
def test_every_text_gives_a_legal_name_and_always_the_same(text, prefix, suffix):
    name = tool_name(text, prefix, suffix)
    assert legal.fullmatch(name)
    assert name == tool_name(text, prefix, suffix)


@given(st.text(st.sampled_from("ab"), min_size=60, max_size=80), st.text(st.sampled_from("ab"), min_size=1, max_size=5))
def test_names_that_differ_late_stay_apart(text, ending):
    assert tool_name(text) != tool_name(text + ending)


def test_names_keep_what_is_legal():
    assert tool_name("listPets", "crm_", "-v2") == "crm_listPets-v2"
    assert tool_name("GET /pets/{petId}") == "GET_pets_petId"
    assert tool_name("créer été") == "creer_ete"


@given(st.lists(st.text(st.sampled_from("ab_2"), min_size=1, max_size=NAME_LIMIT) | st.just("a" * NAME_LIMIT)))
def test_unique_names_are_unique_legal_and_leave_first_ones_alone(names):
    result = unique(names)
    assert len(result) == len(names) == len(set(result))
    assert all(legal.fullmatch(name) for name in result)
    for position, name in enumerate(names):
        if name not in names[:position]:
            assert result[position] == name
    assert unique(result) == result


@given(st.text(st.sampled_from("ab_-"), max_size=60), st.text(max_size=9), st.integers(8, 60))
def test_a_shortened_name_keeps_its_beginning_and_ends_in_the_digest_of_its_identity(name, identity, limit):
    made = shortened(name, identity, limit)
    kept, _, ending = made.rpartition("_")
    assert len(made) <= limit
    assert ending == hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    assert name.startswith(kept)
    assert not kept.endswith(("_", "-"))
    assert set(name[len(kept) : limit - 7]) <= set("_-"), "nothing more is cut than has to be"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x" * 48, "x" * 48),
        ("__x-_", "x"),
        ("a--b", "a--b"),
        ("X-rayX", "X-rayX"),
        ("a  b//c", "a_b_c"),
        ("Straße №1", "Stra_e_No1"),
        ("ﬁle", "file"),
        ("日本x", "x"),
    ],
)
def test_names_that_need_no_digest(text, expected):
    assert tool_name(text) == expected


def test_a_name_beyond_the_limit_or_of_nothing_ends_in_a_digest_of_all_that_it_was_made_of():
    def digest(*parts):
        return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:6]

    assert tool_name("x" * 49) == "x" * 41 + "_" + digest("", "x" * 49, "")
    assert tool_name("x" * 40, "crm_", "-list") == "crm_" + "x" * 37 + "_" + digest("crm_", "x" * 40, "-list")
    assert tool_name("//", "crm ", "-v2") == "crm_tool_" + digest("crm ", "//", "-v2")
    assert tool_name("\ud800") == "tool_" + digest("", "\ud800", "")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2", "a"], ["a", "a_3", "a_2", "a_4"]),
        (["x" * 48, "x" * 48], ["x" * 48, "x" * 46 + "_2"]),
        (["x" * 47, "x" * 47], ["x" * 47, "x" * 46 + "_2"]),
        (["a", "b", "a"], ["a", "b", "a_2"]),
        ([], []),
    ],
)
def test_later_ones_of_a_kind_are_numbered_and_leave_the_others_names_alone(names, expected):
    assert unique(names) == expected


def test_numbers_of_two_digits_fit_within_the_limit_too():
    assert unique(["x" * 48] * 11)[-1] == "x" * 45 + "_11"
