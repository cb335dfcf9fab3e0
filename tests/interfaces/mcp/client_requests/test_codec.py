"""Questions are read back so that the same answers fit: a task keeps what was written until it is answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.client_requests.client_request import (
    ClientRequest,
    ElicitationRequest,
    RootsRequest,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    UrlElicitationRequest,
)
from stoa.domain.results.result import AudioContent, ImageContent, TextContent
from stoa.interfaces.mcp.client_requests import codec
from stoa.interfaces.wire.revisions import NEWEST

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
MESSAGES = st.builds(
    SamplingMessage,
    st.sampled_from(["user", "assistant"]),
    st.builds(TextContent, TEXT) | st.builds(ImageContent, TEXT, TEXT) | st.builds(AudioContent, TEXT, TEXT),
)
QUESTIONS: st.SearchStrategy[ClientRequest] = st.one_of(
    st.builds(
        SamplingRequest,
        messages=st.lists(MESSAGES, min_size=1, max_size=3).map(tuple),
        max_tokens=st.integers(1, 9),
        system_prompt=st.none() | TEXT,
        temperature=st.none() | st.floats(0, 1),
        stop_sequences=st.lists(TEXT, max_size=2).map(tuple),
        tools=st.sampled_from([(), (SamplingTool("a", "", {}),)]),
    ),
    st.just(UrlElicitationRequest("See", "https://pages.test/x", "e1")),
    st.builds(
        ElicitationRequest,
        TEXT,
        st.dictionaries(TEXT, st.just({"type": "string"})).map(lambda p: {"type": "object", "properties": p}),
    ),
    st.just(RootsRequest()),
)


ANSWERS: list[dict[str, Any]] = [
    {"action": "accept", "content": {}},
    {"action": "accept", "content": {"": 1}},
    {"action": "decline"},
    {"roots": []},
    {"roots": [{"uri": "https://x"}]},
    {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"},
    {"role": "assistant", "content": {"type": "tool_use", "id": "1", "name": "a", "input": {}}, "model": "m"},
    {"role": "assistant", "content": {"type": "tool_use", "id": "1", "name": "b", "input": {}}, "model": "m"},
]


@given(QUESTIONS)
def test_client_request_read_back_from_the_wire_validates_the_same_answers(question: ClientRequest) -> None:
    read = codec.read_request(json.loads(json.dumps(codec.request(question, NEWEST))))
    assert read is not None
    for answer in ANSWERS:
        assert codec.answer(read, answer, NEWEST) == codec.answer(question, answer, NEWEST)


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"method": "tools/call", "params": {}},
        {"method": "elicitation/create", "params": {"message": "x"}},
        {"method": "elicitation/create", "params": {"message": "x", "requestedSchema": {"type": "array"}}},
        {"method": "elicitation/create", "params": {"mode": "url", "message": "x"}},
        {"method": "sampling/createMessage", "params": {"messages": []}},
        {"method": "sampling/createMessage", "params": {"maxTokens": 0}},
        {"method": "sampling/createMessage", "params": {"maxTokens": 1, "tools": [{}]}},
    ],
)
def test_client_request_that_is_unrecognised_reads_as_none(wire: dict[str, Any]) -> None:
    assert codec.read_request(wire) is None
