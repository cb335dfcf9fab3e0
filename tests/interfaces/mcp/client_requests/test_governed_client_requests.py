"""Questions to clients over MCP, in every revision: what is written, what is governed, and what is never sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types.methods import parse_server_request, validate_server_result
from tests.interfaces.doors import STATELESS_REVISIONS, Answer, World, envelope, new_world
from tests.interfaces.mcp.streams.test_sessions import opened, sent, until

from stoa.application import Context
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.client_requests.client_request import (
    ClientRequest,
    ElicitationRequest,
    ModelPreferences,
    RootsRequest,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUseResult,
    UrlElicitationRequest,
)
from stoa.domain.client_requests.rules import ClientRequestRules, ClientRequests
from stoa.domain.errors import ClientRequestRefused
from stoa.domain.metering.event import Status
from stoa.domain.results.result import ImageContent, TextContent

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", STATELESS_REVISIONS)
DETAILED = ("2025-11-25", STATELESS_REVISIONS)
"""Revisions in which clients say what of sampling and elicitation they know."""
ALL: dict[str, Any] = {
    "sampling": {"context": {}, "tools": {}},
    "elicitation": {"form": {}, "url": {}},
    "roots": {},
}
NAME = {"type": "object", "properties": {"name": {"type": "string"}}}
ADD = SamplingTool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
SAID = {"role": "assistant", "content": {"type": "text", "text": "two"}, "model": "m", "stopReason": "endTurn"}
USES = {
    "role": "assistant",
    "content": [
        {"type": "text", "text": "let me see"},
        {"type": "tool_use", "id": "u1", "name": "add", "input": {"a": 1}},
    ],
    "model": "m",
    "stopReason": "toolUse",
}
Answering = Callable[[Any], Any]
"""From a question, as it was written, to the client's result."""


def usual(question: Any) -> Any:
    match question["method"]:
        case "sampling/createMessage":
            return SAID
        case "elicitation/create":
            return {"action": "accept", "content": {} if question["params"].get("mode") != "url" else None}
        case _:
            return {"roots": []}


class Talk:
    """One call, and what its client was asked before it ended."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.told: list[Any] = []
        self.answer = Answer()

    @property
    def messages(self) -> list[Any]:
        """What came on the stream, if it is one."""
        return sent(self.answer) if self.answer.header("content-type") == "text/event-stream" else []

    @property
    def result(self) -> Any:
        return (self.messages or [self.answer.json()])[-1]["result"]

    @property
    def text(self) -> str:
        return self.result["content"][0]["text"]


async def call(
    world: World,
    revision: str,
    name: str,
    *,
    can: Any = ALL,
    answering: Answering = usual,
    token: str = "alpha-admin",
) -> Talk:
    talk = Talk()
    if revision == STATELESS_REVISIONS:
        await _by_rounds(world, talk, name, can, answering, token)
    else:
        await _waiting(world, talk, revision, name, can, answering, token)
    return talk


async def _by_rounds(world: World, talk: Talk, name: str, can: Any, answering: Answering, token: str) -> None:
    params: dict[str, Any] = {
        "name": name,
        "_meta": {**envelope(), "io.modelcontextprotocol/clientCapabilities": can},
    }
    while True:
        talk.answer = await world.modern("tools/call", params, token=token)
        result = talk.answer.json().get("result", {})
        if "inputRequests" not in result:
            return
        validate_server_result("tools/call", STATELESS_REVISIONS, result)
        talk.asked += result["inputRequests"].values()
        responses = {key: answering(question) for key, question in result["inputRequests"].items()}
        params |= {"inputResponses": responses, "requestState": result["requestState"]}


async def _waiting(
    world: World, talk: Talk, revision: str, name: str, can: Any, answering: Answering, token: str
) -> None:
    client = await opened(world, revision=revision, can=can, token=token)
    calling = asyncio.create_task(client.ask("tools/call", {"name": name}, into=talk.answer))
    handled: list[Any] = []
    while True:
        await until(lambda: calling.done() or len(talk.messages) > len(handled))
        for message in talk.messages[len(handled) :]:
            handled.append(message)
            if "method" in message and "id" in message:
                question = {"method": message["method"], "params": message["params"]}
                parse_server_request(message["method"], revision, message["params"])
                talk.asked.append(question)
                result = answering(question)
                answer = {"result": result} if result is not None else {"error": {"code": -1, "message": "no"}}
                await client.tell({"id": message["id"], **answer})
            elif "method" in message:
                talk.told.append(message)
        if calling.done():
            await calling
            return


def ask(world: World, *batches: dict[str, ClientRequest]) -> None:
    @world.gateway.tool
    async def ask(context: Context) -> str:
        said = [await context.ask(questions) for questions in batches]
        return str(sorted(key for answers in said for key in answers))


def sampling(**rest: Any) -> SamplingRequest:
    return SamplingRequest(**{"messages": (SamplingMessage("user", TextContent("1+1?")),), "max_tokens": 50, **rest})


def quiet_world(**rules: Any) -> World:
    requests = ClientRequests(default=ClientRequestRules(), tenants={"alpha": ClientRequestRules(**rules)})
    return new_world(has_sessions=True, client_requests=requests)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_sampling_is_written_in_full(revision: str) -> None:
    world = quiet_world()
    blocks = (TextContent("what is it?"), ImageContent("aGk=", "image/png"))
    wished = ModelPreferences(hints=("claude", "sonnet"), cost_priority=0.1, intelligence_priority=1)
    ask(
        world,
        {
            "s": sampling(
                messages=(SamplingMessage("user", blocks),),
                system_prompt="brief",
                temperature=0.5,
                stop_sequences=("\n",),
                model_preferences=wished,
                metadata={"trace": 1},
                include_context="thisServer",
            )
        },
    )
    talk = await call(world, revision, "ask")
    written = [{"type": "text", "text": "what is it?"}, {"type": "image", "data": "aGk=", "mimeType": "image/png"}]
    params = {
        "messages": [{"role": "user", "content": written}],
        "maxTokens": 50,
        "systemPrompt": "brief",
        "modelPreferences": {
            "hints": [{"name": "claude"}, {"name": "sonnet"}],
            "costPriority": 0.1,
            "intelligencePriority": 1,
        },
        "temperature": 0.5,
        "stopSequences": ["\n"],
        "metadata": {"trace": 1},
        "includeContext": "thisServer",
    }
    if revision not in DETAILED:
        params["messages"] = [{"role": "user", "content": block} for block in written]
        del params["includeContext"]
    assert talk.asked == [{"method": "sampling/createMessage", "params": params}]
    assert talk.text == "['s']"


@pytest.mark.parametrize("revision", DETAILED)
async def test_context_is_not_asked_for_where_it_is_not_declared(revision: str) -> None:
    world = quiet_world()
    ask(world, {"s": sampling(include_context="allServers")})
    talk = await call(world, revision, "ask", can={"sampling": {}})
    assert [list(question["params"]) for question in talk.asked] == [["messages", "maxTokens"]]


def _with_tools(world: World) -> None:
    @world.gateway.tool
    async def agent(context: Context) -> str:
        messages = [SamplingMessage("user", TextContent("1+1?"))]
        for turn in range(5):
            answer = await context.sample(
                messages, max_tokens=9, tools=[ADD], tool_choice="auto" if turn else "required", key=f"turn-{turn}"
            )
            if not answer.tool_uses:
                return f"{answer.text} ({answer.stop_reason})"
            results = tuple(ToolUseResult(use.id, (TextContent("2"),), {"sum": 2}) for use in answer.tool_uses)
            messages += [answer.message, SamplingMessage("user", results)]
        return "never ends"


@pytest.mark.parametrize("revision", DETAILED)
async def test_a_model_may_use_tools_and_goes_on_with_their_results(revision: str) -> None:
    world = quiet_world()
    _with_tools(world)
    talk = await call(
        world, revision, "agent", answering=lambda question: USES if len(question["params"]["messages"]) < 3 else SAID
    )
    first, second = (question["params"] for question in talk.asked)
    assert first["tools"] == [{"name": "add", "description": "Adds.", "inputSchema": ADD.input_schema}]
    assert (first["toolChoice"], second["toolChoice"]) == ({"mode": "required"}, {"mode": "auto"})
    assert second["messages"][1] == {"role": "assistant", "content": USES["content"]}
    result = {"type": "tool_result", "toolUseId": "u1", "content": [{"type": "text", "text": "2"}]}
    assert second["messages"][2] == {"role": "user", "content": result | {"structuredContent": {"sum": 2}}}
    assert talk.text == "two (endTurn)"


@pytest.mark.parametrize("revision", REVISIONS)
async def test_tools_are_offered_only_to_clients_that_declare_it(revision: str) -> None:
    world = quiet_world()
    _with_tools(world)
    can = {"sampling": {}} if revision in DETAILED else {"sampling": {"tools": {}}}
    talk = await call(world, revision, "agent", can=can)
    assert talk.asked == []
    if revision == STATELESS_REVISIONS:
        error = talk.answer.json()["error"]
        assert (error["code"], error["data"]["requiredCapabilities"]) == (-32021, {"sampling": {"tools": {}}})
    else:
        assert talk.result["isError"] is True
        assert "sampling.tools" in talk.text


@pytest.mark.parametrize("revision", REVISIONS)
async def test_several_blocks_are_an_answer_since_2025_11_25(revision: str) -> None:
    world = quiet_world()
    ask(world, {"s": sampling()})
    several = {**SAID, "content": [SAID["content"], SAID["content"]]}
    answers = iter([several, SAID])
    talk = await call(world, revision, "ask", answering=lambda question: next(answers))
    assert talk.result.get("isError", False) == (revision not in DETAILED)


def _with_page(world: World) -> None:
    @world.gateway.tool
    async def connect(context: Context) -> str:
        url = "https://gw.example/connect?e=7"
        answer = await context.elicit_url("Log in there", url, elicitation_id="e-7")
        await context.elicitation_done("e-7")
        await context.elicitation_done("e-7")
        return answer.action


@pytest.mark.parametrize("revision", DETAILED)
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_a_user_is_sent_to_a_page(revision: str, action: str) -> None:
    world = quiet_world()
    _with_page(world)
    talk = await call(world, revision, "connect", answering=lambda question: {"action": action})
    params = {"mode": "url", "message": "Log in there", "url": "https://gw.example/connect?e=7"}
    if revision != STATELESS_REVISIONS:
        params["elicitationId"] = "e-7"
    assert talk.asked == [{"method": "elicitation/create", "params": params}]
    assert talk.text == action
    done = {"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"elicitationId": "e-7"}}
    assert talk.told == ([] if revision == STATELESS_REVISIONS else [done])


@pytest.mark.parametrize("revision", REVISIONS)
async def test_no_user_is_sent_to_a_page_whose_client_did_not_declare_it(revision: str) -> None:
    world = quiet_world()
    _with_page(world)
    can = {"elicitation": {}} if revision in DETAILED else {"elicitation": {"url": {}}}
    talk = await call(world, revision, "connect", can=can)
    assert (talk.asked, talk.told) == ([], [])
    if revision == STATELESS_REVISIONS:
        assert talk.answer.json()["error"]["data"]["requiredCapabilities"] == {"elicitation": {"url": {}}}
    else:
        assert talk.result["isError"] is True


@pytest.mark.parametrize("revision", REVISIONS)
async def test_forms_are_shown_since_2025_06_18(revision: str) -> None:
    world = quiet_world()
    ask(world, {"f": ElicitationRequest("Who?", NAME)})
    talk = await call(world, revision, "ask", can={"elicitation": {}})
    assert len(talk.asked) == (revision >= "2025-06-18")
    assert talk.result.get("isError", False) == (revision < "2025-06-18")


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_tenants_rules_hold_for_it_alone(revision: str) -> None:
    world = quiet_world(sampling=False, max_tokens=5)
    ask(world, {"s": sampling()})
    refused = await call(world, revision, "ask")
    assert refused.asked == []
    assert refused.result["isError"] is True
    assert refused.text == "The client may not be asked: sampling is switched off"
    assert [(event.tool, event.status) for event in world.events] == [("ask", Status.ERROR)]
    other = await call(world, revision, "ask", token="beta-viewer")
    assert other.text == "['s']"
    assert other.asked[0]["params"]["maxTokens"] == 50


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_cap_lowers_the_tokens_that_are_asked_for(revision: str) -> None:
    world = quiet_world(max_tokens=5)
    ask(world, {"much": sampling(max_tokens=9), "little": sampling(max_tokens=3)})
    talk = await call(world, revision, "ask")
    assert sorted(question["params"]["maxTokens"] for question in talk.asked) == [3, 5]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_client_request_that_goes_out_is_metered_and_audited(revision: str) -> None:
    world = quiet_world()
    ask(world, {"s": sampling()}, {"r": RootsRequest()})
    await call(world, revision, "ask")
    questions = [event for event in world.events if ":" in event.tool]
    assert [event.tool for event in questions] == ["sampling:ask", "roots:ask"]
    status = Status.INPUT_REQUIRED if revision == STATELESS_REVISIONS else Status.SUCCESS
    assert {(event.status, event.cost_units) for event in questions} == {(status, 0)}
    calls = {event.request_id for event in world.events if ":" not in event.tool}
    assert {event.request_id for event in questions} <= calls
    world.audit.flush()
    lines = world.audit_stream.getvalue().splitlines()
    assert len(lines) == len(world.events)
    assert [b'"audit":"question"' in line for line in lines].count(True) == 2


async def test_a_round_beyond_the_limit_is_told_when_to_come_back() -> None:
    world = quiet_world(rate_limit=RateLimit(requests_per_minute=6, burst=1))
    ask(world, {"s": sampling()})
    assert (await call(world, STATELESS_REVISIONS, "ask")).text == "['s']"
    refused = await call(world, STATELESS_REVISIONS, "ask")
    assert (refused.answer.status, refused.answer.header("retry-after"), refused.asked) == (429, "10", [])


async def test_client_requests_are_withdrawn_when_one_of_them_is_refused() -> None:
    world = quiet_world()
    ask(world, {"f": ElicitationRequest("Who?", NAME), "s": sampling()})
    client, so_far = await opened(world), Answer()
    calling = asyncio.create_task(client.ask("tools/call", {"name": "ask"}, into=so_far))
    await until(lambda: len(sent(so_far)) == 2)
    form, sample = sent(so_far)
    await client.tell({"id": sample["id"], "error": {"code": -1, "message": "no"}})
    messages = sent(await calling)[2:]
    assert [message.get("params") for message in messages] == [{"requestId": form["id"]}, None]
    assert messages[-1]["result"]["isError"] is True
    assert sorted((event.tool, event.status) for event in world.events) == [
        ("ask", Status.ERROR),
        ("elicitation:ask", Status.CANCELLED),
        ("sampling:ask", Status.ERROR),
    ]


async def test_a_door_without_a_way_back_cannot_ask_whatever_the_rules_say() -> None:
    for rules in ({}, {"sampling": False}):
        world = quiet_world(**rules)
        ask(world, {"s": sampling()})
        answer = await world.rest("POST", "/tools/ask/invoke", {"arguments": {}})
        assert answer.status == 400
        assert "client_cannot" in answer.body.decode()
        assert [event.tool for event in world.events] == ["ask"]


async def test_client_request_refused_for_a_prompt_or_resource_is_an_error_without_a_challenge() -> None:
    world = quiet_world(roots=False)

    @world.gateway.prompt
    async def plan(context: Context) -> str:
        return str(await context.list_roots())

    meta = {**envelope(), "io.modelcontextprotocol/clientCapabilities": ALL}
    answer = await world.modern("prompts/get", {"name": "plan", "_meta": meta})
    assert (answer.status, answer.header("www-authenticate")) == (200, None)
    assert answer.json()["error"]["data"]["code"] == ClientRequestRefused.code


details = st.fixed_dictionaries({}, optional={"tools": st.just({}), "context": st.just({})})
modes = st.fixed_dictionaries({}, optional={"form": st.just({}), "url": st.just({})})
declared = st.fixed_dictionaries(
    {}, optional={"sampling": details, "elicitation": modes, "roots": st.just({}), "experimental": st.just({"x": {}})}
)
QUESTIONS: dict[str, ClientRequest] = {
    "sample": sampling(),
    "tools": sampling(tools=(ADD,)),
    "context": sampling(include_context="allServers"),
    "form": ElicitationRequest("Who?", NAME),
    "page": UrlElicitationRequest("Log in", "https://gw.example/", "e"),
    "roots": RootsRequest(),
}


def _is_declared(question: Any, can: Any) -> bool:
    params = question["params"]
    match question["method"]:
        case "sampling/createMessage":
            needed = {name for name, member in {"tools": "tools", "context": "includeContext"}.items()
                      if member in params}  # fmt: skip
            return "sampling" in can and needed <= can["sampling"].keys()
        case "elicitation/create":
            shown = can.get("elicitation")
            return shown is not None and (params.get("mode", "form") in (shown or {"form": {}}))
        case _:
            return "roots" in can


@pytest.mark.parametrize("revision", DETAILED)
@given(can=declared, names=st.lists(st.sampled_from(sorted(QUESTIONS)), min_size=1, max_size=3, unique=True))
@settings(max_examples=40, deadline=None)
async def test_nothing_is_ever_written_that_the_client_did_not_declare(
    revision: str, can: Any, names: list[str]
) -> None:
    world = quiet_world()

    @world.gateway.tool
    async def ask(context: Context) -> str:
        said: list[str] = []
        for name in names:
            try:
                said += await context.ask({name: QUESTIONS[name]})
            except Exception as refused:
                if getattr(refused, "code", "") != "client_cannot":
                    raise
        return str(said)

    talk = await call(world, revision, "ask", can=can)
    assert talk.result.get("isError", False) is False
    assert all(_is_declared(question, can) for question in talk.asked)
    assert len(talk.asked) == len([event for event in world.events if ":" in event.tool])
