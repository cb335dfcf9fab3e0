"""Laws of token budgets: tools that fit stay whole, the others are shown in less and take the same arguments."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.operations.token_budget import TokenBudget, fitted, listed_text
from stoa.domain.operations.tool import LocalBinding, Tool


def count(text: str) -> int:
    return len(text.encode()) // 4


def tool(name: str, members: int, description: str = "Does it.") -> Tool:
    words = "The member says more about the order than its name does. " * 3
    inner = {"type": "object", "properties": {f"in{n}": {"type": "string", "description": words} for n in range(4)}}
    properties: dict[str, Any] = {f"m{n}": {**inner, "required": ["in0"]} for n in range(members)}
    schema = {"type": "object", "properties": properties, "required": ["m0"] if members else []}
    return Tool(name=name, description=description, input_schema=schema, binding=LocalBinding(function="f"))


TOOLS = [tool(f"t{n}", members) for n, members in enumerate((0, 1, 2, 4, 8, 20, 40))]
WHOLE = [count(listed_text(each)) for each in TOOLS]


def test_tools_within_the_budget_stay_as_they_are() -> None:
    results = fitted(TOOLS, TokenBudget(per_tool=max(WHOLE), total=sum(WHOLE)), count)
    assert all(result.tool is each for result, each in zip(results, TOOLS, strict=True))
    assert [result.tokens for result in results] == WHOLE


@pytest.mark.parametrize("per_tool", [200, 400, 1_000])
def test_a_tool_above_the_budget_is_shown_in_less_and_keeps_its_arguments(per_tool: int) -> None:
    for result, each in zip(fitted(TOOLS, TokenBudget(per_tool=per_tool), count), TOOLS, strict=True):
        shown = result.tool.portable_input_schema
        assert result.tokens == count(listed_text(result.tool))
        assert shown["properties"].keys() == each.input_schema["properties"].keys()
        assert result.tool.input_schema == each.input_schema
        if result.tokens > per_tool:  # in the least form that there is: names, types, required members
            assert all(member["type"] == "object" for member in shown["properties"].values())


def test_small_tools_stay_whole_while_the_large_ones_share_the_rest() -> None:
    results = fitted(TOOLS, TokenBudget(total=2_000), count)
    assert sum(result.tokens for result in results) <= 2_000
    assert [result.tool is each for result, each in zip(results, TOOLS, strict=True)] == [True] * 4 + [False] * 3


def test_a_tool_that_needs_more_than_its_share_takes_it_from_the_others() -> None:
    tools = [tool("large", 60), *(tool(f"t{n}", 5) for n in range(6))]
    total = 2_200
    results = fitted(tools, TokenBudget(total=total), count)
    assert results[0].tokens > total / len(tools)
    assert sum(result.tokens for result in results) <= total


def test_a_description_is_cut_when_the_least_schema_is_still_too_much() -> None:
    wordy = tool("t", 1, "It does what was said. " * 40)
    (result,) = fitted([wordy], TokenBudget(per_tool=70), count)
    assert len(result.tool.description) <= 100
    assert result.tool.description.endswith("It does what was said.")


@given(st.lists(st.integers(0, 9), max_size=4), st.integers(0, 3_000), st.integers(0, 3_000))
def test_a_budget_never_makes_a_tool_larger_and_gives_always_the_same(
    sizes: list[int], per_tool: int, total: int
) -> None:
    tools = [tool(f"t{n}", members) for n, members in enumerate(sizes)]
    budget = TokenBudget(per_tool=per_tool, total=total)
    results = fitted(tools, budget, count)
    assert all(result.tokens <= result.whole for result in results)
    assert results == fitted(tools, budget, count)
