"""Sessions of the handshake era: who may use one, questions on its streams, cancellation, and coming back."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.interfaces.doors import STATELESS_REVISIONS, Answer, World, envelope, new_world

from stoa.application import Context, Principal
from stoa.application.memory.event_store import InMemoryEventStore
from stoa.application.memory.session_store import InMemorySessionStore
from stoa.domain.metering.event import Status
from stoa.interfaces.mcp.streams.streams import Streams
from stoa.testing.clock import ManualClock

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ALL = {"sampling": {}, "elicitation": {}, "roots": {}}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


def frames(answer: Answer) -> list[tuple[str | None, Any]]:
    """Id and message of each event; None for the message of an event without data."""
    found: list[tuple[str | None, Any]] = []
    for block in answer.body.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), json.loads(fields["data"]) if fields.get("data") else None))
    return found


def sent(answer: Answer) -> list[Any]:
    return [message for _, message in frames(answer) if message is not None]


class Client:
    """A client with one session."""

    def __init__(self, world: World, token: str, revision: str) -> None:
        self.world, self.token, self.revision = world, token, revision
        self.id = ""

    async def open(self, capabilities: Any) -> "Client":
        params = {
            "protocolVersion": self.revision,
            "capabilities": capabilities,
            "clientInfo": {"name": "c", "version": "1"},
        }
        answer = await self.world.legacy("initialize", params, version=None, token=self.token)
        assert answer.status == 200
        self.id = answer.header("mcp-session-id") or ""
        assert len(self.id) >= 43
        assert all("!" <= character <= "~" for character in self.id)
        return self

    async def ask(self, method: str, params: Any = None, **rest: Any) -> Answer:
        rest.setdefault("token", self.token)
        return await self.world.legacy(
            method, params, version=self.revision, headers={"mcp-session-id": self.id}, **rest
        )

    async def tell(self, message: Any, **rest: Any) -> Answer:
        rest.setdefault("token", self.token)
        return await self.world.post(
            {"jsonrpc": "2.0", **message}, version=self.revision, headers={"mcp-session-id": self.id}, **rest
        )

    async def other(self, method: str, **rest: Any) -> Answer:
        headers = {"mcp-session-id": self.id, "accept": "text/event-stream", **rest.pop("headers", {})}
        rest.setdefault("token", self.token)
        return await self.world.request(method, "/mcp", headers=headers, **rest)


async def opened(world: World, *, token: str = "alpha-admin", revision: str = "2025-11-25", can: Any = ALL) -> Client:
    return await Client(world, token, revision).open(can)


@pytest.fixture
def world() -> World:
    world = new_world(has_sessions=True, ask_timeout_seconds=5)

    @world.gateway.tool
    async def greet(context: Context) -> str:
        answer = await context.elicit("Who?", NAME)
        return f"Hello, {answer.content['name']}"

    @world.gateway.tool
    async def steps(context: Context) -> str:
        await context.progress(1)
        world.clock.advance(0.1)
        await world_gate(world).wait()
        await context.progress(2)
        return "done"

    @world.gateway.tool
    async def chatter(context: Context) -> str:
        for level in ("debug", "info", "warning"):
            await context.log(level, level)  # type: ignore[arg-type]
        return "done"

    return world


_gates: dict[int, asyncio.Event] = {}


def world_gate(world: World) -> asyncio.Event:
    return _gates.setdefault(id(world), asyncio.Event())


@pytest.fixture(autouse=True)
def _fresh_gates() -> None:
    _gates.clear()


async def test_a_session_is_its_callers_own_and_ends_when_it_is_deleted(world: World) -> None:
    client = await opened(world)
    assert (await client.ask("tools/list")).status == 200
    for wrong in (
        await client.ask("tools/list", token="beta-viewer"),
        await client.other("GET", token="beta-viewer"),
        await client.other("DELETE", token="beta-viewer"),
    ):
        assert (wrong.status, wrong.json()["error"]["code"]) == (404, -32600)
    assert (await client.other("DELETE", token=None)).status == 401
    assert (await client.other("DELETE")).status == 200
    for gone in (await client.other("DELETE"), await client.ask("tools/list"), await client.other("GET")):
        assert gone.status == 404
    assert (await opened(world)).id != client.id


async def test_a_session_expires_when_it_is_not_used(world: World) -> None:
    client = await opened(world)
    world.clock.advance(1799)
    assert (await client.ask("ping")).status == 200
    world.clock.advance(1800)
    assert (await client.ask("ping")).status == 404


async def test_no_session_is_needed_and_initialize_begins_a_new_one_whatever_came(world: World) -> None:
    assert (await world.legacy("tools/list")).status == 200
    client = await opened(world)
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    again = await world.legacy("initialize", params, headers={"mcp-session-id": "stale"})
    assert again.header("mcp-session-id") not in {None, client.id}
    modern = await world.modern("tools/list", headers={"mcp-session-id": "stale"})
    assert (modern.status, modern.header("mcp-session-id")) == (200, None)
    missing = await world.request("GET", "/mcp", headers={"accept": "text/event-stream"})
    assert missing.status == 400


HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


async def test_sessions_of_a_tenant_that_fills_the_store_give_way_to_its_own_and_to_others(world: World) -> None:
    first = await opened(world)
    for _ in range(50):
        await opened(world)
    assert (await first.ask("tools/list")).status == 404
    for token in ("beta-viewer", "alpha-viewer", "beta-viewer"):
        assert (await world.legacy("initialize", HELLO, token=token)).status == 200


async def test_when_no_more_sessions_fit_the_client_is_told_to_come_back() -> None:
    world = new_world(
        has_sessions=False,
        shared=lambda clock: (InMemorySessionStore(clock, capacity=1), Streams(InMemoryEventStore())),
    )
    assert (await world.legacy("initialize", HELLO)).status == 200
    assert (await world.legacy("initialize", HELLO, token="beta-viewer")).status == 503


@pytest.mark.parametrize(
    ("method", "version"), [("GET", STATELESS_REVISIONS), ("DELETE", STATELESS_REVISIONS), ("PUT", "2025-11-25")]
)
async def test_other_http_methods_say_what_is_allowed(world: World, method: str, version: str) -> None:
    answer = await (await opened(world)).other(method, headers={"mcp-protocol-version": version}, token=None)
    assert (answer.status, answer.header("allow")) == (
        405,
        "POST" if version == STATELESS_REVISIONS else "GET, POST, DELETE",
    )


async def test_the_revision_of_the_handshake_decides_for_the_session(world: World) -> None:
    client = await opened(world, revision="2024-11-05")
    client.revision = "2025-11-25"
    listed = (await client.ask("tools/list")).json()["result"]["tools"]
    assert all("annotations" not in tool for tool in listed)


async def test_the_log_level_is_kept_for_the_session(world: World) -> None:
    client, other = await opened(world), await opened(world)
    assert (await client.ask("logging/setLevel", {"level": "info"})).json()["result"] == {}
    assert (await client.ask("logging/setLevel", {"level": "loud"})).json()["error"]["code"] == -32602
    assert (await world.legacy("logging/setLevel", {"level": "info"})).json()["error"]["code"] == -32600

    async def levels(of: Client) -> list[str]:
        messages = sent(await of.ask("tools/call", {"name": "chatter"}))
        return [message["params"]["level"] for message in messages[:-1]]

    assert await levels(client) == ["info", "warning"]
    assert await levels(other) == ["warning"]


async def _asking(client: Client, **rest: Any) -> tuple[asyncio.Task[Answer], Answer, str]:
    """A call that waits for an answer: its task, what it sent so far, and the id of the question."""
    so_far = Answer()
    task = asyncio.create_task(client.ask("tools/call", {"name": "greet"}, into=so_far, **rest))
    await until(lambda: any("method" in message for message in sent(so_far)))
    question = next(message for message in sent(so_far) if "method" in message)
    assert question["method"] == "elicitation/create"
    return task, so_far, question["id"]


async def test_session_client_request_is_sent_on_the_stream_of_its_call_and_the_answer_is_posted(world: World) -> None:
    client = await opened(world)
    task, _, question = await _asking(client)
    answer = {"id": question, "result": {"action": "accept", "content": {"name": "Ada"}}}
    for stranger in (
        await client.tell(answer, token="beta-viewer"),
        await (await opened(world, token="beta-viewer")).tell(answer),
    ):
        assert stranger.status in {202, 404}
    assert not task.done()
    taken = await client.tell(answer)
    assert (taken.status, taken.body) == (202, b"")
    result = sent(await task)[-1]["result"]
    assert result["content"][0]["text"] == "Hello, Ada"
    assert [(event.tool, event.status) for event in world.events] == [
        ("elicitation:greet", Status.SUCCESS),
        ("greet", Status.SUCCESS),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -1, "message": "User rejected"}},
        {"result": {"action": "accept", "content": {"name": 5}}},
        {"result": "yes"},
    ],
    ids=repr,
)
async def test_an_answer_that_is_none_makes_the_call_fail(world: World, answer: Any) -> None:
    client = await opened(world)
    task, _, question = await _asking(client)
    await client.tell({"id": question, **answer})
    assert sent(await task)[-1]["result"]["isError"] is True


async def test_session_client_request_that_is_not_answered_in_time_is_withdrawn() -> None:
    world = new_world(has_sessions=True, ask_timeout_seconds=0.02)

    @world.gateway.tool
    async def greet(context: Context) -> str:
        return (await context.elicit("Who?", NAME)).action

    task, _, question = await _asking(await opened(world))
    messages = sent(await task)
    assert messages[-2]["method"] == "notifications/cancelled"
    assert messages[-2]["params"] == {"requestId": question}
    assert messages[-1]["result"]["isError"] is True
    assert [(event.tool, event.status) for event in world.events] == [
        ("elicitation:greet", Status.TIMEOUT),
        ("greet", Status.TIMEOUT),
    ]


async def test_nothing_is_asked_of_a_client_that_did_not_declare_it_or_takes_no_events(world: World) -> None:
    mute = await (await opened(world, can={})).ask("tools/call", {"name": "greet"})
    assert mute.json()["result"]["isError"] is True
    client = await opened(world)
    only_json = {"mcp-session-id": client.id, "accept": "application/json"}
    answer = await world.legacy("tools/call", {"name": "greet"}, headers=only_json)
    assert answer.json()["result"]["isError"] is True


async def test_a_client_cancels_its_own_request_and_it_is_metered_once(world: World) -> None:
    client = await opened(world)
    task, _, _ = await _asking(client, request_id=7)
    note = {"method": "notifications/cancelled", "params": {"requestId": 7}}
    foreign = await opened(world)
    for wrong in ("7", True, 7.0, 8, None):
        await client.tell({**note, "params": {"requestId": wrong}})
    await foreign.tell(note)
    assert world.events == []
    assert (await client.tell(note)).status == 202
    assert sent(await task)[-1]["error"]["code"] == -32800
    await client.tell(note)
    assert [(event.tool, event.status) for event in world.events] == [
        ("elicitation:greet", Status.CANCELLED),
        ("greet", Status.CANCELLED),
    ]
    assert (await client.ask("ping")).json()["result"] == {}


async def test_a_client_that_lost_its_stream_comes_back_for_the_rest(world: World) -> None:
    client, gone, so_far = await opened(world), asyncio.Event(), Answer()
    params = {"name": "steps", "_meta": {"progressToken": "p"}}
    calling = asyncio.create_task(client.ask("tools/call", params, into=so_far, gone=gone))
    await until(lambda: len(frames(so_far)) == 2)
    (first, nothing), (second, _) = frames(so_far)
    assert nothing is None, "a new client gets an event to come back to before anything else"
    assert b"retry: " in so_far.chunks[0]
    gone.set()
    resumed = Answer()
    resuming = asyncio.create_task(client.other("GET", headers={"last-event-id": second}, into=resumed))
    await until(lambda: resumed.status == 200)
    world_gate(world).set()
    answer = await resuming
    assert [message.get("params", {}).get("progress") for message in sent(answer)] == [2, None]
    assert sent(answer)[-1]["result"]["content"][0]["text"] == "done"
    await calling
    whole = await client.other("GET", headers={"last-event-id": first})
    assert [event_id for event_id, _ in frames(whole)] == [event_id for event_id, _ in frames(so_far)][1:]
    assert [event.status for event in world.events] == [Status.SUCCESS]


async def test_a_client_may_come_back_before_anything_was_sent(world: World) -> None:
    go_on = asyncio.Event()

    @world.gateway.tool
    async def slow(context: Context) -> str:
        await context.hang_up()
        await go_on.wait()
        return "done"

    client, so_far, resumed = await opened(world), Answer(), Answer()
    calling = asyncio.create_task(client.ask("tools/call", {"name": "slow"}, into=so_far))
    await until(lambda: len(frames(so_far)) == 1)
    headers = {"last-event-id": frames(so_far)[0][0]}
    resuming = asyncio.create_task(client.other("GET", headers=headers, into=resumed))
    await until(lambda: resumed.status == 200)
    go_on.set()
    assert sent(await resuming)[0]["result"]["content"][0]["text"] == "done"
    await calling


async def test_older_clients_get_no_event_without_data(world: World) -> None:
    world_gate(world).set()
    client = await opened(world, revision="2025-06-18")
    answer = await client.ask("tools/call", {"name": "steps", "_meta": {"progressToken": 1}})
    assert all(message is not None and event_id for event_id, message in frames(answer))


async def test_a_changed_list_is_told_on_the_sessions_own_stream_and_a_second_stream_takes_over(world: World) -> None:
    client, gone = await opened(world), asyncio.Event()
    first, second = Answer(), Answer()
    one = asyncio.create_task(client.other("GET", into=first, gone=gone))
    await until(lambda: first.status == 200)
    two = asyncio.create_task(client.other("GET", into=second, gone=gone))
    await one
    world.gateway.tool(lambda: 1, name="one_more")
    world.gateway.tool(lambda: 1, name="two_more")
    await until(lambda: len(sent(second)) > 0)
    assert sent(second) == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
    assert sent(first) == []
    gone.set()
    await two
    missed = await _rest(client, frames(second)[0][0] or "")
    assert sent(missed) == sent(second)


async def test_a_removed_tool_changes_the_list_that_sessions_are_told_of(world: World) -> None:
    world.gateway.tool(lambda: 1, name="short_lived")
    client, gone, stream = await opened(world), asyncio.Event(), Answer()
    listening = asyncio.create_task(client.other("GET", into=stream, gone=gone))
    await until(lambda: stream.status == 200)
    world.gateway.remove("short_lived")
    await until(lambda: len(sent(stream)) > 0)
    assert sent(stream) == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
    listed = (await client.ask("tools/list", {})).json()["result"]["tools"]
    assert "short_lived" not in {tool["name"] for tool in listed}
    gone.set()
    await listening


async def _rest(client: Client, last_event_id: str) -> Answer:
    gone, so_far = asyncio.Event(), Answer()
    task = asyncio.create_task(client.other("GET", headers={"last-event-id": last_event_id}, into=so_far, gone=gone))
    await until(lambda: so_far.status == 200 and len(so_far.chunks) > 1)
    gone.set()
    return await task


async def test_deleting_a_session_ends_its_stream(world: World) -> None:
    client, so_far = await opened(world), Answer()
    following = asyncio.create_task(client.other("GET", into=so_far))
    await until(lambda: so_far.status == 200)
    await client.other("DELETE")
    await following


async def test_a_stream_needs_a_client_that_takes_events(world: World) -> None:
    answer = await (await opened(world)).other("GET", headers={"accept": "application/json"})
    assert answer.status == 406


async def _listening(world: World, notifications: Any, request_id: Any = 4) -> tuple[asyncio.Task[Answer], Answer, Any]:
    so_far, gone = Answer(), asyncio.Event()
    params = {"notifications": notifications, "_meta": envelope()}
    task = asyncio.create_task(
        world.modern("subscriptions/listen", params, request_id=request_id, into=so_far, gone=gone)
    )
    await until(lambda: len(sent(so_far)) > 0)
    return task, so_far, gone


async def test_a_listener_gets_what_it_asked_for_tagged_with_its_id_after_the_acknowledgement(world: World) -> None:
    tag = {"io.modelcontextprotocol/subscriptionId": "l"}
    wanted = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": False}
    task, listener, gone = await _listening(world, wanted, "l")
    idle_task, idle, idle_gone = await _listening(world, {})
    assert sent(listener) == [
        {
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {"_meta": tag, "notifications": {"toolsListChanged": True, "promptsListChanged": True}},
        }
    ]
    world.gateway.tool(lambda: 1, name="one_more")
    await until(lambda: len(sent(listener)) == 2)
    assert sent(listener)[1] == {
        "jsonrpc": "2.0",
        "method": "notifications/tools/list_changed",
        "params": {"_meta": tag},
    }
    assert len(sent(idle)) == 1
    assert all(event_id is None for event_id, _ in frames(listener))
    gone.set()
    idle_gone.set()
    await asyncio.gather(task, idle_task)


async def test_a_listener_must_take_events_and_say_what_it_wants(world: World) -> None:
    params = {"notifications": {"toolsListChanged": True}, "_meta": envelope()}
    only_json = await world.modern("subscriptions/listen", params, headers={"accept": "application/json"})
    assert only_json.status == 406
    wrong = await world.modern("subscriptions/listen", {"_meta": envelope()})
    assert (wrong.status, wrong.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
async def test_a_tool_may_let_go_of_a_client_that_knows_to_come_back(world: World, revision: str) -> None:
    @world.gateway.tool
    async def slow(context: Context) -> str:
        await context.hang_up()
        await context.hang_up()
        await context.log("error", "later")
        return "done"

    client = await opened(world, revision=revision)
    left = await client.ask("tools/call", {"name": "slow"})
    if revision == "2025-06-18":
        assert sent(left)[-1]["result"]["content"][0]["text"] == "done"
        return
    ((event_id, nothing),) = frames(left)
    assert nothing is None
    rest = sent(await client.other("GET", headers={"last-event-id": event_id}))
    assert (rest[0]["params"]["data"], rest[1]["result"]["content"][0]["text"]) == ("later", "done")


async def test_a_stream_ends_with_the_token_that_opened_it() -> None:
    soon = ManualClock().now() + timedelta(seconds=0.05)
    short = Principal.of("sue", roles=["viewer"], expires_at=soon)
    world = new_world(has_sessions=True, principals={"short": short})
    client = await opened(world, token="short")
    ended = await client.other("GET")
    assert sent(ended) == []
    assert b"".join(ended.chunks).endswith(b"retry: 3000\n\n"), (
        "a client comes back when it too thinks that its token has expired"
    )
    params = {"notifications": {"toolsListChanged": True}, "_meta": envelope()}
    messages = sent(await world.modern("subscriptions/listen", params, request_id=9, token="short"))
    assert (messages[-1]["id"], messages[-1]["result"]["resultType"]) == (9, "complete")


async def test_a_session_hears_of_changes_of_the_resources_it_watches_and_of_no_others(world: World) -> None:
    def memo(text: str) -> dict[str, Any]:
        metadata = {"name": "memo", "namespace": "tenant-alpha"}
        spec = {"uri": "memo://one", "displayName": "A memo", "text": text}
        return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Resource", "metadata": metadata, "spec": spec}

    await world.gateway.add_manifest(memo("first"), origin="memo")
    client, stream = await opened(world), Answer()
    other, others = await opened(world, token="beta-viewer"), Answer()
    assert (await client.ask("resources/subscribe", {"uri": "memo://one"})).json()["result"] == {}
    foreign = await other.ask("resources/subscribe", {"uri": "memo://one"})
    unknown = await other.ask("resources/subscribe", {"uri": "memo://two"})
    assert foreign.json()["error"]["code"] == unknown.json()["error"]["code"] == -32002

    gone, others_gone = asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(client.other("GET", into=stream, gone=gone)),
        asyncio.create_task(other.other("GET", into=others, gone=others_gone)),
    ]
    await until(lambda: stream.status == 200 and others.status == 200)
    updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "memo://one"}}
    await world.gateway.add_manifest(memo("second"), origin="memo")
    await until(lambda: updated in sent(stream))

    assert (await client.ask("resources/unsubscribe", {"uri": "memo://one"})).json()["result"] == {}
    await world.gateway.add_manifest(memo("third"), origin="memo")
    changed = {"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}
    await until(lambda: changed in sent(stream))
    assert sent(stream).count(updated) == 1
    assert sent(others) == [], "another tenant does not even notice that something changed"
    gone.set()
    others_gone.set()
    await asyncio.gather(*tasks)


async def test_watching_needs_a_session_and_a_uri(world: World) -> None:
    client = await opened(world)
    assert (await client.ask("resources/subscribe", {})).json()["error"]["code"] == -32602
    without = await world.legacy("resources/subscribe", {"uri": "memo://one"})
    assert without.json()["error"]["code"] == -32600
    assert (await client.ask("resources/unsubscribe", {"uri": "memo://never"})).json()["result"] == {}


async def test_a_listener_does_not_notice_what_another_tenant_changes(world: World) -> None:
    wanted = {"toolsListChanged": True}
    task, listener, gone = await _listening(world, wanted)
    world.gateway.tool(lambda: 1, name="of_beta", tenant="beta")
    world.gateway.tool(lambda: 1, name="of_all")
    await until(lambda: len(sent(listener)) > 1)
    await asyncio.sleep(0)
    assert len(sent(listener)) == 2
    gone.set()
    await task
