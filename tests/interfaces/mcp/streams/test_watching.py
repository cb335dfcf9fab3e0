"""resources/updated: who is told that a resource changed, in both eras, and when the right to know is looked at."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any, Literal

import pytest
from tests.interfaces.doors import PRINCIPALS, STATELESS_REVISIONS, Answer, World, envelope, modern, new_world
from tests.interfaces.mcp.streams.test_sessions import Client, opened, sent, until

from stoa.application import Context, Principal
from stoa.application.catalogue.follow_resources import FOLLOWED, WatchedResource
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.ports import Announcing, BackendCall, CallContext, ToolBackend, UpstreamAccess
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.session import MAX_WATCHED_RESOURCES, MAX_WATCHED_TEXT
from stoa.domain.errors import PolicyUnavailable, ResourceNotFound
from stoa.domain.operations.binding import Binding
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool, ToolKey
from stoa.domain.policy.decision import Decision, PolicyQuery
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.exchange import Exchange, ResponseStream
from stoa.interfaces.mcp.methods.subscriptions import LISTENERS
from stoa.interfaces.mcp.streams.event_queue import QUEUE_LIMIT, Event
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.wire.headers import Headers

TAG = "io.modelcontextprotocol/subscriptionId"
UPDATED = "notifications/resources/updated"


class Watcher:
    """A client of either era that watches some URIs, and what it was told."""

    def __init__(self) -> None:
        self.answer, self.gone = Answer(), asyncio.Event()
        self.task: asyncio.Task[Answer] | None = None
        self.accepted: list[str] = []

    @property
    def told(self) -> list[str]:
        return [m["params"]["uri"] for m in sent(self.answer) if m.get("method") == UPDATED]

    async def leave(self) -> None:
        self.gone.set()
        assert self.task is not None
        await self.task


async def stateless(world: World, uris: list[str], *, token: str = "alpha-admin", query: str = "") -> Watcher:
    watcher = Watcher()
    params = {"notifications": {"resourceSubscriptions": uris}, "_meta": envelope()}
    watcher.task = asyncio.create_task(
        world.modern(
            "subscriptions/listen",
            params,
            request_id="w",
            token=token,
            query=query,
            into=watcher.answer,
            gone=watcher.gone,
        )
    )
    await until(lambda: len(sent(watcher.answer)) > 0)
    watcher.accepted = sent(watcher.answer)[0]["params"]["notifications"].get("resourceSubscriptions", [])
    return watcher


async def handshake(world: World, uris: list[str], *, token: str = "alpha-admin", query: str = "") -> Watcher:
    watcher, client = Watcher(), await opened(world, token=token)
    for uri in uris:
        if "result" in (await client.ask("resources/subscribe", {"uri": uri}, query=query)).json():
            watcher.accepted.append(uri)
    watcher.task = asyncio.create_task(client.other("GET", into=watcher.answer, gone=watcher.gone))
    await until(lambda: watcher.answer.status == 200)
    return watcher


ERAS = pytest.mark.parametrize("watch", [stateless, handshake])


@pytest.fixture
def world() -> World:
    return new_world(has_sessions=True)


async def quiet(world: World) -> None:
    """Everything that was announced so far has been told."""
    control = await handshake(world, ["memo://plain"], token="admin")  # the last to be told
    world.gateway.resource_updated("memo://plain")
    await until(lambda: control.told == ["memo://plain"])
    await control.leave()


def memo(text: str, tenant: str = "alpha", uri: str = "memo://one") -> dict[str, Any]:
    metadata = {"name": "memo", "namespace": f"tenant-{tenant}"}
    return {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "Resource",
        "metadata": metadata,
        "spec": {"uri": uri, "text": text},
    }


async def test_the_acknowledgement_names_what_may_be_read_and_each_update_carries_the_subscription(
    world: World,
) -> None:
    watcher = await stateless(world, ["memo://alpha", "memo://beta", "memo://none", "memo://plain", "memo://alpha"])
    assert sent(watcher.answer)[0]["params"] == {
        "_meta": {TAG: "w"},
        "notifications": {"resourceSubscriptions": ["memo://alpha", "memo://plain"]},
    }
    world.gateway.resource_updated("memo://alpha", tenant="alpha")
    await until(lambda: len(sent(watcher.answer)) == 2)
    assert sent(watcher.answer)[1] == {
        "jsonrpc": "2.0",
        "method": UPDATED,
        "params": {"_meta": {TAG: "w"}, "uri": "memo://alpha"},
    }
    await watcher.leave()


@ERAS
async def test_what_is_anothers_and_what_is_not_there_cannot_be_watched_alike(world: World, watch: Any) -> None:
    wanted = ["memo://beta", "memo://none", "stoa://tools/private", "stoa://tools/none", "memo://secret", "no uri"]
    watcher = await watch(world, wanted, token="alpha-viewer")
    assert watcher.accepted == []
    world.gateway.resource_updated("memo://beta", tenant="beta")
    world.gateway.tool(lambda: 1, name="none", tenant="beta")
    await quiet(world)
    assert watcher.told == []
    await watcher.leave()


@ERAS
async def test_a_program_announces_that_a_resource_changed_and_a_burst_is_told_once(world: World, watch: Any) -> None:
    items = ["memo://items/a/1", "memo://items/b/1"]
    watcher = await watch(world, [*items, "memo://plain"])
    assert watcher.accepted == [*items, "memo://plain"]
    for _ in range(50):
        world.gateway.resource_updated("memo://items/a/1")
    await quiet(world)
    assert sorted(watcher.told) == ["memo://items/a/1", "memo://plain"], "of a template only the URI that was named"
    with pytest.raises(ResourceNotFound):
        world.gateway.resource_updated("memo://none")
    with pytest.raises(ResourceNotFound):
        world.gateway.resource_updated("memo://alpha")
    await watcher.leave()


@ERAS
async def test_an_announcement_may_come_from_any_thread(world: World, watch: Any) -> None:
    watcher = await watch(world, ["memo://plain"])
    thread = threading.Thread(target=world.gateway.resource_updated, args=["memo://plain"])
    thread.start()
    await until(lambda: watcher.told == ["memo://plain"])
    thread.join()
    await watcher.leave()


@ERAS
async def test_an_update_of_one_tenant_is_told_to_its_own_callers_and_to_platform_admins(
    world: World, watch: Any
) -> None:
    watchers = {token: await watch(world, ["memo://plain"], token=token) for token in ("alpha-viewer", "beta-viewer")}
    watchers["admin"] = await watch(world, ["memo://plain", "memo://alpha"], token="admin", query="?tenant_id=alpha")
    assert watchers["admin"].accepted == ["memo://plain", "memo://alpha"]
    world.gateway.resource_updated("memo://plain", tenant="alpha")
    world.gateway.resource_updated("memo://alpha", tenant="alpha")
    await until(lambda: len(watchers["admin"].told) == 2)
    await until(lambda: watchers["alpha-viewer"].told == ["memo://plain"])
    assert watchers["beta-viewer"].told == []
    for watcher in watchers.values():
        await watcher.leave()


@ERAS
async def test_a_tool_says_that_a_resource_changed_and_other_tenants_do_not_notice(world: World, watch: Any) -> None:
    @world.gateway.tool
    async def save(context: Context, uri: str) -> str:
        context.resource_updated(uri)
        return "saved"

    mine = await watch(world, ["memo://plain", "memo://alpha"])
    theirs = await watch(world, ["memo://plain"], token="beta-viewer")
    for uri in ("memo://plain", "memo://alpha"):
        answer = await world.modern("tools/call", {"name": "save", "arguments": {"uri": uri}})
        assert answer.json()["result"]["content"][0]["text"] == "saved"
    await until(lambda: sorted(mine.told) == ["memo://alpha", "memo://plain"])
    assert theirs.told == []
    for uri in ("memo://beta", "memo://none"):
        answer = await world.modern("tools/call", {"name": "save", "arguments": {"uri": uri}})
        text = answer.json()["result"]["content"][0]["text"]
        assert text == f"Unknown resource: {uri} [resource_unreadable]"
    for watcher in (mine, theirs):
        await watcher.leave()


class _Switch(RulesPolicyEngine):
    """Reading `memo://` can be forbidden, or become undecidable, while somebody watches."""

    def __init__(self) -> None:
        self.denied, self.is_away, self.asked = False, False, 0
        rule = Rule("closed", "deny", lambda query: self.denied and query.operation.kind == "resource", "closed")
        super().__init__((rule, *DEFAULT_RULES))

    async def decide(self, query: PolicyQuery) -> Decision:
        self.asked += 1
        if self.is_away:
            raise PolicyUnavailable("No decision can be made")
        return await super().decide(query)


@ERAS
async def test_the_right_is_looked_at_again_when_there_is_something_to_tell(watch: Any) -> None:
    policy = _Switch()
    world = new_world(has_sessions=True, policy=policy)
    watcher = await watch(world, ["memo://plain"])

    async def changed() -> list[str]:
        before = policy.asked
        world.gateway.resource_updated("memo://plain")
        await until(lambda: policy.asked > before)
        await asyncio.sleep(0)
        return watcher.told

    policy.denied = True
    assert await changed() == []
    policy.denied, policy.is_away = False, True
    assert await changed() == [], "whoever cannot be asked did not say yes"
    policy.is_away = False
    await changed()
    await until(lambda: watcher.told == ["memo://plain"])
    await watcher.leave()


async def test_nothing_can_be_watched_while_nobody_decides_who_may() -> None:
    policy = _Switch()
    world = new_world(has_sessions=True, policy=policy)
    client = await opened(world)
    policy.is_away = True
    params = {"notifications": {"resourceSubscriptions": ["memo://plain"]}, "_meta": envelope()}
    listen = await world.modern("subscriptions/listen", params)
    subscribe = await client.ask("resources/subscribe", {"uri": "memo://plain"})
    for answer in (listen, subscribe):
        assert (answer.status, answer.json()["error"]["code"]) == (200, 5030)


@ERAS
async def test_a_rule_that_looks_at_a_templates_variables_decides_what_may_be_watched(watch: Any) -> None:
    rule = Rule("only-a", "deny", lambda query: query.arguments.get("item") == "b", "not b", reads_arguments=True)
    world = new_world(has_sessions=True, policy=RulesPolicyEngine((rule, *DEFAULT_RULES)))
    watcher = await watch(world, ["memo://items/a/1", "memo://items/b/1"])
    assert watcher.accepted == ["memo://items/a/1"]
    await watcher.leave()


@ERAS
async def test_a_watcher_hears_of_new_contents_and_not_of_a_resource_that_is_gone(world: World, watch: Any) -> None:
    await world.gateway.add_manifest(memo("first"), origin="memo")
    watcher = await watch(world, ["memo://one"])
    await world.gateway.add_manifest(memo("second"), origin="memo")
    await until(lambda: watcher.told == ["memo://one"])
    gone = memo("third")
    gone["spec"]["enabled"] = False
    await world.gateway.add_manifest(gone, origin="memo")
    await quiet(world)
    assert watcher.told == ["memo://one"]
    await world.gateway.add_manifest(memo("fourth"), origin="memo")
    await until(lambda: watcher.told == ["memo://one"] * 2)
    await watcher.leave()


@ERAS
async def test_a_resource_that_takes_the_place_of_another_is_a_change_of_what_is_read(world: World, watch: Any) -> None:
    watcher = await watch(world, ["memo://items/a/1"])
    await world.gateway.add_manifest(memo("x", uri="memo://items/a/1"), origin="memo")
    await until(lambda: watcher.told == ["memo://items/a/1"])
    await watcher.leave()


@ERAS
async def test_the_page_about_a_tool_changes_with_the_tool(world: World, watch: Any) -> None:
    watcher = await watch(world, ["stoa://tools/add", "stoa://tools/note"])
    assert watcher.accepted == ["stoa://tools/add", "stoa://tools/note"]
    world.gateway.tool(lambda: 1, name="unrelated")
    await quiet(world)
    assert watcher.told == []
    catalogue = world.gateway.registry.catalogue
    add = catalogue.tools[ToolKey(None, "add")]
    newer = Tool.model_validate({**add.model_dump(), "description": "New."})
    world.gateway.registry.replace({**catalogue.operations, add.key: newer}.values())
    await until(lambda: watcher.told == ["stoa://tools/add"])
    await watcher.leave()


@pytest.mark.parametrize("uris", ["memo://plain", {"0": "memo://plain"}, [1], [None], ["x:y"] * 101], ids=repr)
async def test_what_is_no_bounded_list_of_uris_is_invalid_params(world: World, uris: Any) -> None:
    assert MAX_WATCHED_RESOURCES == 100
    params = {"notifications": {"resourceSubscriptions": uris}, "_meta": envelope()}
    answer = await world.modern("subscriptions/listen", params)
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)


async def test_one_caller_cannot_take_all_listen_streams(world: World) -> None:
    watchers = [await stateless(world, []) for _ in range(LISTENERS.per_caller)]
    params = {"notifications": {}, "_meta": envelope()}
    assert (await world.modern("subscriptions/listen", params)).status == 429
    other = await stateless(world, [], token="beta-viewer")
    for watcher in (*watchers, other):
        await watcher.leave()
    await (await stateless(world, [])).leave()


async def test_listen_streams_of_the_tenant_that_holds_most_give_way_to_one_below_its_share() -> None:
    people = {f"evil-{n}": Principal.of(f"evil-{n}", tenant="evil", roles=["viewer"]) for n in range(17)}
    others = {f"other-{n}": Principal.of(f"other-{n}", tenant="other", roles=["viewer"]) for n in range(9)}
    victim = {"victim": Principal.of("victim", tenant="acme", roles=["viewer"])}
    world = new_world(principals=people | others | victim)
    held = [
        await stateless(world, [], token=name)
        for name in [*list(people)[:16], *list(others)[:8]]
        for _ in range(LISTENERS.per_caller)
    ]
    assert len(held) == LISTENERS.total
    params = {"notifications": {}, "_meta": envelope()}
    over = await world.modern("subscriptions/listen", params, token="evil-16")
    assert (over.status, over.json()["error"]["message"]) == (429, "A tenant has at most 1024 listen streams")
    newcomer = await stateless(world, [], token="victim")
    await until(lambda: b'"resultType":"complete"' in held[0].answer.body)
    assert not any(b'"resultType":"complete"' in one.answer.body for one in held[1:])
    for watcher in (*held[1:], newcomer):
        await watcher.leave()


async def test_a_session_watches_uris_of_a_bounded_length(world: World) -> None:
    client = await opened(world)
    codes = []
    for number in range(10):
        uri = f"memo://items/{number}/" + "x" * (MAX_WATCHED_TEXT // 9)
        codes.append((await client.ask("resources/subscribe", {"uri": uri})).json().get("error", {}).get("code"))
    assert codes[:8] == [None] * 8
    assert codes[-1] == -32602


async def test_a_session_watches_a_bounded_number_of_resources(world: World) -> None:
    client = await opened(world)

    async def subscribe(number: int) -> Any:
        answer = await client.ask("resources/subscribe", {"uri": f"memo://items/a/{number}"})
        return answer.json().get("error", {}).get("code")

    assert {await subscribe(number) for number in range(MAX_WATCHED_RESOURCES)} == {None}
    assert await subscribe(1) is None, "it is watched already"
    assert await subscribe(MAX_WATCHED_RESOURCES) == -32602
    await client.ask("resources/unsubscribe", {"uri": "memo://items/a/1"})
    assert await subscribe(MAX_WATCHED_RESOURCES) is None


async def test_a_watcher_that_is_over_its_limit_is_refused_like_a_caller() -> None:
    world = new_world(has_sessions=True, caller_limits={"viewer": RateLimit(requests_per_minute=1, burst=2)})
    client: Client = await opened(world, token="beta-viewer")
    for _ in range(9):
        assert (await client.ask("resources/subscribe", {"uri": "memo://plain"})).json()["result"] == {}
    over = await client.ask("resources/unsubscribe", {"uri": "memo://plain"})
    assert over.json()["error"]["code"] == 4290


@ERAS
async def test_a_silent_stream_is_kept_open_with_comments(watch: Any) -> None:
    world = new_world(has_sessions=True, late_seconds=0.01)
    watcher = await watch(world, ["memo://plain"])
    await until(lambda: watcher.answer.body.count(b": ping\n\n") >= 2)
    assert watcher.told == []
    await watcher.leave()


async def test_a_listener_that_does_not_read_is_let_go_gracefully(world: World) -> None:
    uris = [f"memo://items/a/{number}" for number in range(MAX_WATCHED_RESOURCES)]
    message, headers = modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
    exchange = Exchange(
        headers=Headers([(name.encode(), str(value).encode()) for name, value in headers.items()]),
        version=STATELESS_REVISIONS,
        message=message,
        credential=PRINCIPALS["alpha-admin"],
        stream=_Nowhere(),
    )
    queue = (await world.engine.answer(exchange)).events
    assert queue is not None
    for _ in range(QUEUE_LIMIT // len(uris) + 1):
        for uri in uris:
            world.gateway.resource_updated(uri)
        await quiet(world)
    waiting: list[Event] = []
    while (item := await queue.next()) is not None:
        waiting.append(item)
    assert len(waiting) == QUEUE_LIMIT + 1
    last = json.loads(waiting[-1].message)
    assert (last["id"], last["result"]["resultType"]) == (1, "complete")
    assert last["result"]["_meta"][TAG] == 1


class _Nowhere(ResponseStream):
    def record(self, recording: EventRecording) -> None:
        raise AssertionError("nobody could come back")

    async def notify(self, message: bytes) -> None:
        raise AssertionError("nothing is told before the stream begins")

    async def hang_up(self) -> None:
        raise AssertionError("nobody asked for it")


class FollowedBinding(Binding):
    kind: Literal["followed"] = "followed"


class FollowedBackend(ToolBackend):
    """A back end that tells of changes: `followed` has whom it tells now."""

    kind = "followed"

    def __init__(self) -> None:
        self.followed: dict[tuple[str, str], Callable[[], None]] = {}

    def prepare(self, tool: Operation) -> BackendCall:
        return FollowedCall(self.followed)

    async def close(self) -> None:
        """Nothing is open."""


class FollowedCall(BackendCall, Announcing):
    def __init__(self, followed: dict[tuple[str, str], Callable[[], None]]) -> None:
        self._followed = followed

    async def __call__(self, arguments: JsonObject, context: CallContext) -> ToolResult:
        return ToolResult((TextContent(str(arguments)),))

    async def follow(
        self, arguments: JsonObject, caller: Principal, upstream: UpstreamAccess | None, changed: Callable[[], None]
    ) -> None:
        key = (str(caller.subject), arguments["name"])
        self._followed[key] = changed
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            del self._followed[key]


@ERAS
async def test_watching_a_resource_of_a_back_end_has_it_followed_until_the_stream_ends(watch: Any) -> None:
    backend = FollowedBackend()
    world = new_world(has_sessions=True, backends=[backend])
    world.gateway.add(Resource(name="far", uri="far://{name}", binding=FollowedBinding()))
    watcher = await watch(world, ["far://a", "memo://plain"])
    other = await watch(world, ["far://a"], token="admin")
    assert watcher.accepted == ["far://a", "memo://plain"]
    await until(lambda: len(backend.followed) == 2)
    key = next(key for key in backend.followed if key[0] == PRINCIPALS["alpha-admin"].subject)
    backend.followed[key]()
    await until(lambda: watcher.told == ["far://a"])
    await quiet(world)
    assert other.told == []  # what the back end tells one caller is for this caller
    await watcher.leave()
    await other.leave()
    if watch is stateless:
        await until(lambda: not backend.followed)
    await world.gateway.close()
    assert not backend.followed
    assert world.gateway.watch_resources.following.watchers == ()


async def test_watching_ends_when_the_client_unsubscribes() -> None:
    backend = FollowedBackend()
    world = new_world(has_sessions=True, backends=[backend])
    world.gateway.add(Resource(name="far", uri="far://{name}", binding=FollowedBinding()))
    client = await opened(world, token="admin")
    answer, gone = Answer(), asyncio.Event()
    listening = asyncio.create_task(client.other("GET", into=answer, gone=gone))
    await until(lambda: answer.status == 200)
    assert not backend.followed
    await client.ask("resources/subscribe", {"uri": "far://a"})
    await until(lambda: len(backend.followed) == 1)
    far = world.gateway.catalogue.resolve(None, "far://a")
    assert far is not None
    world.gateway.remove("far://{name}", kind="resource")
    await until(lambda: not backend.followed)
    world.gateway.add(far)  # read by another call of the back end now
    await until(lambda: len(backend.followed) == 1)
    await client.ask("resources/unsubscribe", {"uri": "far://a"})
    await until(lambda: not backend.followed)
    gone.set()
    await listening
    await world.gateway.close()


async def test_watching_of_one_caller_leaves_room_for_others() -> None:
    backend = FollowedBackend()
    world = new_world(backends=[backend])
    far = Resource(name="far", uri="far://{name}", binding=FollowedBinding())
    world.gateway.add(far)
    following = world.gateway.watch_resources.following
    one, other = PRINCIPALS["admin"], PRINCIPALS["alpha-admin"]
    following.replace("one", [WatchedResource(one, f"far://{n}", far.key) for n in range(FOLLOWED.per_caller + 5)])
    following.replace("other", [WatchedResource(other, "far://a", far.key)])
    await until(lambda: len(backend.followed) == FOLLOWED.per_caller + 1)
    following.replace("one", ())
    await until(lambda: [*backend.followed] == [(str(other.subject), "a")])
    await world.gateway.close()
