"""An answer that does not fit its question is none."""

import pytest

from stoa.application.client_requests.answer_fit import fits
from stoa.domain.client_requests.client_request import (
    ElicitationAnswer,
    ElicitationRequest,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
    UrlElicitationRequest,
)
from stoa.domain.results.result import TextContent

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = ElicitationRequest("Who?", NAME)
PAGE = UrlElicitationRequest("Log in", "https://a.example/", "1")
USE = ToolUse("1", "add", {})
SAID = TextContent("yes")


def sampling(**rest):
    tools = (SamplingTool("add", "", {"type": "object"}),)
    return SamplingRequest(messages=(SamplingMessage("user", TextContent("Hi")),), max_tokens=9, tools=tools, **rest)


def answer(*content, role="assistant"):
    return SamplingAnswer(content, "m", role)


@pytest.mark.parametrize(
    ("request_", "given"),
    [
        (FORM, ElicitationAnswer("accept", {"name": "ann"})),
        (FORM, ElicitationAnswer("decline", {})),
        (FORM, ElicitationAnswer("cancel", {})),
        (PAGE, ElicitationAnswer("accept", {})),
        (RootsRequest(), RootsAnswer(())),
        (sampling(), answer(SAID)),
        (sampling(), answer(SAID, USE, ToolUse("2", "add", {}))),
        (sampling(tool_choice="none"), answer(SAID)),
        (sampling(), answer(SAID, role="user")),
    ],
)
def test_what_was_asked_for_fits(request_, given):
    assert fits(request_, given)


@pytest.mark.parametrize(
    ("request_", "given"),
    [
        pytest.param(FORM, ElicitationAnswer("accept", {"name": 1}), id="not what the form asks for"),
        pytest.param(FORM, ElicitationAnswer("accept", {}), id="not filled in"),
        pytest.param(
            ElicitationRequest("?", {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            ElicitationAnswer("accept", {"a": "x"}),
            id="cannot be checked",
        ),
        pytest.param(PAGE, ElicitationAnswer("accept", {"password": "x"}), id="a page gives nothing to the client"),
        pytest.param(FORM, RootsAnswer(()), id="another kind"),
        pytest.param(RootsRequest(), ElicitationAnswer("accept", {}), id="no folders"),
        pytest.param(sampling(), answer(ToolUseResult("1", (SAID,))), id="a result of a tool"),
        pytest.param(sampling(), answer(USE, role="user"), id="only a model uses tools"),
        pytest.param(sampling(), answer(ToolUse("1", "drop", {})), id="a tool that was not offered"),
        pytest.param(sampling(tool_choice="none"), answer(USE), id="no tool was to be used"),
        pytest.param(sampling(), answer(USE, USE), id="one id twice"),
    ],
)
def test_what_was_not_asked_for_does_not_fit(request_, given):
    assert not fits(request_, given)
