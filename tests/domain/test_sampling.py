"""Conversations that a client's model is asked to continue."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.errors import InvalidInput
from stoa.domain.result import TextContent
from stoa.domain.sampling import (
    ModelPreferences,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
)

ADD = SamplingTool("add", "Adds.", {"type": "object"})
ASK = SamplingMessage("user", TextContent("1+1?"))


def use(name: str) -> ToolUse:
    return ToolUse(name, "add", {})


def answered(name: str) -> ToolUseResult:
    return ToolUseResult(name, (TextContent("2"),))


def request(*messages: SamplingMessage, **rest: Any) -> SamplingRequest:
    return SamplingRequest(messages=messages, max_tokens=5, **rest)


@given(st.lists(st.sets(st.sampled_from("abc"), min_size=1).map(sorted), max_size=4))
def test_a_conversation_with_tools_goes_on_with_the_results_of_each_use(rounds: list[list[str]]) -> None:
    messages = [ASK]
    for names in rounds:
        answer = SamplingAnswer((TextContent("so"), *map(use, names)), "m")
        assert answer.tool_uses == tuple(map(use, names))
        messages += [answer.message, SamplingMessage("user", tuple(map(answered, reversed(names))))]
    conversation = request(*messages, SamplingMessage("assistant", TextContent("2")))
    assert conversation.uses_tools == bool(rounds)


TEXT = TextContent("x")
USES = SamplingMessage("assistant", use("a"))
GOES_ON = SamplingMessage("user", answered("a"))


@pytest.mark.parametrize(
    "messages",
    [
        (ASK, USES),
        (ASK, USES, ASK),
        (ASK, GOES_ON),
        (ASK, USES, SamplingMessage("user", answered("b"))),
        (ASK, USES, SamplingMessage("user", (answered("a"), TEXT))),
        (ASK, USES, SamplingMessage("user", (answered("a"), answered("a")))),
        (ASK, SamplingMessage("assistant", (use("a"), use("b"))), GOES_ON),
        (ASK, SamplingMessage("assistant", (use("a"), use("a"))), GOES_ON),
        (SamplingMessage("user", use("a")), GOES_ON),
        (ASK, USES, SamplingMessage("assistant", answered("a"))),
        (SamplingMessage("user", ()),),
        (),
    ],
)
def test_uses_and_results_that_do_not_pair_are_refused(messages: Any) -> None:
    with pytest.raises(InvalidInput, match="sampling"):
        request(*messages, tools=(ADD,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"tool_choice": "auto"},
        {"tools": (ADD, ADD)},
        {"metadata": {"x": b"\xff"}},
        {"system_prompt": "\ud800"},
        {"messages": (SamplingMessage("user", TextContent("\ud800")),)},
        {"metadata": {"x": math.nan}},
        {"max_tokens": 0},
    ],
    ids=repr,
)
def test_a_request_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="sampling"):
        SamplingRequest(**{"messages": (ASK,), "max_tokens": 5, **wrong})


@given(st.floats(), st.sampled_from(["cost_priority", "speed_priority", "intelligence_priority"]))
def test_priorities_are_zero_to_one(value: float, name: str) -> None:
    if 0 <= value <= 1:
        assert getattr(ModelPreferences(**{name: value}), name) == value  # type: ignore[arg-type]
    else:
        with pytest.raises(InvalidInput, match=name):
            ModelPreferences(**{name: value})  # type: ignore[arg-type]


def test_two_uses_in_one_message_cannot_be_told_apart_by_one_id() -> None:
    twice = SamplingMessage("assistant", (use("a"), use("a")))
    results = SamplingMessage("user", (answered("a"), answered("a")))
    with pytest.raises(InvalidInput, match="the same id"):
        request(ASK, twice, results, tools=(ADD,))
