"""The laws of ClientChannel. Where an answer takes another round (the stateless era), a client goes through the rounds.

To add a channel, write a class that opens one for a client with these capabilities and answers.
"""

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.client_requests.governed_channel import GovernedChannel, Questions, RequestingCall
from stoa.application.client_requests.passing_channel import PassingChannel
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import Unlimited
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder
from stoa.application.ports import ClientChannel
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    InputRequired,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingContent,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    ToolUse,
    ToolUseResult,
    UrlElicitationRequest,
)
from stoa.domain.client_requests.rules import ClientRequests
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined
from stoa.domain.metering.price_list import PriceList
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.results.result import TextContent
from stoa.interfaces.mcp.client_requests.channels import HandshakeChannel, RoundChannel
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.exchange import Exchange, MethodCall, ResponseStream
from stoa.interfaces.mcp.jsonrpc.messages import Request, Response
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.revisions import NEWEST, NEWEST_HANDSHAKE
from stoa.testing.client_channel import Answering, InMemoryClientChannel
from stoa.testing.clock import ManualClock

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = ElicitationRequest("Who?", NAME)
PAGE = UrlElicitationRequest("Log in", "https://gw.example/connect?e=7", "e-7")
HELLO = (SamplingMessage("user", TextContent("Hi")),)
SAMPLE = SamplingRequest(messages=HELLO, max_tokens=5, include_context="thisServer")
CHOICE = SamplingRequest(messages=HELLO, max_tokens=5, tools=(SamplingTool("add", "Adds.", {"type": "object"}),))
QUESTIONS: dict[str, ClientRequest] = {
    "form": FORM,
    "page": PAGE,
    "sample": SAMPLE,
    "choice": CHOICE,
    "roots": RootsRequest(),
}
ANSWERS: dict[str, ClientAnswer] = {
    "form": ElicitationAnswer("accept", {"name": "Ada"}),
    "page": ElicitationAnswer("accept", {}),
    "sample": SamplingAnswer((TextContent("Hello"),), "m"),
    "choice": SamplingAnswer((TextContent("So:"), ToolUse("u1", "add", {"a": 1})), "m", stop_reason="toolUse"),
    "roots": RootsAnswer((Root("file:///work"),)),
}
NEEDS = {
    "form": {"elicitation"},
    "page": {"elicitation.url"},
    "sample": {"sampling"},
    "choice": {"sampling", "sampling.tools"},
    "roots": {"roots"},
}
ALL = ClientCapabilities(
    sampling=True, sampling_tools=True, sampling_context=True, elicitation=True, elicitation_url=True, roots=True
)


class Opened(Protocol):
    channel: ClientChannel

    def progressed(self) -> list[float]: ...
    def asked(self) -> list[ClientRequest]:
        """What reached the client, as far as its capabilities go."""
        ...

    def done(self) -> list[str]: ...


class _Memory:
    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self._own = InMemoryClientChannel(capabilities, answering)
        self.channel: ClientChannel = self._own

    def progressed(self) -> list[float]:
        return [entry[0] for entry in self._own.progressed]

    def asked(self) -> list[ClientRequest]:
        return [request for asked in self._own.asked for request in asked.values()]

    def done(self) -> list[str]:
        return self._own.done


class _Governed(_Memory):
    """With rules that allow everything: what governs must not change what a channel is."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        super().__init__(capabilities, answering)
        questions = Questions(
            policy=RulesPolicyEngine(),
            rules=ClientRequests(),
            limiter=Unlimited(),
            recorder=Recorder(InMemoryMeteringSink(), [], ManualClock()),
            pricing=Pricing(PriceList()),
        )
        ann = Principal.of("ann", roles=["viewer"])
        tool = Tool(name="ask", binding=LocalBinding(function="ask"))
        call = Invocation(credential=ann, name="ask", arguments={}, door="library")
        self.channel = GovernedChannel(self._own, questions, RequestingCall(call, ann, tool, {}, "r", "e"))


class _Wire(ResponseStream):
    """A client at the other end of a session's stream."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        session = Session("s", "who", "2025-11-25", capabilities)
        sessions = Sessions(InMemorySessionStore(ManualClock()), Streams(InMemoryEventStore()))
        exchange = Exchange(None, headers=Headers([]), stream=self)
        request = Request(1, "tools/call", {"_meta": {"progressToken": "p"}})
        call = MethodCall(request, NEWEST_HANDSHAKE, Principal.of("ann"), exchange, session)
        self.channel: ClientChannel = HandshakeChannel(call, session, sessions, ManualClock())
        self._session, self._sessions, self._answering = session, sessions, answering
        self._sent: list[Any] = []

    async def notify(self, message: bytes) -> None:
        sent = json.loads(message)
        self._sent.append(sent)
        if "id" in sent:
            answer = self._answering(_key_of(sent), QUESTIONS[_key_of(sent)])
            written = None if answer is None else _written(answer)
            await self._sessions.answered(self._session, Response(sent["id"], written))

    async def hang_up(self) -> None:
        raise AssertionError("nobody asked for it")

    def record(self, recording: EventRecording) -> None:
        raise AssertionError("nobody could come back")

    def progressed(self) -> list[float]:
        return _progress_in(self._sent)

    def asked(self) -> list[ClientRequest]:
        return [_as_sent(message) for message in self._sent if "id" in message]

    def done(self) -> list[str]:
        name = "notifications/elicitation/complete"
        return [sent["params"]["elicitationId"] for sent in self._sent if sent["method"] == name]


class _Rounds(PassingChannel, ResponseStream):
    """A client that goes through the rounds of the stateless era, and gives up when it is asked the same again."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self._can, self._answering = capabilities, answering
        self._states = RequestStates(bytes(32), ManualClock(), "https://gw.example/mcp")
        self._sent: list[Any] = []
        self._questions: list[Any] = []
        self.channel: ClientChannel = self
        super().__init__(self._round({}))

    def _round(self, params: dict[str, Any]) -> RoundChannel:
        request = Request(1, "tools/call", {"name": "ask", "_meta": {"progressToken": "p"}, **params})
        call = MethodCall(
            request,
            NEWEST,
            Principal.of("ann"),
            Exchange(None, headers=Headers([]), stream=self),
        )
        return RoundChannel(call, 0, self._can, ManualClock(), self._states)

    async def notify(self, message: bytes) -> None:
        self._sent.append(json.loads(message))

    def record(self, recording: EventRecording) -> None:
        raise AssertionError("nobody could come back")

    async def hang_up(self) -> None:
        raise AssertionError("nobody asked for it")

    async def ask(self, requests: Any) -> Any:
        channel = self._round({})
        known: set[str] = set()
        while True:
            try:
                return await channel.ask(requests)
            except InputRequired as pause:
                if known & pause.requests.keys():
                    raise ClientRequestDeclined(min(known & pause.requests.keys())) from pause
                known |= pause.requests.keys()
                asked = channel.next_round(pause.requests, {})
            self._questions += asked["inputRequests"].values()
            found = {key: self._answering(key, QUESTIONS[key]) for key in asked["inputRequests"]}
            written = {key: _written(answer) for key, answer in found.items() if answer is not None}
            channel = self._round({"inputResponses": written, "requestState": asked["requestState"]})

    def progressed(self) -> list[float]:
        return _progress_in(self._sent)

    def asked(self) -> list[ClientRequest]:
        return [_as_sent(question) for question in self._questions]

    def done(self) -> list[str]:
        return [message["method"] for message in self._sent]  # this revision has no message for it


def _progress_in(sent: list[Any]) -> list[float]:
    return [message["params"]["progress"] for message in sent if message["method"] == "notifications/progress"]


def _key_of(sent: Any) -> str:
    if sent["method"] == "elicitation/create":
        return "page" if sent["params"].get("mode") == "url" else "form"
    if sent["method"] == "sampling/createMessage":
        return "choice" if "tools" in sent["params"] else "sample"
    return "roots"


def _as_sent(sent: Any) -> ClientRequest:
    """The question that was written, as far as its capabilities go."""
    question = QUESTIONS[_key_of(sent)]
    if isinstance(question, SamplingRequest):
        return replace(question, include_context=sent["params"].get("includeContext", "none"))
    return question


def _written(answer: ClientAnswer) -> Any:
    match answer:
        case ElicitationAnswer():
            return {"action": answer.action, "content": dict(answer.content)}
        case SamplingAnswer():
            return {
                "role": "assistant",
                "model": answer.model,
                "content": [_block(block) for block in answer.content],
                **({"stopReason": answer.stop_reason} if answer.stop_reason else {}),
            }
        case RootsAnswer():
            return {"roots": [{"uri": root.uri} for root in answer.roots]}


def _block(block: SamplingContent) -> Any:
    if isinstance(block, ToolUse):
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
    if isinstance(block, ToolUseResult):
        return {"type": "tool_result", "toolUseId": block.tool_use_id, "content": []}
    assert isinstance(block, TextContent)
    return {"type": "text", "text": block.text}


Open = Callable[[ClientCapabilities, Answering], Opened]
ADAPTERS: dict[str, Open] = {"memory": _Memory, "governed": _Governed, "handshake": _Wire, "rounds": _Rounds}


def _answering(key: str, _: ClientRequest) -> ClientAnswer | None:
    return ANSWERS[key]


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_channel(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param]


capabilities = st.builds(
    ClientCapabilities, **dict.fromkeys((member.name for member in fields(ClientCapabilities)), st.booleans())
)


@given(capabilities, st.sets(st.sampled_from(sorted(QUESTIONS)), min_size=1))
@settings(max_examples=60, deadline=None)
async def test_nothing_is_asked_for_that_the_client_did_not_declare(
    open_channel: Open, can: ClientCapabilities, keys: set[str]
) -> None:
    opened = open_channel(can, _answering)
    assert opened.channel.capabilities == can
    questions = {key: QUESTIONS[key] for key in keys}
    lacking = {name for key in keys for name in NEEDS[key] if not getattr(can, name.replace(".", "_"))}
    if lacking:
        with pytest.raises(ClientCapabilityMissing) as refused:
            await opened.channel.ask(questions)
        assert set(refused.value.missing) == lacking
        assert opened.asked() == []
        return
    assert dict(await opened.channel.ask(questions)) == {key: ANSWERS[key] for key in keys}
    sampled = [request for request in opened.asked() if isinstance(request, SamplingRequest) and not request.tools]
    assert len(opened.asked()) == len(keys)
    assert {request.include_context for request in sampled} <= {"thisServer" if can.sampling_context else "none"}


@given(st.lists(st.floats() | st.integers(0, 120), max_size=20))
@settings(max_examples=60, deadline=None)
async def test_progress_strictly_increases_until_its_total_is_reached(open_channel: Open, values: list[float]) -> None:
    opened = open_channel(ALL, _answering)
    for value in values:
        await opened.channel.progress(value, 100, "on it")
    seen = opened.progressed()
    numbers = [value for value in values if math.isfinite(value)]
    assert all(a < b for a, b in pairwise(seen))
    assert seen[:1] == numbers[:1]
    assert not any(value >= 100 for value in seen[:-1])
    assert (bool(seen) and seen[-1] >= 100) == any(value >= 100 for value in numbers)


async def test_what_was_asked_by_url_can_be_said_to_be_done_and_nothing_else_can(open_channel: Open) -> None:
    opened = open_channel(ALL, _answering)
    await opened.channel.elicitation_done("e-7")
    assert opened.done() == []
    await opened.channel.ask({"page": PAGE})
    await opened.channel.elicitation_done("e-8")
    await opened.channel.elicitation_done("e-7")
    assert opened.done() == ([] if opened.channel.asks_by_rounds else ["e-7"])


@pytest.mark.parametrize(
    "uses",
    [
        (ToolUse("u", "subtract", {}),),
        (ToolUse("u", "add", {}), ToolUse("u", "add", {})),
        (ToolUseResult("u", (TextContent("3"),)),),
    ],
    ids=["not offered", "twice the same id", "a result"],
)
async def test_a_model_uses_the_tools_that_it_was_offered(open_channel: Open, uses: Any) -> None:
    opened = open_channel(ALL, lambda key, _: SamplingAnswer(uses, "m"))
    with pytest.raises(ClientRequestDeclined):
        await opened.channel.ask({"choice": CHOICE})


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        ElicitationAnswer("accept", {"name": 5}),
        ElicitationAnswer("accept", {}),
        SamplingAnswer((TextContent("x"),), "m"),
        RootsAnswer(()),
    ],
    ids=repr,
)
async def test_an_answer_that_does_not_fit_is_no_answer(open_channel: Open, wrong: Any) -> None:
    opened = open_channel(ALL, lambda key, _: wrong)
    with pytest.raises(ClientRequestDeclined):
        await opened.channel.ask({"form": FORM})


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_may_decline_a_form(open_channel: Open, action: Any) -> None:
    opened = open_channel(ALL, lambda key, _: ElicitationAnswer(action, {}))
    assert await opened.channel.ask({"form": FORM}) == {"form": ElicitationAnswer(action, {})}


async def test_log_messages_never_fail(open_channel: Open) -> None:
    opened = open_channel(ALL, _answering)
    await opened.channel.log("info", {"a": [1]}, "db")
