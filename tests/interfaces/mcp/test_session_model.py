"""Any history of sessions: whoever does what, a session works for its owner until it ends, and for nobody else."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.interfaces.doors import World, new_world
from tests.interfaces.mcp.test_sessions import Client, opened

OWNERS = st.sampled_from(["alpha-admin", "beta-viewer"])


class SessionHistory(RuleBasedStateMachine):
    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world: World = new_world(has_sessions=True)
        self.calls = 0
        self.used: dict[str, float] = {}
        self.now = 0.0

    def teardown(self) -> None:
        self.loop.close()

    def _lives(self, client: Client) -> bool:
        return client.id in self.used and self.now - self.used[client.id] < 1800

    @rule(target=clients, owner=OWNERS)
    def initialise(self, owner: str) -> Client:
        client = self.loop.run_until_complete(opened(self.world, token=owner))
        self.used[client.id] = self.now
        return client

    @rule(client=clients, caller=OWNERS)
    def call(self, client: Client, caller: str) -> None:
        arguments = {"name": "add", "arguments": {"a": 1}}
        answer = self.loop.run_until_complete(client.ask("tools/call", arguments, token=caller))
        is_served = self._lives(client) and caller == client.token
        assert answer.status == (200 if is_served else 404)
        self.calls += is_served
        if self._lives(client):
            self.used[client.id] = self.now

    @rule(client=clients, request_id=st.integers(0, 3))
    def cancel_nothing(self, client: Client, request_id: int) -> None:
        note = {"method": "notifications/cancelled", "params": {"requestId": request_id}}
        answer = self.loop.run_until_complete(client.tell(note))
        assert answer.status == (202 if self._lives(client) else 404)
        if self._lives(client):
            self.used[client.id] = self.now

    @rule(client=consumes(clients))
    def end(self, client: Client) -> None:
        for status in (200 if self._lives(client) else 404, 404):
            assert self.loop.run_until_complete(client.other("DELETE")).status == status
        self.used.pop(client.id, None)

    @rule(seconds=st.sampled_from([1, 900, 1800]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self.now += seconds

    @invariant()
    def every_served_call_is_metered_once(self) -> None:
        assert len(self.world.events) == self.calls


TestSessionHistory = SessionHistory.TestCase
TestSessionHistory.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
