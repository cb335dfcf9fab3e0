"""The laws of ClientChannel, WaitingClientChannel and RoundClientChannel. A client of the stateless era goes
through the rounds.

To add a channel, write a class that opens one for a client with these capabilities and answers.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.client_requests.governed import RoundClientRequests, WaitingClientRequests
from stoa.application.client_requests.governor import ClientRequestGovernor, RequestingCall
from stoa.application.concurrency.deadline import Deadline
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.memory.rate_limiter import Unlimited
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.metering.pricing import Pricing
from stoa.application.metering.recorder import Recorder
from stoa.application.ports import ClientChannel, RoundClientChannel
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
from stoa.interfaces.mcp.client_requests.handshake import HandshakeChannel
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.client_requests.stateless import StatelessChannel
from stoa.interfaces.mcp.exchange import Exchange, MethodCall, ResponseStream
from stoa.interfaces.mcp.jsonrpc.messages import Request, Response
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.revisions import NEWEST, NEWEST_HANDSHAKE
from stoa.testing.client_channel import Answering, InMemoryClientChannel, InMemoryRoundChannel
from stoa.testing.clock import ManualClock

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = ElicitationRequest("Who?", NAME)
PAGE = UrlElicitationRequest("Log in", "https://gw.example/connect?e=7", "e-7")
HELLO = (SamplingMessage("user", TextContent("Hi")),)
SAMPLE = SamplingRequest(messages=HELLO, max_tokens=5, include_context="thisServer")
CHOICE = SamplingRequest(messages=HELLO, max_tokens=5, tools=(SamplingTool("add", "Adds.", {"type": "object"}),))
REQUESTS: dict[str, ClientRequest] = {
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
    is_told_of_done: bool
    """The client's revision has a notification for a completed elicitation."""

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]: ...
    def progressed(self) -> list[float]: ...
    def requested(self) -> list[ClientRequest]:
        """The client requests that reached the client, as far as its capabilities go."""
        ...

    def done(self) -> list[str]: ...


def _governor() -> ClientRequestGovernor:
    """With rules that allow everything: the laws of a channel hold for governed client requests too."""
    return ClientRequestGovernor(
        policy=RulesPolicyEngine(),
        rules=ClientRequests(),
        limiter=Unlimited(),
        recorder=Recorder(InMemoryMeteringSink(), [], ManualClock()),
        pricing=Pricing(PriceList()),
    )


def _call() -> RequestingCall:
    ann = Principal.of("ann", roles=["viewer"])
    tool = Tool(name="ask", binding=LocalBinding(function="ask"))
    invocation = Invocation(credential=ann, name="ask", arguments={}, door="library")
    return RequestingCall(invocation, ann, tool, {}, "r", "e")


class _Unhurried(Deadline):
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class _Memory:
    is_told_of_done = True

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self._own = InMemoryClientChannel(capabilities, answering)
        self.channel: ClientChannel = self._own

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        return await self._own.ask(requests)

    def progressed(self) -> list[float]:
        return [entry[0] for entry in self._own.progressed]

    def requested(self) -> list[ClientRequest]:
        return [request for requests in self._own.requested for request in requests.values()]

    def done(self) -> list[str]:
        return self._own.done


class _Governed(_Memory):
    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        super().__init__(capabilities, answering)
        self._governed = WaitingClientRequests(self._own, _governor(), _call(), _Unhurried(60))

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        return await self._governed.send(requests)


class _Handshake(ResponseStream):
    """A client at the other end of a session's stream."""

    is_told_of_done = True

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        session = Session("s", "who", "2025-11-25", capabilities)
        sessions = Sessions(InMemorySessionStore(ManualClock()), Streams(InMemoryEventStore()))
        exchange = Exchange(None, headers=Headers([]), stream=self)
        request = Request(1, "tools/call", {"_meta": {"progressToken": "p"}})
        call = MethodCall(request, NEWEST_HANDSHAKE, Principal.of("ann"), exchange, session)
        opened = HandshakeChannel(call, session, sessions, ManualClock())
        self.channel: ClientChannel = opened
        self.ask = opened.ask
        self._session, self._sessions, self._answering = session, sessions, answering
        self._sent: list[Any] = []

    async def notify(self, message: bytes) -> None:
        sent = json.loads(message)
        self._sent.append(sent)
        if "id" in sent:
            answer = self._answering(_key_of(sent), REQUESTS[_key_of(sent)])
            written = None if answer is None else _written(answer)
            await self._sessions.answered(self._session, Response(sent["id"], written))

    async def hang_up(self) -> None:
        raise AssertionError("nobody asked for it")

    def record(self, recording: EventRecording) -> None:
        raise AssertionError("nobody could come back")

    def progressed(self) -> list[float]:
        return _progress_in(self._sent)

    def requested(self) -> list[ClientRequest]:
        return [_as_sent(message) for message in self._sent if "id" in message]

    def done(self) -> list[str]:
        name = "notifications/elicitation/complete"
        return [sent["params"]["elicitationId"] for sent in self._sent if sent["method"] == name]


class _Rounds:
    """A client that repeats its call with the answers, and gives up when it gets the same request again."""

    is_told_of_done = False

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self._capabilities, self._answering = capabilities, answering
        self._requested: list[ClientRequest] = []
        self._round: RoundClientChannel = InMemoryRoundChannel(capabilities, {})
        self.channel: ClientChannel = self._round

    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        requested: set[str] = set()
        while True:
            governed = RoundClientRequests(self._round, _governor(), _call())
            try:
                return await governed.send(requests)
            except InputRequired as pause:
                if requested & pause.requests.keys():
                    raise ClientRequestDeclined(min(requested & pause.requests.keys())) from pause
                sent = await governed.end_round(pause.requests)
            requested |= sent.keys()
            self._requested += sent.values()
            self._round = self._next_round(sent)

    def _next_round(self, sent: Mapping[str, ClientRequest]) -> RoundClientChannel:
        answers = {key: self._answering(key, REQUESTS[key]) for key in sent}
        given = {key: answer for key, answer in answers.items() if answer is not None}
        return InMemoryRoundChannel(self._capabilities, given)

    def progressed(self) -> list[float]:
        assert isinstance(self.channel, InMemoryRoundChannel)
        return [entry[0] for entry in self.channel.progressed]

    def requested(self) -> list[ClientRequest]:
        return self._requested

    def done(self) -> list[str]:
        assert isinstance(self.channel, InMemoryRoundChannel)
        return self.channel.done


class _Stateless(_Rounds, ResponseStream):
    """The same client at the other end of the wire."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        super().__init__(capabilities, answering)
        self._states = RequestStates(bytes(32), ManualClock(), "https://gw.example/mcp")
        self._sent: list[Any] = []
        self._round = self.channel = self._opened({})

    def _opened(self, params: dict[str, Any]) -> StatelessChannel:
        request = Request(1, "tools/call", {"name": "ask", "_meta": {"progressToken": "p"}, **params})
        exchange = Exchange(None, headers=Headers([]), stream=self)
        call = MethodCall(request, NEWEST, Principal.of("ann"), exchange)
        return StatelessChannel(call, 0, self._capabilities, ManualClock(), self._states)

    def _next_round(self, sent: Mapping[str, ClientRequest]) -> RoundClientChannel:
        assert isinstance(self._round, StatelessChannel)
        wire = self._round.input_required(sent, {})
        assert [_as_sent(request) for request in wire["inputRequests"].values()] == list(sent.values())
        answers = {key: self._answering(key, REQUESTS[key]) for key in wire["inputRequests"]}
        written = {key: _written(answer) for key, answer in answers.items() if answer is not None}
        return self._opened({"inputResponses": written, "requestState": wire["requestState"]})

    async def notify(self, message: bytes) -> None:
        self._sent.append(json.loads(message))

    def record(self, recording: EventRecording) -> None:
        raise AssertionError("nobody could come back")

    async def hang_up(self) -> None:
        raise AssertionError("nobody asked for it")

    def progressed(self) -> list[float]:
        return _progress_in(self._sent)

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
    """The client request that was written, as far as its capabilities go."""
    request = REQUESTS[_key_of(sent)]
    if isinstance(request, SamplingRequest):
        return replace(request, include_context=sent["params"].get("includeContext", "none"))
    return request


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
ADAPTERS: dict[str, Open] = {
    "memory": _Memory,
    "governed": _Governed,
    "handshake": _Handshake,
    "rounds in memory": _Rounds,
    "stateless": _Stateless,
}


def _answering(key: str, _: ClientRequest) -> ClientAnswer | None:
    return ANSWERS[key]


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_channel(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param]


capabilities = st.builds(
    ClientCapabilities, **dict.fromkeys((member.name for member in fields(ClientCapabilities)), st.booleans())
)


@given(capabilities, st.sets(st.sampled_from(sorted(REQUESTS)), min_size=1))
@settings(max_examples=60, deadline=None)
async def test_client_requests_are_within_the_declared_capabilities(
    open_channel: Open, can: ClientCapabilities, keys: set[str]
) -> None:
    opened = open_channel(can, _answering)
    assert opened.channel.capabilities == can
    requests = {key: REQUESTS[key] for key in keys}
    lacking = {name for key in keys for name in NEEDS[key] if not getattr(can, name.replace(".", "_"))}
    if lacking:
        with pytest.raises(ClientCapabilityMissing) as refused:
            await opened.ask(requests)
        assert set(refused.value.missing) == lacking
        assert opened.requested() == []
        return
    assert dict(await opened.ask(requests)) == {key: ANSWERS[key] for key in keys}
    sampled = [request for request in opened.requested() if isinstance(request, SamplingRequest) and not request.tools]
    assert len(opened.requested()) == len(keys)
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


async def test_elicitation_done_is_told_for_pages_of_this_call_only(open_channel: Open) -> None:
    opened = open_channel(ALL, _answering)
    await opened.channel.elicitation_done("e-7")
    assert opened.done() == []
    await opened.ask({"page": PAGE})
    await opened.channel.elicitation_done("e-8")
    await opened.channel.elicitation_done("e-7")
    assert opened.done() == (["e-7"] if opened.is_told_of_done else [])


@pytest.mark.parametrize(
    "uses",
    [
        (ToolUse("u", "subtract", {}),),
        (ToolUse("u", "add", {}), ToolUse("u", "add", {})),
        (ToolUseResult("u", (TextContent("3"),)),),
    ],
    ids=["not offered", "twice the same id", "a result"],
)
async def test_sampling_answer_uses_offered_tools_only(open_channel: Open, uses: Any) -> None:
    opened = open_channel(ALL, lambda key, _: SamplingAnswer(uses, "m"))
    with pytest.raises(ClientRequestDeclined):
        await opened.ask({"choice": CHOICE})


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
async def test_client_answer_that_does_not_fit_is_declined(open_channel: Open, wrong: Any) -> None:
    opened = open_channel(ALL, lambda key, _: wrong)
    with pytest.raises(ClientRequestDeclined):
        await opened.ask({"form": FORM})


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_elicitation_may_be_declined(open_channel: Open, action: Any) -> None:
    opened = open_channel(ALL, lambda key, _: ElicitationAnswer(action, {}))
    assert await opened.ask({"form": FORM}) == {"form": ElicitationAnswer(action, {})}


async def test_log_never_fails(open_channel: Open) -> None:
    opened = open_channel(ALL, _answering)
    await opened.channel.log("info", {"a": [1]}, "db")
