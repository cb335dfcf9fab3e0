"""Conversations that a client's model is asked to continue."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.client_requests.sampling import (
    ModelPreferences,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.results.result import ImageContent, TextContent

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


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ((SamplingMessage("user", ()),), "a message needs content"),
        ((SamplingMessage("user", use("a")), GOES_ON), "an assistant uses tools, a user answers with their results"),
        ((ASK, USES, SamplingMessage("assistant", answered("a"))),
         "an assistant uses tools, a user answers with their results"),
        ((ASK, USES, SamplingMessage("user", (answered("a"), TEXT))),
         "a message with tool results has nothing else in it"),
        ((ASK, USES, ASK), "after a message that uses tools comes one with the result of each of them"),
        ((ASK, GOES_ON), "after a message that uses tools comes one with the result of each of them"),
        ((ASK, SamplingMessage("assistant", (use("a"), use("a"))), SamplingMessage("user", (answered("a"),) * 2)),
         "two tool uses in one message have the same id"),
        ((ASK, USES), "the last message uses tools; append their results"),
        ((), "give at least one message, and max_tokens of 1 or more"),
    ],
)  # fmt: skip
def test_a_refused_conversation_is_told_why(messages: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        request(*messages, tools=(ADD,))
    assert refused.value.message == f"sampling: {reason}"


NOT_JSON = "texts must be Unicode; metadata, schemas, inputs and results JSON"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"temperature": -0.1}, "temperature must be a number of 0 or more"),
        ({"temperature": math.inf}, "temperature must be a number of 0 or more"),
        ({"tool_choice": "auto"}, "tool_choice needs tools"),
        ({"tools": (ADD, ADD)}, "two tools have one name"),
        ({"max_tokens": 0}, "give at least one message, and max_tokens of 1 or more"),
        ({"system_prompt": "\ud800"}, NOT_JSON),
        ({"stop_sequences": ("\ud800",)}, NOT_JSON),
        ({"metadata": {"x": math.nan}}, NOT_JSON),
        ({"tools": (SamplingTool("add", "", {"x": math.nan}),)}, NOT_JSON),
        ({"messages": (ASK, SamplingMessage("assistant", TextContent("\ud800")))}, NOT_JSON),
        ({"messages": (ASK, SamplingMessage("assistant", ToolUse("a", "add", {"x": math.nan})), GOES_ON)}, NOT_JSON),
        ({"messages": (ASK, USES, SamplingMessage("user", ToolUseResult("a", (), math.nan)))}, NOT_JSON),
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", repr(value)),  # the same in all processes of a run
)
def test_a_refused_request_is_told_why(wrong: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SamplingRequest(**{"messages": (ASK,), "max_tokens": 5, **wrong})
    assert refused.value.message == f"sampling: {reason}"


def test_a_request_at_the_edges_of_what_makes_sense() -> None:
    other = SamplingTool("sub", "", {})
    made = request(ASK, temperature=0.0, tools=(ADD, other), tool_choice="required", metadata={"x": [1.5, None, "ä"]})
    assert SamplingRequest(messages=(ASK,), max_tokens=1).max_tokens == 1
    assert (made.temperature, made.tool_choice, made.tools) == (0.0, "required", (ADD, other))
    picture = ImageContent("AAAA", "image/png")
    assert request(ASK, USES, SamplingMessage("user", ToolUseResult("a", (picture,), None)), ASK).uses_tools


def test_tools_are_used_where_they_are_offered_or_were_used() -> None:
    assert request(ASK, tools=(ADD,)).uses_tools is True
    assert request(ASK).uses_tools is False
    assert request(ASK, USES, GOES_ON).uses_tools is True


def test_a_priority_out_of_bounds_is_told() -> None:
    with pytest.raises(InvalidInput, match=r"^sampling: speed_priority must be 0 to 1$"):
        ModelPreferences(speed_priority=1.1)
    assert ModelPreferences(cost_priority=0, intelligence_priority=1).speed_priority is None


def test_an_answer_gives_its_text_its_tool_uses_and_itself_as_a_message() -> None:
    answer = SamplingAnswer((TextContent("a"), use("x"), TextContent("b"), ImageContent("AAAA", "image/png")), "m")
    assert answer.text == "ab"
    assert answer.tool_uses == (use("x"),)
    assert answer.message == SamplingMessage("assistant", answer.content)
    assert SamplingAnswer((), "m", "user").message.role == "user"
    assert SamplingMessage("user", TEXT).blocks == (TEXT,)


def test_two_uses_in_one_message_cannot_be_told_apart_by_one_id() -> None:
    twice = SamplingMessage("assistant", (use("a"), use("a")))
    results = SamplingMessage("user", (answered("a"), answered("a")))
    with pytest.raises(InvalidInput, match="the same id"):
        request(ASK, twice, results, tools=(ADD,))
