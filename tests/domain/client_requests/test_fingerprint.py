"""A question's fingerprint tells it from every other."""

from dataclasses import replace

from stoa.domain.client_requests.client_request import (
    ElicitationRequest,
    RootsRequest,
    SamplingMessage,
    SamplingRequest,
    ToolUse,
    ToolUseResult,
    UrlElicitationRequest,
)
from stoa.domain.client_requests.fingerprint import fingerprint
from stoa.domain.results.result import TextContent

TALK = SamplingRequest(
    messages=(
        SamplingMessage("user", TextContent("How late is it?")),
        SamplingMessage("assistant", ToolUse("1", "clock", {})),
        SamplingMessage("user", ToolUseResult("1", (TextContent("noon"),))),
    ),
    max_tokens=5,
)
FORM = ElicitationRequest("Who?", {"type": "object", "properties": {}})


def test_fingerprint_is_the_same_for_equal_client_requests_and_differs_for_others() -> None:
    page = UrlElicitationRequest("Sign", "https://sign.example/a", elicitation_id="1")
    questions = [TALK, replace(TALK, max_tokens=6), FORM, replace(FORM, message="What?"), page, RootsRequest()]
    prints = [fingerprint(question) for question in questions]
    assert prints == [fingerprint(replace(question)) for question in questions]
    assert len(set(prints)) == len(questions)


def test_fingerprint_ignores_what_every_run_makes_anew() -> None:
    page = UrlElicitationRequest("Sign", "https://sign.example/a", elicitation_id="1")
    assert fingerprint(page) == fingerprint(replace(page, elicitation_id="2"))
