"""Any history of sessions: whoever does what, a session works for its owner until it ends, and for nobody else.
Whatever happens to connections, every message of a stream reaches its client once and in order, and nobody else ever.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from tests.interfaces.doors import Answer, World, new_world
from tests.interfaces.mcp.streams.test_sessions import NAME, Client, frames, opened, until

from stoa.application import Context

OWNERS = st.sampled_from(["alpha-admin", "alpha-viewer", "beta-viewer"])
IDLE_SECONDS = 1800


class Call:
    """A call of the tool `talk`, which does what it is told; its client, and the events that this one has got."""

    def __init__(self, client: Client, number: int) -> None:
        self.client, self.number = client, number
        self.orders: asyncio.Queue[str] = asyncio.Queue()
        self.carried_out = 0
        self.ordered = 0
        self.expected: list[Any] = []
        """What has to be on the stream: texts, `question` and at last `result` or `cancelled`."""
        self.received: list[tuple[str | None, Any]] = []
        self.connection: tuple[Answer, asyncio.Event] | None = None
        self.tasks: list[asyncio.Task[Answer]] = []
        self.is_asking = False

    @property
    def is_over(self) -> bool:
        return self.expected[-1:] in (["result"], ["cancelled"])

    def collect(self) -> list[Any]:
        """What the client has got: on connections that it lost, and on the present one."""
        got = [*self.received, *(frames(self.connection[0]) if self.connection is not None else [])]
        return [_short(message) for _, message in got if message is not None]

    def lose_connection(self) -> None:
        """From here on nothing of what is written there arrives."""
        if self.connection is not None:
            answer, gone = self.connection
            self.received += frames(answer)
            gone.set()
            self.connection = None

    def question(self) -> str | None:
        got = [*self.received, *(frames(self.connection[0]) if self.connection is not None else [])]
        ids = [m["id"] for _, m in got if m is not None and m.get("method") == "elicitation/create"]
        return ids[-1] if ids and self.is_asking else None


def _short(message: Any) -> Any:
    match message:
        case {"method": "notifications/message", "params": {"data": data}}:
            return data
        case {"method": "elicitation/create", "params": {"message": asked}}:
            return asked
        case {"method": "notifications/cancelled"}:
            return "question withdrawn"
        case {"error": {"code": -32800}}:
            return "cancelled"
        case {"result": {"content": [{"text": text}]}} if "isError" not in message["result"]:
            return text
    return message


class SessionHistory(RuleBasedStateMachine):
    clients = Bundle("clients")
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world: World = new_world(has_sessions=True)
        self.metered = 0
        self.used: dict[str, float] = {}
        self.now = 0.0
        self.talking: dict[int, Call] = {}
        self.world.gateway.tool(self._talk, name="talk")

    async def _talk(self, context: Context, number: int) -> str:
        call = self.talking[number]
        while (order := await call.orders.get()) != "finish":
            if order == "ask":
                answer = await context.elicit(f"question of {number}", NAME)
                await context.log("error", f"answer to {number}: {answer.content['name']}")
            elif order == "hang up":
                await context.hang_up()
            else:
                await context.log("error", order)
            call.carried_out += 1
        return "result"

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        answer = self.loop.run_until_complete(work)
        assert answer.status < 500
        return answer

    def wait_until(self, holds: Callable[[], bool]) -> None:
        self.loop.run_until_complete(until(holds))

    def teardown(self) -> None:
        for call in self.talking.values():
            for task in call.tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*call.tasks, return_exceptions=True))
        self.loop.close()

    def _lives(self, client: Client) -> bool:
        return client.id in self.used and self.now - self.used[client.id] < IDLE_SECONDS

    def _touch(self, client: Client) -> bool:
        """The session was looked up; was it there?"""
        lives = self._lives(client)
        if lives:
            self.used[client.id] = self.now
        return lives

    # --- sessions

    @initialize(target=clients)
    def three_clients(self) -> Any:
        """Two of one caller, one of another: there is always somebody who might get what is not theirs."""
        return multiple(*(self.initialise(owner) for owner in ("alpha-admin", "alpha-admin", "beta-viewer")))

    @rule(target=clients, owner=OWNERS)
    def initialise(self, owner: str) -> Any:
        if len(self.used) >= 40:
            return multiple()
        client = self.loop.run_until_complete(opened(self.world, token=owner))
        self.used[client.id] = self.now
        return client

    @rule(client=clients, caller=OWNERS)
    def call(self, client: Client, caller: str) -> None:
        arguments = {"name": "add", "arguments": {"a": 1}}
        answer = self.run(client.ask("tools/call", arguments, token=caller))
        is_served = self._touch(client) and caller == client.token
        assert answer.status == (200 if is_served else 404)
        self.metered += is_served

    @rule(client=clients, caller=OWNERS, request_id=st.integers(0, 3))
    def cancel_nothing(self, client: Client, caller: str, request_id: int) -> None:
        note = {"method": "notifications/cancelled", "params": {"requestId": request_id}}
        answer = self.run(client.tell(note, token=caller))
        assert answer.status == (202 if self._touch(client) and caller == client.token else 404)

    @rule(client=clients, caller=OWNERS)
    def end_by_somebody_else(self, client: Client, caller: str) -> None:
        if caller != client.token:
            assert self.run(client.other("DELETE", token=caller)).status == 404
            self._touch(client)

    @rule(client=consumes(clients))
    def end(self, client: Client) -> None:
        for status in (200 if self._lives(client) else 404, 404):
            assert self.run(client.other("DELETE")).status == status
        self.used.pop(client.id, None)
        for call in self.talking.values():
            if call.client is client and len(call.tasks) > 1:
                call.lose_connection()  # a stream of the session's ends with it; a request that is running goes on

    @rule(seconds=st.sampled_from([1, 900, IDLE_SECONDS]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self.now += seconds

    # --- streams

    @rule(target=calls, client=clients)
    def begin_to_talk(self, client: Client) -> Any:
        if not self._touch(client):
            return multiple()
        call = Call(client, len(self.talking))
        self.talking[call.number] = call
        answer, gone = Answer(), asyncio.Event()
        params = {"name": "talk", "arguments": {"number": call.number}}
        asking = client.ask("tools/call", params, request_id=f"talk-{call.number}", into=answer, gone=gone)
        call.tasks.append(self.loop.create_task(asking))
        call.connection = (answer, gone)
        self.say(call)
        assert frames(answer)[0][1] is None, "first of all an event to come back to"
        return call

    def _order(self, call: Call, order: str) -> bool:
        if call.is_over or call.is_asking:
            return False
        call.orders.put_nowait(order)
        call.ordered += 1
        return True

    def _settle(self, call: Call) -> None:
        """Wait until the tool did what it was told, and who is connected has got it."""
        if not (call.is_asking or call.is_over):
            self.wait_until(lambda: call.carried_out == call.ordered)
        if call.is_over:
            self.wait_until(call.tasks[0].done)
        if call.connection is not None:
            self.wait_until(lambda: len(call.collect()) >= len(call.expected))
        assert call.collect() == call.expected[: len(call.collect())]

    @rule(call=calls)
    def say(self, call: Call) -> None:
        text = f"{call.number}: text {len(call.expected)}"
        if self._order(call, text):
            call.expected.append(text)
            self._settle(call)

    @rule(call=calls)
    def lose_connection(self, call: Call) -> None:
        call.lose_connection()

    @rule(call=calls)
    def hang_up(self, call: Call) -> None:
        """The server lets go of the connection that the request came on, if the client still holds it."""
        is_first = call.connection is not None and len(call.tasks) == 1
        if self._order(call, "hang up"):
            self._settle(call)
            if is_first and call.connection is not None:
                answer = call.connection[0]
                self.wait_until(lambda: answer.chunks[-1:] == [b""])
                call.lose_connection()

    @rule(call=calls)
    def come_back(self, call: Call) -> None:
        """With or without having lost the connection: the client goes on where it was."""
        call.lose_connection()
        last = [event_id for event_id, _ in call.received if event_id is not None][-1]
        answer, gone = Answer(), asyncio.Event()
        following = call.client.other("GET", headers={"last-event-id": last}, into=answer, gone=gone)
        call.tasks.append(self.loop.create_task(following))
        self.wait_until(lambda: answer.status != 0)
        if not self._touch(call.client):
            assert answer.status == 404
            return
        assert answer.status == 200
        call.connection = (answer, gone)
        self._settle(call)
        if call.is_over:
            self.wait_until(call.tasks[-1].done)
            assert call.collect() == call.expected

    @rule(call=calls, client=clients)
    def come_back_by_somebody_else(self, call: Call, client: Client) -> None:
        """Another session, perhaps of the same caller, names the event of this stream."""
        if client is call.client:
            return
        got = [*call.received, *(frames(call.connection[0]) if call.connection is not None else [])]
        answer, gone = Answer(), asyncio.Event()
        headers = {"last-event-id": str(got[0][0])}
        following = self.loop.create_task(client.other("GET", headers=headers, into=answer, gone=gone))
        self.wait_until(lambda: answer.status != 0 and bool(answer.chunks))
        gone.set()
        self.loop.run_until_complete(following)
        assert answer.status == (200 if self._touch(client) else 404)
        assert [message for _, message in frames(answer) if message is not None] == [] or answer.status == 404

    @rule(call=calls, others=st.lists(clients, min_size=3, max_size=3))
    def ask(self, call: Call, others: list[Client]) -> None:
        if self._order(call, "ask"):
            call.is_asking = True
            call.expected.append(f"question of {call.number}")
            self._settle(call)
            for other in others:
                self.answer_wrongly(call, other, other.token)

    def _answer(self, call: Call, question: str, by: Client, token: str) -> int:
        filled_in = {"action": "accept", "content": {"name": f"{by.token} in {call.number}"}}
        return self.run(by.tell({"id": question, "result": filled_in}, token=token)).status

    @rule(call=calls, client=clients, caller=OWNERS)
    def answer_wrongly(self, call: Call, client: Client, caller: str) -> None:
        question = call.question()
        if question is None or (client is call.client and caller == client.token):
            return
        status = self._answer(call, question, client, caller)
        assert status == (202 if self._touch(client) and caller == client.token else 404)
        self._settle(call)
        assert call.is_asking

    @rule(call=calls)
    def answer(self, call: Call) -> None:
        question = call.question()
        if question is None:
            return
        status = self._answer(call, question, call.client, call.client.token)
        if not self._touch(call.client):
            assert status == 404
            return
        assert status == 202
        call.is_asking = False
        call.expected.append(f"answer to {call.number}: {call.client.token} in {call.number}")
        self._settle(call)

    @rule(call=calls, client=clients)
    def cancel(self, call: Call, client: Client) -> None:
        """By its own session; the same request id means nothing in another."""
        note = {"method": "notifications/cancelled", "params": {"requestId": f"talk-{call.number}"}}
        answer = self.run(client.tell(note))
        lives = self._touch(client)
        assert answer.status == (202 if lives else 404)
        if client is call.client and lives and not call.is_over:
            if call.is_asking:
                call.expected.append("question withdrawn")
            call.is_asking = False
            call.expected.append("cancelled")
            self.metered += 1
        self._settle(call)

    @rule(call=calls)
    def finish(self, call: Call) -> None:
        if self._order(call, "finish"):
            call.expected.append("result")
            self.metered += 1
            self._settle(call)

    @invariant()
    def every_served_call_is_metered_once(self) -> None:
        calls = [event for event in self.world.events if not event.tool.startswith("elicitation:")]
        assert len(calls) == self.metered

    @invariant()
    def nobody_has_got_anything_twice_or_of_somebody_else(self) -> None:
        for call in self.talking.values():
            got = call.collect()
            assert got == call.expected[: len(got)]


TestSessionHistory = SessionHistory.TestCase
TestSessionHistory.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
