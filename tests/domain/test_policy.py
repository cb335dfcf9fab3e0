"""Permits come from allowing decisions only."""

from hypothesis import given
from tests.strategies import decisions, tools

from stoa.domain.policy import Permit


@given(decisions, tools())
def test_a_permit_comes_from_an_allowing_decision_and_is_for_one_tool(decision, tool):
    permit = Permit.grant(decision, tool.key)
    if decision.is_allowed:
        assert permit is not None
        assert (permit.tool, permit.rules) == (tool.key, decision.rules)
    else:
        assert permit is None
