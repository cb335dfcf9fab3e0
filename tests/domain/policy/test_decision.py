"""Permits come from allowing decisions only."""

import pytest
from hypothesis import given
from tests.strategies import decisions, tools

from stoa.domain.policy.decision import Obligations, Permit


@given(decisions, tools())
def test_a_permit_comes_from_an_allowing_decision_and_is_for_one_tool(decision, tool):
    permit = Permit.grant(decision, tool.key)
    if decision.is_allowed:
        assert permit is not None
        assert (permit.operation, permit.rules) == (tool.key, decision.rules)
    else:
        assert permit is None


@pytest.mark.parametrize("pointers", [(), ("/",), ("/a/*",), ("/a", "/b")])
def test_what_is_redacted_is_named_by_json_pointers(pointers):
    assert Obligations(redact=pointers).redact == pointers


@pytest.mark.parametrize("pointers", [("",), ("a",), ("/a", "b"), ("#/a",)])
def test_what_is_no_json_pointer_is_refused_before_anything_is_shown(pointers):
    with pytest.raises(ValueError, match=r"^obligations\.redact: JSON Pointers begin with /$"):
        Obligations(redact=pointers)


def test_the_user_agrees_to_a_sentence():
    with pytest.raises(ValueError, match=r"^obligations\.confirm must be a sentence$"):
        Obligations(confirm="")
    assert Obligations(confirm="Sure?").confirm == "Sure?"
    assert Obligations(confirm=None).confirm is None


@pytest.mark.parametrize(
    ("fields", "named"), [({"redact": ("/a", "b")}, "obligations.redact"), ({"confirm": ""}, "obligations.confirm")]
)
def test_an_obligation_that_cannot_be_met_is_refused_when_it_is_made(fields, named):
    with pytest.raises(ValueError, match=named):
        Obligations(**fields)
    assert Obligations(redact=("/a",), confirm="Sure?").confirm == "Sure?"
