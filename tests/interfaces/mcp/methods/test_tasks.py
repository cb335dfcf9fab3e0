"""The tasks extension on the wire: what begins a task, what is told of it and to whom, and who may answer or end it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.doors import PRINCIPALS, SECRET, Answer, World, add_tools, envelope
from tests.services import connections

from stoa.application import Context, Gateway, ToolResult
from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.ports import TaskStore
from stoa.application.tasks.caps import TaskCaps
from stoa.domain.access.fair_share import Caps
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.task import Task
from stoa.domain.client_requests.client_request import ElicitationRequest
from stoa.domain.errors import InvalidInput, TasksUnavailable
from stoa.infrastructure.redis import RedisTaskStore
from stoa.infrastructure.sqlite import SqliteTaskStore
from stoa.testing.clock import ManualClock

EXTENSION = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
ALL = {"elicitation": {}, "sampling": {}, "roots": {}, "extensions": {EXTENSION: {}}}
ID_UNKNOWN = "x" * 43
YES = {"action": "accept", "content": {"ok": True}}


def form(**fields: str) -> dict[str, Any]:
    return {"type": "object", "properties": {n: {"type": t} for n, t in fields.items()}, "required": list(fields)}


class Gate:
    """Where a tool waits until a test opens it."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        self.reached.set()
        await self.opened.wait()


def add_task_tools(gateway: Gateway, gate: Gate) -> None:
    @gateway.tool(tasks="optional")
    async def wait(context: Context, label: str = "done") -> str:
        await context.progress(1, 4)
        await context.log("debug", "unsaid")
        await gate()
        return label

    @gateway.tool(tasks="required")
    async def only() -> ToolResult:
        return ToolResult.error("no")

    @gateway.tool(tasks="optional")
    async def wrong() -> str:
        raise InvalidInput("This cannot be done")

    @gateway.tool(tasks="optional")
    async def breaks() -> str:
        raise RuntimeError(SECRET)

    @gateway.tool(tasks="optional")
    async def asks_two(context: Context) -> str:
        gate.runs += 1
        await context.ask({key: ElicitationRequest("Sure?", form(ok="boolean")) for key in ("first", "second")})
        third = await context.elicit("And now?", form(ok="boolean"), key="third")
        return f"third: {third.content['ok']}"

    @gateway.tool(tasks="optional")
    async def asks_model(context: Context) -> str:
        return (await context.sample("Hello", max_tokens=5, key="said")).text

    @gateway.tool(tasks="explicit")
    async def asks_first(context: Context) -> str:
        name = await context.elicit("Who?", form(name="string"), key="who")
        is_task = await context.continue_as_task()
        assert await context.continue_as_task() is is_task
        await gate()
        sure = await context.elicit("Sure?", form(ok="boolean"), key="sure") if is_task else None
        return f"{name.content['name']}, {None if sure is None else sure.content['ok']}"

    @gateway.tool(tasks="optional", tenant="beta", name="of_beta")
    async def of_beta() -> str:
        return "beta"


class Client:
    """A client of one replica."""

    def __init__(self, world: World, token: str = "alpha-admin", can: Mapping[str, Any] = ALL) -> None:
        self.world, self.token, self.can = world, token, can

    async def send(self, method: str, params: Mapping[str, Any], **rest: Any) -> Answer:
        sent = {**params, "_meta": {**envelope(), CAPABILITIES: dict(self.can)}}
        return await self.world.modern(method, sent, token=self.token, **rest)

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None, **params: Any) -> Answer:
        return await self.send("tools/call", {"name": name, "arguments": dict(arguments or {}), **params})

    async def begin(self, name: str, arguments: Mapping[str, Any] | None = None, **params: Any) -> str:
        created = (await self.call(name, arguments, **params)).json()["result"]
        assert created["resultType"] == "task"
        task_id: str = created["taskId"]
        return task_id

    async def get(self, task_id: str) -> Any:
        answer = await self.send("tasks/get", {"taskId": task_id})
        assert answer.status == 200, answer.body
        return answer.json()["result"]

    async def update(self, task_id: str, **responses: Any) -> Answer:
        return await self.send("tasks/update", {"taskId": task_id, "inputResponses": responses})

    async def cancel(self, task_id: str) -> Answer:
        return await self.send("tasks/cancel", {"taskId": task_id})

    async def until(self, task_id: str, *statuses: str) -> Any:
        async with asyncio.timeout(20):
            while (task := await self.get(task_id))["status"] not in statuses:
                await asyncio.sleep(0)
        return task


def replica(store: TaskStore, clock: ManualClock, gate: Gate, **options: Any) -> World:
    world = World(tasks=store, clock=clock, **options)
    add_tools(world.gateway)
    add_task_tools(world.gateway, gate)
    return world


@asynccontextmanager
async def replicas(store: TaskStore, clock: ManualClock | None = None) -> AsyncGenerator[tuple[Client, Client, Gate]]:
    """A client of each of two processes with one store."""
    gate, clock = Gate(), clock or ManualClock()
    worlds = [replica(store, clock, gate) for _ in range(2)]
    try:
        yield Client(worlds[0]), Client(worlds[1]), gate
    finally:
        for world in worlds:
            await world.engine.close()
        await store.close()


@pytest.fixture(params=["memory", "file", "redis"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[tuple[Client, Client, Gate]]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        store: TaskStore
        match request.param:
            case "memory":
                store = InMemoryTaskStore(clock)
            case "file":
                store = SqliteTaskStore(tmp_path / "tasks.db", clock)
            case _:
                url = request.getfixturevalue("in_process_redis")
                (redis,) = await stack.enter_async_context(connections(url))
                store = RedisTaskStore(redis, clock)
        yield await stack.enter_async_context(replicas(store, clock))


@pytest.fixture
async def client() -> AsyncGenerator[tuple[Client, Gate]]:
    clock = ManualClock()
    async with replicas(InMemoryTaskStore(clock), clock) as (here, _, gate):
        yield here, gate


Pair = tuple[Client, Client, Gate]
One = tuple[Client, Gate]


def statuses(*clients: Client) -> list[tuple[str, str]]:
    events = [(event.tool, event.status.value) for client in clients for event in client.world.events]
    return [(tool, status) for tool, status in events if not tool.startswith("elicitation:")]


async def test_a_call_becomes_a_task_that_any_replica_knows(pair: Pair) -> None:
    here, there, gate = pair
    answer = await here.call("wait", {"label": "built"})
    created = answer.json()["result"]
    assert answer.header("content-type") == "application/json"
    assert created.keys() - {"statusMessage"} == {
        *("resultType", "taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs", "_meta")
    }
    assert (created["status"], created["createdAt"]) == ("working", "2026-01-01T00:00:00.000Z")
    assert (created["ttlMs"], created["pollIntervalMs"]) == (3_600_000, 2000)
    known = await there.get(created["taskId"])
    assert (known["resultType"], known["status"]) == ("complete", "working")
    assert not {"result", "error", "inputRequests", "requestState"} & known.keys()
    gate.opened.set()
    ended = await there.until(created["taskId"], "completed")
    assert ended["result"]["content"] == [{"type": "text", "text": "built"}]
    assert statuses(here, there) == [("wait", "success")], "metered once, by the one that ran it"


async def test_progress_becomes_the_status_message_and_nothing_else(client: One) -> None:
    here, _ = client
    meta = {**envelope(), CAPABILITIES: ALL, "progressToken": 1, "io.modelcontextprotocol/logLevel": "debug"}
    answer = await here.world.modern("tools/call", {"name": "wait", "arguments": {}, "_meta": meta})
    task_id = answer.json()["result"]["taskId"]  # JSON: nothing came before it
    async with asyncio.timeout(20):
        while (task := await here.get(task_id)).get("statusMessage") is None:
            await asyncio.sleep(0)
    assert task["statusMessage"] == "1 of 4"


async def test_each_kind_of_end_is_told_apart(client: One) -> None:
    here, _ = client
    refused = await here.until(await here.begin("only"), "completed", "failed")
    assert (refused["status"], refused["result"]["isError"]) == ("completed", True)
    failed = await here.until(await here.begin("wrong"), "completed", "failed")
    assert (failed["status"], failed["error"]["code"], failed["error"]["message"]) == (
        *("failed", -32602),
        "This cannot be done",
    )
    broken = await here.until(await here.begin("breaks"), "completed", "failed")
    assert (broken["status"], broken["error"]["code"]) == ("failed", -32603)
    assert SECRET not in json.dumps(broken)
    assert not {"result", "inputRequests"} & (failed.keys() | broken.keys())
    assert statuses(here) == [("only", "error"), ("wrong", "error"), ("breaks", "error")]


async def test_what_is_refused_is_answered_at_once_and_leaves_no_task() -> None:
    class NoTasks(InMemoryTaskStore):
        async def create(self, task: Task) -> None:
            raise AssertionError("a refused call began a task")

    clock = ManualClock()
    async with replicas(NoTasks(clock), clock) as (here, _, _gate):
        unknown = await here.call("of_beta")
        assert (unknown.status, unknown.json()["error"]["code"]) == (400, -32602)
        invalid = await here.call("wait", {"label": 5})
        assert invalid.json()["result"]["isError"] is True
        assert (await Client(here.world, "nobody").call("wait")).status == 401
        await here.world.gateway.flush_refusals()
        assert statuses(here) == [("(unknown)", "invalid"), ("wait", "invalid"), ("(unknown)", "unauthorized")]


async def test_a_store_that_cannot_keep_a_task_refuses_the_call_before_the_tool_runs() -> None:
    class Broken(InMemoryTaskStore):
        async def create(self, task: Task) -> None:
            raise TasksUnavailable("Tasks cannot be kept at the moment")

    clock = ManualClock()
    async with replicas(Broken(clock), clock) as (here, _, gate):
        answer = await here.call("wait")
        assert answer.json()["error"]["code"] == 5030
        assert gate.runs == 0
        [event] = here.world.events
        assert (event.status.value, event.cost_units) == ("error", 0)


async def test_an_owner_with_too_many_tasks_is_told_when_to_come_back() -> None:
    clock = ManualClock()
    async with replicas(InMemoryTaskStore(clock, caps=TaskCaps(number=Caps(1, 10, 10))), clock) as (here, _, gate):
        await here.begin("wait")
        full = await here.call("wait")
        assert (full.status, full.header("retry-after")) == (429, "3600")
        assert (await Client(here.world, "beta-viewer").begin("wait")) is not None
        assert [event.status.value for event in here.world.events] == ["rate_limited"]
        gate.opened.set()


async def test_a_client_without_the_extension_waits_or_is_told_what_it_lacks(client: One) -> None:
    here, gate = client
    plain = Client(here.world, can={"elicitation": {}})
    gate.opened.set()
    waited = (await plain.call("wait")).json()["result"]
    assert (waited["resultType"], waited["content"][0]["text"]) == ("complete", "done")
    lacking = await plain.call("only")
    assert lacking.status == 400
    assert lacking.json()["error"]["code"] == -32021
    assert lacking.json()["error"]["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}
    task_id = await here.begin("wait")
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        answer = await plain.send(method, {"taskId": task_id, "inputResponses": {}})
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32021)
    assert (await here.until(task_id, "completed"))["status"] == "completed"


@pytest.mark.parametrize("version", ["2025-03-26", "2025-11-25"])
async def test_other_eras_and_doors_run_such_tools_while_the_caller_waits(client: One, version: str) -> None:
    here, gate = client
    gate.opened.set()
    for name in ("wait", "only"):
        params = {"name": name, "arguments": {}, "task": {"ttl": 5}}
        answer = (await here.world.legacy("tools/call", params, version=version)).json()["result"]
        assert "content" in answer
    assert (await here.world.rest("POST", "/tools/wait/invoke", {"arguments": {}})).status == 200
    unknown = await here.world.legacy("tasks/get", {"taskId": "x"}, version=version)
    assert unknown.json()["error"]["code"] == -32601


async def test_nobody_else_learns_that_a_task_exists(pair: Pair) -> None:
    here, there, gate = pair
    task_id = await here.begin("wait")
    answers = []
    for token, asked in (("alpha-viewer", task_id), ("admin", task_id), ("alpha-admin", ID_UNKNOWN)):
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            answer = await Client(there.world, token).send(method, {"taskId": asked, "inputResponses": {}})
            answers.append((answer.status, answer.json()["error"]))
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0][0], answers[0][1]["code"]) == (400, -32602)
    gate.opened.set()
    await here.until(task_id, "completed")


async def test_a_platform_admin_sees_a_task_in_the_tenant_it_was_begun_for_only(client: One) -> None:
    here, _ = client
    admin = Client(here.world, "admin")
    begun = await admin.send("tools/call", {"name": "of_beta", "arguments": {}}, query="?tenant_id=beta")
    params = {"taskId": begun.json()["result"]["taskId"]}
    for query, status in (("?tenant_id=beta", 200), ("", 400), ("?tenant_id=alpha", 400)):
        assert (await admin.send("tasks/get", params, query=query)).status == status


async def test_a_task_is_gone_when_its_time_is_up(client: One) -> None:
    here, gate = client
    gate.opened.set()
    task_id = await here.begin("wait")
    await here.until(task_id, "completed")
    here.world.clock.advance(3600)
    assert (await here.send("tasks/get", {"taskId": task_id})).json()["error"]["code"] == -32602


async def test_a_cancelled_task_ends_its_call_wherever_it_runs(pair: Pair) -> None:
    here, there, gate = pair
    for client in (here, there):
        task_id = await here.begin("wait")
        await gate.reached.wait()
        gate.reached.clear()
        ack = (await client.cancel(task_id)).json()["result"]
        assert ack.keys() == {"resultType", "_meta"}
        assert (await here.get(task_id))["status"] == "cancelled"
        here.world.clock.advance(25)  # the lease is due, and its runner finds out
        async with asyncio.timeout(20):
            while not here.world.events:
                await asyncio.sleep(0.001)
        assert statuses(here) == [("wait", "cancelled")]
        here.world.forget()
        assert (await client.cancel(task_id)).json()["result"] == ack
        assert (await there.get(task_id))["status"] == "cancelled"


async def test_task_waits_for_answers_which_run_it_again_where_they_arrive(pair: Pair) -> None:
    here, there, gate = pair
    task_id = await here.begin("asks_two")
    waiting = await there.until(task_id, "input_required")
    assert waiting["inputRequests"].keys() == {"first", "second"}
    assert waiting["inputRequests"]["first"]["method"] == "elicitation/create"
    ack = await there.update(task_id, first=YES, unknown=YES)
    assert ack.json()["result"].keys() == {"resultType", "_meta"}
    still = await here.get(task_id)
    assert (still["status"], list(still["inputRequests"])) == ("input_required", ["second"])
    for wrong in ({"action": "accept", "content": {"ok": "perhaps"}}, None, [], {"action": "accept"}):
        assert (await here.update(task_id, second=wrong, first=YES)).status == 200
        assert list((await here.get(task_id))["inputRequests"]) == ["second"]
    assert gate.runs == 1
    await there.update(task_id, second=YES)
    third = await here.until(task_id, "input_required", "completed", "failed")
    assert list(third["inputRequests"]) == ["third"]
    await here.update(task_id, third={"action": "accept", "content": {"ok": False}})
    ended = await there.until(task_id, "completed", "failed")
    assert ended["result"]["content"][0]["text"] == "third: False"
    assert gate.runs == 3
    assert statuses(here) == [("asks_two", "input_required"), ("asks_two", "success")]
    assert statuses(there) == [("asks_two", "input_required")]


async def test_answers_that_arrive_at_once_on_two_replicas_run_the_task_once(pair: Pair) -> None:
    here, there, gate = pair
    task_id = await here.begin("asks_two")
    await here.until(task_id, "input_required")
    updates = [client.update(task_id, **{key: YES}) for client in (here, there) for key in ("first", "second")]
    assert {answer.status for answer in await asyncio.gather(*updates)} == {200}
    waiting = await here.until(task_id, "input_required", "failed")
    assert list(waiting["inputRequests"]) == ["third"]
    assert gate.runs == 2


async def test_who_may_no_longer_call_the_tool_cannot_go_on_with_its_task(client: One) -> None:
    here, gate = client
    task_id = await here.begin("asks_two")
    await here.until(task_id, "input_required")
    await here.update(task_id, first=YES)
    before = here.world.gateway.registry.catalogue.operations.values()
    here.world.gateway.registry.replace([one for one in before if one.identifier != "asks_two"])
    refused = await here.update(task_id, second=YES)
    assert (refused.status, refused.json()["error"]["code"]) == (400, -32602)
    waiting = await here.get(task_id)
    assert (waiting["status"], list(waiting["inputRequests"])) == ("input_required", ["second"]), "it waits as before"
    assert gate.runs == 1
    assert statuses(here) == [("asks_two", "input_required"), ("(unknown)", "invalid")]


async def test_task_fails_for_a_client_request_without_the_capability(client: One) -> None:
    here, _ = client
    limited = Client(here.world, can={"elicitation": {}, "extensions": {EXTENSION: {}}})
    failed = await limited.until(await limited.begin("asks_model"), "failed", "input_required")
    assert (failed["error"]["code"], failed["error"]["data"]["requiredCapabilities"]) == (-32021, {"sampling": {}})
    task_id = await here.begin("asks_model")
    await here.until(task_id, "input_required")
    said = {"role": "assistant", "content": {"type": "text", "text": "Hi"}, "model": "m"}
    await here.update(task_id, said=said)
    assert (await here.until(task_id, "completed"))["result"]["content"][0]["text"] == "Hi"


async def test_a_function_asks_in_rounds_first_and_then_goes_to_the_background(pair: Pair) -> None:
    here, there, gate = pair
    asked = (await here.call("asks_first")).json()["result"]
    assert (asked["resultType"], list(asked["inputRequests"]), "taskId" in asked) == ("input_required", ["who"], False)
    answers = {"who": {"action": "accept", "content": {"name": "Ada"}}}
    task_id = await there.begin("asks_first", inputResponses=answers, requestState=asked["requestState"])
    gate.opened.set()
    waiting = await here.until(task_id, "input_required", "failed")
    assert list(waiting["inputRequests"]) == ["sure"]
    await here.update(task_id, sure=YES)
    assert (await here.until(task_id, "completed"))["result"]["content"][0]["text"] == "Ada, True"
    plain = Client(here.world, can={"elicitation": {}})
    done = (await plain.call("asks_first", inputResponses=answers, requestState=asked["requestState"])).json()
    assert done["result"]["content"][0]["text"] == "Ada, None"


async def test_a_task_whose_process_died_has_failed_and_is_not_run_again(tmp_path: Path) -> None:
    clock, gate, path = ManualClock(), Gate(), tmp_path / "tasks.db"
    stores = [SqliteTaskStore(path, clock) for _ in range(2)]
    died = Client(replica(stores[0], clock, gate, tick_seconds=3600))  # it never says again that it is alive
    task_id = await died.begin("wait")
    await gate.reached.wait()
    finished = await died.begin("only")
    await died.until(finished, "completed")
    survivor = Client(replica(stores[1], clock, gate))
    assert (await survivor.get(task_id))["status"] == "working"
    clock.advance(30)
    lost = await survivor.get(task_id)
    assert (lost["status"], lost["error"]["data"]["code"]) == ("failed", "task_interrupted")
    assert "result" not in lost
    assert (await survivor.get(finished))["result"]["isError"] is True
    assert gate.runs == 1
    for world in (died.world, survivor.world):
        await world.engine.close()
    for store in stores:
        await store.close()


async def test_what_runs_when_the_server_stops_has_failed_and_is_metered() -> None:
    clock, gate = ManualClock(), Gate()
    store = InMemoryTaskStore(clock)
    here, there = Client(replica(store, clock, gate)), Client(replica(store, clock, gate))
    task_id = await here.begin("wait")
    await gate.reached.wait()
    await here.world.engine.close()
    stopped = await there.get(task_id)
    assert (stopped["status"], stopped["error"]["data"]["code"]) == ("failed", "task_interrupted")
    assert statuses(here) == [("wait", "cancelled")]


async def test_a_running_task_keeps_its_lease(client: One) -> None:
    here, gate = client
    task_id = await here.begin("wait")
    await gate.reached.wait()
    for _ in range(4):
        here.world.clock.advance(12)
        due = here.world.clock.now() + timedelta(seconds=30)
        async with asyncio.timeout(20):
            while (await _kept(here, task_id)).lease_until != due:
                await asyncio.sleep(0.001)
    gate.opened.set()
    assert (await here.until(task_id, "completed", "failed"))["status"] == "completed"


async def _kept(client: Client, task_id: str) -> Task:
    task = await client.world.gateway.tasks.find(task_id)
    assert task is not None
    return task


async def test_no_credential_is_ever_kept(tmp_path: Path) -> None:
    token = "eyJ-a-token-nobody-may-find-7f3a"
    clock, gate, path = ManualClock(), Gate(), tmp_path / "tasks.db"
    store = SqliteTaskStore(path, clock)
    world = replica(store, clock, gate, principals={**PRINCIPALS, token: PRINCIPALS["alpha-admin"]})
    client = Client(world, token)
    task_id = await client.begin("asks_two")
    await client.until(task_id, "input_required")
    await client.update(task_id, first=YES)
    await client.update(task_id, second=YES)
    await client.begin("wait", {"label": "marker-of-arguments " * 9})  # one of them is whole on its page
    await gate.reached.wait()
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"marker-of-arguments" in written
    assert token.encode() not in written
    await world.engine.close()
    await store.close()


async def test_asking_for_tasks_counts_against_the_callers_limit() -> None:
    clock = ManualClock()
    limits = {"tenant-admin": RateLimit(requests_per_minute=60, burst=1)}
    world = replica(InMemoryTaskStore(clock), clock, Gate(), caller_limits=limits)
    client = Client(world)
    task_id = await client.begin("only")
    answers = [await client.send("tasks/get", {"taskId": task_id}) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    await world.engine.close()


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_methods_of_the_older_tasks_are_unknown(client: One, method: str) -> None:
    answer = await client[0].send(method, {"taskId": "x"})
    assert (answer.status, answer.json()["error"]["code"]) == (404, -32601)


@pytest.mark.parametrize(
    ("params", "headers", "code"),
    [
        ({"taskId": "a"}, {"mcp-name": "b"}, -32020),
        ({"taskId": "a"}, {"mcp-name": None}, -32020),
        ({"taskId": 5}, {}, -32020),
        ({"taskId": "a", "inputResponses": []}, {}, -32602),
        ({"taskId": "a"}, {}, -32602),
    ],
)
async def test_a_malformed_update_is_refused(
    client: One, params: dict[str, Any], headers: dict[str, str | None], code: int
) -> None:
    answer = await client[0].send("tasks/update", params, headers=headers)
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)


async def test_the_extension_is_offered_in_the_stateless_era_only(client: One) -> None:
    offered = (await client[0].send("server/discover", {})).json()["result"]["capabilities"]
    assert offered["extensions"] == {EXTENSION: {}}
    older = await client[0].world.legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
    assert not {"extensions", "tasks"} & older.json()["result"]["capabilities"].keys()


async def _listening(client: Client, task_ids: Any) -> tuple[Answer, asyncio.Event, asyncio.Task[Answer]]:
    seen, gone = Answer(), asyncio.Event()
    listen = client.send("subscriptions/listen", {"notifications": {"taskIds": task_ids}}, gone=gone, into=seen)
    return seen, gone, asyncio.create_task(listen)


def _news(answer: Answer) -> list[Any]:
    blocks = answer.body.decode().split("\n\n")
    return [json.loads(block.partition("data: ")[2]) for block in blocks if block.startswith("event: message")]


async def test_who_follows_a_task_is_told_how_it_stands_and_ends(pair: Pair) -> None:
    here, there, gate = pair
    mine, other = await here.begin("wait"), await Client(here.world, "beta-viewer").begin("wait")
    seen, gone, listening = await _listening(there, [mine, other, ID_UNKNOWN, mine])
    async with asyncio.timeout(20):
        while len(_news(seen)) < 2:
            await asyncio.sleep(0.001)
        gate.opened.set()
        while _news(seen)[-1]["params"].get("status") != "completed":
            await asyncio.sleep(0.001)
    gone.set()
    await listening
    acknowledged, *told = _news(seen)
    assert acknowledged["params"]["notifications"] == {"taskIds": [mine]}
    assert {one["method"] for one in told} == {"notifications/tasks"}
    assert {one["params"]["taskId"] for one in told} == {mine}
    assert all(one["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1} for one in told)
    assert told[-1]["params"]["result"]["content"][0]["text"] == "done"
    assert len({json.dumps(one) for one in told}) == len(told), "the same is not told twice"


async def test_following_tasks_needs_the_extension_and_a_list_of_ids(client: One) -> None:
    here, _ = client
    undeclared = Client(here.world, can={})
    answer = await undeclared.send("subscriptions/listen", {"notifications": {"taskIds": ["x"]}})
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32021)
    for wrong in ("x", [5], ["x"] * 51, {}):
        answer = await here.send("subscriptions/listen", {"notifications": {"taskIds": wrong}})
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)


class LosesAnswers(InMemoryTaskStore):
    """Some changes are kept, and it says that they could not be."""

    lost = 0

    async def replace(self, task: Task, over: int) -> bool:
        is_kept = await super().replace(task, over)
        if self.lost:
            self.lost -= 1
            raise TasksUnavailable("The answer is lost")
        return is_kept


async def test_a_task_outlives_a_store_whose_answers_are_lost() -> None:
    clock = ManualClock()
    store = LosesAnswers(clock)
    async with replicas(store, clock) as (here, _, gate):
        task_id = await here.begin("wait")
        await gate.reached.wait()
        for _ in range(2):
            store.lost = 1
            clock.advance(20)  # its lease has to be renewed
            async with asyncio.timeout(10):
                while store.lost:
                    await asyncio.sleep(0.001)
        store.lost = 2
        gate.opened.set()
        assert (await here.until(task_id, "completed", "failed", "cancelled"))["status"] == "completed"
        async with asyncio.timeout(10):
            while here.world.engine._tasks._runner._leases:
                await asyncio.sleep(0.001)
        assert gate.runs == 1
        assert statuses(here) == [("wait", "success")]


async def test_who_hangs_up_before_the_task_is_kept_has_cancelled_the_call() -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    class Slow(InMemoryTaskStore):
        async def create(self, task: Task) -> None:
            reached.set()
            await go.wait()
            await super().create(task)

    clock = ManualClock()
    async with replicas(Slow(clock), clock) as (here, _, gate):
        gone = asyncio.Event()
        sent = {"name": "wait", "arguments": {}}
        call = asyncio.create_task(here.send("tools/call", sent, gone=gone))
        await reached.wait()
        gone.set()
        await call
        assert gate.runs == 0
        assert statuses(here) == [("wait", "cancelled")]
        assert here.world.events[0].cost_units == 0
