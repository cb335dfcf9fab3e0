"""What a call may ask its client, and what the client must be able to do for that."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.client_requests.client_request import (
    LOG_LEVELS,
    NO_CAPABILITIES,
    ClientCapabilities,
    ClientRequest,
    ElicitationRequest,
    InputRequired,
    RootsRequest,
    capabilities_of,
    request_facts,
)
from stoa.domain.client_requests.sampling import ModelPreferences, SamplingMessage, SamplingRequest, SamplingTool
from stoa.domain.client_requests.url_elicitation import UrlElicitationRequest
from stoa.domain.errors import InvalidInput
from stoa.domain.policy.decision import ClientRequestFacts
from stoa.domain.results.result import TextContent

ASK = (SamplingMessage("user", TextContent("1+1?")),)
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
NEEDS: dict[str, tuple[ClientRequest, tuple[str, ...]]] = {
    "plain": (SamplingRequest(messages=ASK, max_tokens=5), ("sampling",)),
    "tools": (
        SamplingRequest(messages=ASK, max_tokens=5, tools=(SamplingTool("add", "", {}),)),
        ("sampling", "sampling.tools"),
    ),
    "form": (ElicitationRequest("Who?", FORM), ("elicitation",)),
    "page": (UrlElicitationRequest("Log in", "https://Login.example/", "e"), ("elicitation.url",)),
    "roots": (RootsRequest(), ("roots",)),
}
ABLE = {
    "sampling": "sampling",
    "sampling.tools": "sampling_tools",
    "elicitation": "elicitation",
    "elicitation.url": "elicitation_url",
    "roots": "roots",
}


def test_log_levels_are_those_of_syslog_least_severe_first() -> None:
    levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
    assert {name: place for place, name in enumerate(levels)} == LOG_LEVELS
    assert list(LOG_LEVELS) == levels


@given(st.sets(st.sampled_from(sorted(ABLE))), st.sets(st.sampled_from(sorted(NEEDS))))
def test_what_is_missing_is_what_the_requests_need_and_nobody_declared(declared: set[str], asked: set[str]) -> None:
    capabilities = ClientCapabilities(**{ABLE[name]: True for name in declared})
    needed = {name for one in asked for name in NEEDS[one][1]}
    assert capabilities.missing({one: NEEDS[one][0] for one in asked}) == tuple(sorted(needed - declared))


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_each_request_needs_the_capabilities_that_the_protocol_names(name: str) -> None:
    request, needed = NEEDS[name]
    assert capabilities_of(request) == needed
    assert NO_CAPABILITIES.missing({"a": request}) == needed


@pytest.mark.parametrize("context", ["thisServer", "allServers"])
def test_a_wish_for_context_is_left_out_for_a_client_that_cannot_add_any(context: Any) -> None:
    request = SamplingRequest(messages=ASK, max_tokens=5, temperature=0.5, include_context=context)
    fitted = NO_CAPABILITIES.fitted(request)
    assert fitted == SamplingRequest(messages=ASK, max_tokens=5, temperature=0.5)
    assert ClientCapabilities(sampling_context=True).fitted(request) is request


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_a_request_without_such_a_wish_stays_as_it_is(name: str) -> None:
    request = NEEDS[name][0]
    assert NO_CAPABILITIES.fitted(request) is request


FIELDS: list[Any] = [
    *({"type": kind} for kind in ("string", "number", "integer", "boolean")),
    {"type": "array", "items": {"enum": ["a"]}},
    {"type": "array", "items": {"anyOf": [{"const": "a"}]}},
]
NO_FIELDS: list[Any] = [
    *({"type": kind} for kind in ("object", "null", "", None, ["string"], "xyz")),
    {},
    "string",
    None,
    {"type": "array"},
    {"type": "array", "items": {"type": "string"}},
    {"type": "array", "items": {"enum": "a"}},
    {"type": "array", "items": {"anyOf": {}}},
    {"type": "array", "items": [{"enum": ["a"]}]},
    {"type": "array", "enum": ["a"]},
]


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_a_form_has_fields_of_these_types(field: Any) -> None:
    schema = {"type": "object", "properties": {"f": field, "g": {"type": "string"}}}
    assert ElicitationRequest("Who?", schema).schema is schema


@pytest.mark.parametrize("field", NO_FIELDS, ids=repr)
def test_a_form_with_another_field_is_refused_and_the_field_named(field: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        ElicitationRequest("Who?", {"type": "object", "properties": {"g": {"type": "string"}, "f": field}})
    assert refused.value.message == "elicitation: f must be a string, number, boolean, or a choice of strings"


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"properties": {}}, {"type": "array", "properties": {}},
                                    {"type": "object", "properties": []}], ids=repr)  # fmt: skip
def test_a_form_is_an_object_with_properties(schema: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        ElicitationRequest("Who?", schema)
    assert refused.value.message == 'elicitation: the schema must be {"type": "object", "properties": {...}}'


def test_a_form_may_be_empty() -> None:
    assert ElicitationRequest("Sure?", {"type": "object", "properties": {}}).message == "Sure?"


def test_client_request_facts_are_all_that_a_policy_sees() -> None:
    wished = SamplingRequest(
        messages=ASK,
        max_tokens=7,
        model_preferences=ModelPreferences(hints=("claude",)),
        tools=(SamplingTool("add", "", {}), SamplingTool("sub", "", {})),
        include_context="allServers",
    )
    assert request_facts(wished) == ClientRequestFacts(
        kind="sampling", max_tokens=7, model_hints=("claude",), include_context="allServers", tools=("add", "sub")
    )
    assert request_facts(NEEDS["plain"][0]) == ClientRequestFacts(kind="sampling", max_tokens=5)
    assert request_facts(NEEDS["form"][0]) == ClientRequestFacts(kind="elicitation", mode="form")
    assert request_facts(NEEDS["page"][0]) == ClientRequestFacts(
        kind="elicitation", mode="url", url_host="login.example"
    )
    assert request_facts(NEEDS["roots"][0]) == ClientRequestFacts(kind="roots")


def test_input_required_holds_a_copy_of_its_client_requests() -> None:
    asked: dict[str, ClientRequest] = {"a": RootsRequest()}
    ended = InputRequired(asked)
    asked.clear()
    assert ended.requests == {"a": RootsRequest()}
    assert str(ended) == "the client has to answer first"
