"""Names of generated tools are legal everywhere, deterministic and unique."""

import re

from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.naming import NAME_LIMIT, tool_name, unique

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
