"""The states of a response of Streamable HTTP: which may follow which, and what a client gets of each."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.memory.event_store import InMemoryEventStore
from stoa.domain.calls.session import Session
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.interfaces.mcp.exchange import Reply
from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.interfaces.mcp.transports.server_sent_events import stream_events
from stoa.interfaces.mcp.transports.streamable_response import Attendance, ResponseState, StreamableResponse

PENDING, STREAMING, DETACHED, DONE, GONE = ResponseState
FOLLOWING = {
    PENDING: {PENDING, STREAMING, DETACHED, GONE},  # hanging up begins a stream and ends it
    STREAMING: {STREAMING, DETACHED, GONE},
    DETACHED: {DETACHED},
}
"""The states that may be seen one after the other while the answer is being made."""

ACTIONS = st.lists(st.sampled_from(["notify", "ping", "hang_up", "both"]), max_size=6)
REVISIONS = st.sampled_from(["stateless", "2025-06-18", "2025-11-25"])


class Connection:
    """An ASGI connection that notes what is sent on it, and checks that it is one response."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = b""
        self.is_complete = False
        self.gone = asyncio.Event()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(0)
        assert not self.is_complete, "something was sent after the end"
        if message["type"] == "http.response.start":
            assert self.status is None, "the response began twice"
            self.status = message["status"]
        else:
            assert self.status is not None, "a body without a head"
            self.body += message["body"]
            self.is_complete = not message.get("more_body", False)

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def messages(self) -> list[bytes]:
        lines = self.body.splitlines()
        return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ") and line != b"data: "]


class Recorded(InMemoryEventStore):
    """An event store that notes the messages that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    async def append(self, session_id: str, stream: str, message: bytes, **rest: Any) -> int:
        self.messages.append(message)
        return await super().append(session_id, stream, message, **rest)


class Exchanged:
    """One response, driven through `actions` by the work that makes its answer."""

    def __init__(self, *, revision: str, takes_json: bool, is_gone: bool = False) -> None:
        self.connection, self.store = Connection(), Recorded()
        self.response = StreamableResponse(
            self.connection.send,
            self.connection.receive if revision == "stateless" else None,
            60.0,
            takes_json=takes_json,
            attendance=Attendance(0.0),
        )
        if revision != "stateless":
            session = Session("s", "ann", revision, ClientCapabilities())
            self.response.record(EventRecording(Streams(self.store), session))
        self.is_gone = is_gone
        self.told: list[bytes] = []
        self.states = [self.response.state]

    async def _notify(self) -> None:
        message = b"message %d" % len(self.told)
        self.told.append(message)
        await self.response.notify(message)

    async def answer(self, actions: list[str]) -> Reply:
        for action in actions:
            if action == "notify":
                await self._notify()
            elif action == "ping":
                await self.response.ping()
            elif action == "hang_up":
                await self.response.hang_up()
            else:
                await asyncio.gather(self._notify(), self.response.ping(), self._notify())
            self.states.append(self.response.state)
        if self.is_gone:
            await asyncio.sleep(0.001)  # the watch for a client that goes away has begun
            self.connection.gone.set()
            await asyncio.Event().wait()
        return Reply(200, b"answer")


@given(ACTIONS, REVISIONS, st.booleans())
def test_response_states_follow_each_other_and_lose_no_message(
    actions: list[str], revision: str, takes_json: bool
) -> None:
    async def run() -> None:
        exchanged = Exchanged(revision=revision, takes_json=takes_json)
        await exchanged.response.deliver(exchanged.answer(actions))
        before, connection = exchanged.states[-1], exchanged.connection
        for earlier, later in zip(exchanged.states, exchanged.states[1:], strict=False):
            assert later in FOLLOWING[earlier]
        assert exchanged.response.state is DONE
        assert (connection.status, connection.is_complete) == (200, True)
        everything = [*exchanged.told, b"answer"]
        if before is PENDING and takes_json:
            assert connection.body == b"answer"
        elif before is DETACHED:
            assert connection.messages() == everything[: len(connection.messages())]
            assert exchanged.store.messages == everything, "the client finds what it was not sent"
        else:
            assert connection.messages() == everything
        if revision != "stateless" and before is not PENDING:
            assert exchanged.store.messages == everything
        if revision == "2025-11-25" and before is not PENDING:
            assert connection.body.startswith(b"id: "), "there is an id to come back to before the first message"

    asyncio.run(run())


@pytest.mark.parametrize("actions", [[], ["ping"], ["notify", "ping"]])
async def test_response_to_a_client_that_is_gone_sends_nothing_more(actions: list[str]) -> None:
    exchanged = Exchanged(revision="stateless", takes_json=True, is_gone=True)
    assert await exchanged.response.deliver(exchanged.answer(actions)) is None
    sent = exchanged.connection.body
    assert exchanged.response.state is GONE
    await exchanged.response.notify(b"late")
    await exchanged.response.ping()
    assert (exchanged.connection.body, exchanged.connection.is_complete) == (sent, False)


async def test_response_to_a_client_that_goes_away_while_a_ping_begins_the_stream_is_gone() -> None:
    class Slow(Connection):
        def __init__(self) -> None:
            super().__init__()
            self.is_starting, self.may_start = asyncio.Event(), asyncio.Event()

        async def send(self, message: MutableMapping[str, Any]) -> None:
            self.is_starting.set()
            await self.may_start.wait()
            await super().send(message)

    connection = Slow()
    response = StreamableResponse(connection.send, connection.receive, 0.0, takes_json=True, attendance=Attendance(0.0))

    async def answer() -> Reply:
        await connection.is_starting.wait()
        connection.gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            connection.may_start.set()
            for _ in range(5):  # the head goes out while the call that is cancelled still tidies up
                await asyncio.sleep(0)
        raise AssertionError("it was cancelled")

    assert await response.deliver(answer()) is None
    assert response.state is GONE


async def test_response_that_is_done_drops_messages() -> None:
    exchanged = Exchanged(revision="2025-11-25", takes_json=True)
    await exchanged.response.deliver(exchanged.answer(["notify"]))
    sent, stored = exchanged.connection.body, list(exchanged.store.messages)
    await exchanged.response.notify(b"late")
    await exchanged.response.hang_up()
    assert (exchanged.connection.body, exchanged.store.messages) == (sent, stored)


async def test_response_of_events_goes_on_with_a_stream_that_pings_began() -> None:
    connection, queue = Connection(), EventQueue()
    response = StreamableResponse(connection.send, None, 60.0, takes_json=True, attendance=Attendance())

    async def answer() -> Reply:
        await response.ping()
        queue.push(Event(b"first"))
        queue.end()
        return Reply(200, events=queue)

    events = await response.deliver(answer())
    assert events is queue
    await stream_events(
        events, 60.0, connection.receive, connection.send, is_started=response.state is ResponseState.STREAMING
    )
    assert (connection.messages(), connection.is_complete) == ([b"first"], True)
