"""Questions are read back as they were written: a task keeps them so until they are answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.dialogue import ElicitationRequest, InputRequest, RootsRequest, SamplingMessage, SamplingRequest
from stoa.domain.result import AudioContent, ImageContent, TextContent
from stoa.interfaces.mcp import asking

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
MESSAGES = st.builds(
    SamplingMessage,
    st.sampled_from(["user", "assistant"]),
    st.builds(TextContent, TEXT) | st.builds(ImageContent, TEXT, TEXT) | st.builds(AudioContent, TEXT, TEXT),
)
QUESTIONS: st.SearchStrategy[InputRequest] = st.one_of(
    st.builds(
        SamplingRequest,
        messages=st.lists(MESSAGES, min_size=1, max_size=3).map(tuple),
        max_tokens=st.integers(1, 9),
        system_prompt=st.none() | TEXT,
        temperature=st.none() | st.floats(0, 1),
        stop_sequences=st.lists(TEXT, max_size=2).map(tuple),
    ),
    st.builds(
        ElicitationRequest,
        TEXT,
        st.dictionaries(TEXT, st.just({"type": "string"})).map(lambda p: {"type": "object", "properties": p}),
    ),
    st.just(RootsRequest()),
)


@given(QUESTIONS)
def test_a_question_is_read_back_as_it_was_written(question: InputRequest) -> None:
    assert asking.read_request(json.loads(json.dumps(asking.request(question)))) == question


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"method": "tools/call", "params": {}},
        {"method": "elicitation/create", "params": {"message": "x"}},
        {"method": "elicitation/create", "params": {"message": "x", "requestedSchema": {"type": "array"}}},
        {"method": "sampling/createMessage", "params": {"messages": [{"role": "user"}], "maxTokens": 1}},
        {"method": "sampling/createMessage", "params": {"messages": [{"role": "user", "content": {}}], "maxTokens": 1}},
    ],
)
def test_what_is_no_question_is_none(wire: dict[str, Any]) -> None:
    assert asking.read_request(wire) is None
