"""The laws of ClientChannel, for the adapters that wait for an answer: in memory, and MCP's handshake era.

Where an answer takes another round (the stateless era), tests/interfaces/mcp/test_rounds.py says the same in its way.
To add a channel, write a class that opens one for a client with these capabilities and answers.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.memory.client_channel import Answering, InMemoryClientChannel
from stoa.application.memory.clock import ManualClock
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.application.ports import ClientChannel
from stoa.domain.dialogue import (
    ClientCapabilities,
    ElicitationAnswer,
    ElicitationRequest,
    InputAnswer,
    InputRequest,
    Root,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
)
from stoa.domain.errors import ClientCannot, ClientRefused
from stoa.domain.identity import Principal
from stoa.domain.result import TextContent
from stoa.domain.session import Session
from stoa.interfaces.mcp.channel import HandshakeChannel
from stoa.interfaces.mcp.exchange import Exchange, MethodCall, ResponseStream
from stoa.interfaces.mcp.headers import Headers
from stoa.interfaces.mcp.messages import Request, Response
from stoa.interfaces.mcp.revisions import NEWEST_LEGACY
from stoa.interfaces.mcp.sessions import Sessions
from stoa.interfaces.mcp.streams import Streams

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = ElicitationRequest("Who?", NAME)
SAMPLE = SamplingRequest(messages=(SamplingMessage("user", TextContent("Hi")),), max_tokens=5)
QUESTIONS: dict[str, InputRequest] = {"form": FORM, "sample": SAMPLE, "roots": RootsRequest()}
ANSWERS: dict[str, InputAnswer] = {
    "form": ElicitationAnswer("accept", {"name": "Ada"}),
    "sample": SamplingAnswer((TextContent("Hello"),), "m"),
    "roots": RootsAnswer((Root("file:///work"),)),
}
ALL = ClientCapabilities(sampling=True, elicitation=True, roots=True)


class Opened(Protocol):
    channel: ClientChannel

    def progressed(self) -> list[float]: ...
    def asked(self) -> int: ...


class _Memory:
    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        self.channel = self._own = InMemoryClientChannel(capabilities, answering)

    def progressed(self) -> list[float]:
        return [entry[0] for entry in self._own.progressed]

    def asked(self) -> int:
        return len(self._own.asked)


class _Wire(ResponseStream):
    """A client at the other end of a session's stream."""

    def __init__(self, capabilities: ClientCapabilities, answering: Answering) -> None:
        session = Session("s", "who", "2025-11-25", capabilities)
        sessions = Sessions(InMemorySessionStore(ManualClock()), Streams(InMemoryEventStore()))
        exchange = Exchange(headers=Headers([]), body=b"", credential=None, stream=self)
        request = Request(1, "tools/call", {"_meta": {"progressToken": "p"}})
        call = MethodCall(request, NEWEST_LEGACY, Principal.of("ann"), exchange, session)
        self.channel: ClientChannel = HandshakeChannel(call, session, sessions)
        self._session, self._sessions, self._answering = session, sessions, answering
        self._sent: list[Any] = []

    async def notify(self, message: bytes) -> None:
        sent = json.loads(message)
        self._sent.append(sent)
        if "id" in sent:
            key = {"elicitation/create": "form", "sampling/createMessage": "sample"}.get(sent["method"], "roots")
            answer = self._answering(key, QUESTIONS[key])
            await self._sessions.answered(
                self._session, Response(sent["id"], None if answer is None else _written(answer))
            )

    async def hang_up(self) -> None:
        raise AssertionError("nobody asked for it")

    def progressed(self) -> list[float]:
        return [sent["params"]["progress"] for sent in self._sent if sent["method"] == "notifications/progress"]

    def asked(self) -> int:
        return sum("id" in sent for sent in self._sent)


def _written(answer: InputAnswer) -> Any:
    match answer:
        case ElicitationAnswer():
            return {"action": answer.action, "content": dict(answer.content)}
        case SamplingAnswer():
            return {
                "role": "assistant",
                "model": answer.model,
                "content": [{"type": "text", "text": answer.text}],
            }
        case RootsAnswer():
            return {"roots": [{"uri": root.uri} for root in answer.roots]}


Open = Callable[[ClientCapabilities, Answering], Opened]
ADAPTERS: dict[str, Open] = {"memory": _Memory, "handshake": _Wire}


def _answering(key: str, _: InputRequest) -> InputAnswer | None:
    return ANSWERS[key]


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_channel(request: pytest.FixtureRequest) -> Open:
    return ADAPTERS[request.param]


@given(st.builds(ClientCapabilities, sampling=st.booleans(), elicitation=st.booleans(), roots=st.booleans()))
@settings(max_examples=20, deadline=None)
async def test_nothing_is_asked_for_that_the_client_did_not_declare(
    open_channel: Open, can: ClientCapabilities
) -> None:
    opened = open_channel(can, _answering)
    assert opened.channel.capabilities == can
    if can == ALL:
        assert dict(await opened.channel.ask(QUESTIONS)) == ANSWERS
        return
    with pytest.raises(ClientCannot) as refused:
        await opened.channel.ask(QUESTIONS)
    assert set(refused.value.missing) == {
        name for name in ("sampling", "elicitation", "roots") if not getattr(can, name)
    }
    assert opened.asked() == 0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9), max_size=20))
@settings(max_examples=30, deadline=None)
async def test_progress_strictly_increases(open_channel: Open, values: list[float]) -> None:
    opened = open_channel(ALL, _answering)
    for value in values:
        await opened.channel.progress(value, 100, "on it")
    seen = opened.progressed()
    assert all(a < b for a, b in pairwise(seen))
    assert seen[:1] == values[:1]
    assert not values or seen[-1] == max(values)


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
    with pytest.raises(ClientRefused):
        await opened.channel.ask({"form": FORM})


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_may_decline_a_form(open_channel: Open, action: Any) -> None:
    opened = open_channel(ALL, lambda key, _: ElicitationAnswer(action, {}))
    assert await opened.channel.ask({"form": FORM}) == {"form": ElicitationAnswer(action, {})}


async def test_log_messages_never_fail(open_channel: Open) -> None:
    opened = open_channel(ALL, _answering)
    await opened.channel.log("info", {"a": [1]}, "db")
