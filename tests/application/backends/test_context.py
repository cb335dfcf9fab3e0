"""Python functions that tell and ask the client that called them."""

import asyncio
from typing import Any

import pytest

from stoa.application import Context, Gateway, Principal
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.client_requests.client_request import (
    ClientCapabilities,
    ElicitationAnswer,
    ElicitationRequest,
    InputRequired,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingRequest,
    UrlElicitationRequest,
)
from stoa.domain.client_requests.sampling import SamplingMessage
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined, InvalidInput
from stoa.domain.metering.event import Status
from stoa.domain.results.result import TextContent
from stoa.testing.client_channel import InMemoryClientChannel, InMemoryRoundChannel

ANN = Principal.of("ann", roles=["viewer"])
ALL = ClientCapabilities(sampling=True, elicitation=True, roots=True)
FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def _answer(key: str, request: Any) -> Any:
    match request:
        case SamplingRequest():
            return SamplingAnswer((TextContent(f"{key}!"),), "model")
        case ElicitationRequest():
            return ElicitationAnswer("accept", {"name": key})
        case _:
            return RootsAnswer((Root("file:///a"),))


def _gateway() -> tuple[Gateway, InMemoryMeteringSink]:
    sink = InMemoryMeteringSink()
    return Gateway(sink=sink), sink


async def test_a_function_reaches_the_client_through_its_context() -> None:
    gateway, _ = _gateway()

    @gateway.tool
    async def talk(context: Context, topic: str) -> list[Any]:
        await context.progress(1, 2, "half")
        await context.log("info", {"topic": topic}, "talk")
        sampled = await context.sample(topic, max_tokens=10)
        form = await context.elicit("Who?", FORM, key="who")
        (root,) = await context.list_roots()
        both = await context.ask({"a": RootsRequest(), "b": ElicitationRequest("B?", FORM)})
        return [
            sampled.text,
            form.content["name"],
            root.uri,
            sorted(both),
            context.principal.subject,
            context.request_id,
        ]

    (tool,) = (await gateway.tools(ANN)).items
    assert list(tool.input_schema["properties"]) == ["topic"]
    channel = InMemoryClientChannel(ALL, _answer)
    outcome = await gateway.invoke("talk", {"topic": "x"}, ANN, request_id="r", channel=channel)
    assert outcome.result is not None
    assert outcome.result.structured == ["question-1!", "who", "file:///a", ["a", "b"], "ann", "r"]
    assert channel.progressed == [(1, 2, "half")]
    assert channel.logged == [("info", {"topic": "x"}, "talk")]


async def test_a_conversation_is_continued_and_a_web_page_opened_through_the_context() -> None:
    gateway, _ = _gateway()
    said = (SamplingMessage("user", TextContent("Hi")), SamplingMessage("assistant", TextContent("Hello")))

    @gateway.tool
    async def talk(context: Context) -> list[Any]:
        sampled = await context.sample(said, max_tokens=10)
        opened = await context.elicit_url("Log in", "https://a.example/", elicitation_id="e-1")
        return [sampled.text, opened.action]

    def answer(key: str, request: Any) -> Any:
        return ElicitationAnswer("accept", {}) if isinstance(request, UrlElicitationRequest) else _answer(key, request)

    channel = InMemoryClientChannel(ClientCapabilities(sampling=True, elicitation_url=True), answer)
    outcome = await gateway.invoke("talk", {}, ANN, channel=channel)
    assert outcome.result is not None
    assert outcome.result.structured == ["question-1!", "accept"]
    sampled, opened = (request for requests in channel.requested for request in requests.values())
    assert isinstance(sampled, SamplingRequest)
    assert sampled.messages == said
    assert opened == UrlElicitationRequest("Log in", "https://a.example/", "e-1")


async def test_context_without_a_way_back_drops_messages_and_refuses_client_requests() -> None:
    gateway, sink = _gateway()

    @gateway.tool
    async def ask(context: Context) -> str:
        await context.progress(1)
        await context.log("info", "x")
        assert not context.capabilities.roots
        return str(await context.list_roots())

    outcome = await gateway.invoke("ask", {}, ANN)
    assert isinstance(outcome.error, ClientCapabilityMissing)
    assert outcome.error.missing == ("roots",)
    assert [(event.status, event.cost_units) for event in sink.events()] == [(Status.INVALID, 0)]


async def test_a_client_that_refuses_makes_the_call_fail() -> None:
    gateway, sink = _gateway()

    @gateway.tool
    async def ask(context: Context) -> str:
        return str(await context.list_roots())

    outcome = await gateway.invoke("ask", {}, ANN, channel=InMemoryClientChannel(ALL, lambda key, _: None))
    assert isinstance(outcome.error, ClientRequestDeclined)
    assert [(event.tool, event.status) for event in sink.events()] == [
        ("roots:ask", Status.ERROR),
        ("ask", Status.ERROR),
    ]


async def test_round_that_ends_with_a_client_request_is_free() -> None:
    gateway, sink = _gateway()

    @gateway.tool
    async def ask(context: Context) -> str:
        return str(await context.list_roots(key="where"))

    outcome = await gateway.invoke("ask", {}, ANN, channel=InMemoryRoundChannel(ALL, {}))
    assert (outcome.status, outcome.result, outcome.error) == (Status.INPUT_REQUIRED, None, None)
    assert outcome.client_requests == {"where": RootsRequest()}
    assert [(event.tool, event.status, event.cost_units) for event in sink.events()] == [
        ("roots:ask", Status.INPUT_REQUIRED, 0),
        ("ask", Status.INPUT_REQUIRED, 0),
    ]


async def test_a_tool_that_ends_a_round_where_none_can_follow_is_refused() -> None:
    gateway, _ = _gateway()

    @gateway.tool
    async def ask() -> str:
        raise InputRequired({"where": RootsRequest()})

    assert isinstance((await gateway.invoke("ask", {}, ANN)).error, ClientCapabilityMissing)


class _Slow(InMemoryClientChannel):
    async def ask(self, requests: Any) -> Any:
        await asyncio.sleep(0.1)
        return await super().ask(requests)


async def test_the_deadline_stands_still_while_the_client_thinks() -> None:
    gateway, _ = _gateway()

    @gateway.tool(timeout_seconds=0.05)
    async def ask(context: Context) -> str:
        await asyncio.gather(context.list_roots(key="a"), context.list_roots(key="b"))
        return "in time"

    @gateway.tool(timeout_seconds=0.05)
    async def hang(context: Context) -> None:
        await context.list_roots()
        await asyncio.get_running_loop().create_future()

    channel = _Slow(ALL, _answer)
    assert (await gateway.invoke("ask", {}, ANN, channel=channel)).status is Status.SUCCESS
    assert (await gateway.invoke("hang", {}, ANN, channel=channel)).status is Status.TIMEOUT


async def test_a_function_that_cannot_await_gets_no_context() -> None:
    gateway, _ = _gateway()

    def blocking(context: Context) -> None: ...

    with pytest.raises(InvalidInput, match="async def"):
        gateway.tool(blocking)


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "object"}, {"type": "array", "properties": {}},
     {"type": "object", "properties": {"a": {"type": "object"}}},
     {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}}],
)  # fmt: skip
def test_a_form_is_flat(schema: Any) -> None:
    with pytest.raises(InvalidInput):
        ElicitationRequest("?", schema)


@pytest.mark.parametrize(
    "field",
    [{"type": kind} for kind in ("string", "number", "integer", "boolean")]
    + [{"type": "array", "items": {"enum": ["a"]}}, {"type": "array", "items": {"anyOf": [{"const": "a"}]}}],
)
def test_a_form_has_fields_that_people_can_fill_in(field: Any) -> None:
    schema = {"type": "object", "properties": {"a": field}}
    assert ElicitationRequest("?", schema).schema == schema


class _Confused(InMemoryClientChannel):
    """Passes on whatever it gets."""

    async def ask(self, requests: Any) -> Any:
        return {key: self._answering(key, request) for key, request in requests.items()}


@pytest.mark.parametrize("question", ["sample", "elicit", "elicit_url", "list_roots"])
async def test_context_declines_an_answer_to_another_client_request(question: str) -> None:
    gateway, sink = _gateway()

    @gateway.tool
    async def ask(context: Context) -> str:
        match question:
            case "sample":
                return (await context.sample("x", max_tokens=1)).text
            case "elicit":
                return (await context.elicit("?", FORM)).action
            case "elicit_url":
                return (await context.elicit_url("?", "https://a.example/")).action
            case _:
                return str(await context.list_roots())

    wrong = ElicitationAnswer("accept", {}) if question == "list_roots" else RootsAnswer(())
    all_of_them = ClientCapabilities(sampling=True, elicitation=True, elicitation_url=True, roots=True)
    outcome = await gateway.invoke("ask", {}, ANN, channel=_Confused(all_of_them, lambda *_: wrong))
    assert isinstance(outcome.error, ClientRequestDeclined)
    assert [event.status for event in sink.events() if event.tool == "ask"] == [Status.ERROR]


async def test_a_function_goes_on_in_the_background_where_its_channel_can() -> None:
    class Tasks(InMemoryClientChannel):
        async def begin_task(self) -> bool:
            return True

    gateway, _ = _gateway()

    @gateway.tool(tasks="explicit")
    async def dig(context: Context) -> bool:
        return await context.continue_as_task()

    outcome = await gateway.invoke("dig", {}, ANN, channel=Tasks(ALL, _answer))
    assert outcome.result is not None
    assert outcome.result.structured is True
