"""Any history of tasks on two replicas: what each of them is told agrees with a model that has one list of tasks."""

import asyncio
import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from tests.interfaces.mcp.methods.test_tasks import YES, Client, Gate, replica

from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.testing.clock import ManualClock

REPLICAS = st.integers(0, 1)
TOKENS = ["alpha-admin", "beta-viewer"]
TTL = 3600


class TaskHistory(RuleBasedStateMachine):
    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._open())
        self.model: dict[str, dict[str, Any]] = {}
        self.ends: dict[str, str] = {}
        self.runs = 0
        self.now = 0.0

    async def _open(self) -> None:
        clock = ManualClock()
        store, gate = InMemoryTaskStore(clock), Gate()
        gate.opened.set()
        self.worlds = [replica(store, clock, gate) for _ in range(2)]
        self.clock = clock

    def teardown(self) -> None:
        for world in self.worlds:
            self.loop.run_until_complete(world.engine.close())
        self.loop.close()

    def _client(self, replica_number: int, token: str) -> Client:
        return Client(self.worlds[replica_number], token)

    def _lives(self, task_id: str) -> bool:
        return self.now - self.model[task_id]["begun"] < TTL

    def _settled(self, client: Client, task_id: str) -> str:
        async def settle() -> str:
            task = await client.until(task_id, "completed", "failed", "cancelled", "input_required")
            return str(task["status"])

        return self.loop.run_until_complete(settle())

    @rule(
        target=tasks, where=REPLICAS, token=st.sampled_from(TOKENS), tool=st.sampled_from(["wait", "asks_two", "wrong"])
    )
    def begin(self, where: int, token: str, tool: str) -> str:
        client = self._client(where, token)
        task_id = self.loop.run_until_complete(client.begin(tool))
        status = {"wait": "completed", "asks_two": "input_required", "wrong": "failed"}[tool]
        questions = {"first", "second"} if tool == "asks_two" else set()
        self.model[task_id] = {"token": token, "status": status, "open": questions, "begun": self.now}
        self.runs += 1
        assert self._settled(client, task_id) == status
        return task_id

    @rule(task_id=tasks, where=REPLICAS, token=st.sampled_from(TOKENS))
    def get(self, task_id: str, where: int, token: str) -> None:
        answer = self.loop.run_until_complete(self._client(where, token).send("tasks/get", {"taskId": task_id}))
        task = self.model[task_id]
        if token != task["token"] or not self._lives(task_id):
            assert (answer.status, answer.json()["error"]["message"]) == (400, "Unknown or expired task")
            return
        told = answer.json()["result"]
        assert (told["status"], set(told.get("inputRequests", ()))) == (task["status"], task["open"])
        if told["status"] in {"completed", "failed", "cancelled"}:
            state = json.dumps({name: value for name, value in told.items() if name != "_meta"})
            assert self.ends.setdefault(task_id, state) == state, "a terminal task changed"

    @rule(task_id=tasks, where=REPLICAS, token=st.sampled_from(TOKENS))
    def cancel(self, task_id: str, where: int, token: str) -> None:
        answer = self.loop.run_until_complete(self._client(where, token).cancel(task_id))
        task = self.model[task_id]
        is_known = token == task["token"] and self._lives(task_id)
        assert answer.status == (200 if is_known else 400)
        if is_known and task["status"] == "input_required":
            task.update(status="cancelled", open=set())

    @rule(
        task_id=tasks,
        where=REPLICAS,
        token=st.sampled_from(TOKENS),
        keys=st.sets(st.sampled_from(["first", "second", "third", "x"])),
    )
    def answer(self, task_id: str, where: int, token: str, keys: set[str]) -> None:
        client, task = self._client(where, token), self.model[task_id]
        answer = self.loop.run_until_complete(client.update(task_id, **dict.fromkeys(keys, YES)))
        if token != task["token"] or not self._lives(task_id):
            assert answer.status == 400
            return
        assert answer.status == 200
        if task["status"] != "input_required" or not keys & task["open"]:
            return
        was_third = task["open"] == {"third"}
        task["open"] -= keys
        if not task["open"]:
            self.runs += 1
            task["status"], task["open"] = ("completed", set()) if was_third else ("input_required", {"third"})
            assert self._settled(client, task_id) == task["status"]

    @rule(seconds=st.sampled_from([1, 100, 3600]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.now += seconds

    @invariant()
    def every_run_is_metered_once(self) -> None:
        events = [event.tool for world in self.worlds for event in world.events]
        assert len([tool for tool in events if not tool.startswith("elicitation:")]) == self.runs


TestTaskHistory = TaskHistory.TestCase
TestTaskHistory.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
