"""Who may use each method of the engine, in each era. A method that is not in the table below fails here: decide what
it costs, what it names, and add its row.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from tests.infrastructure.oidc.forge import forge, good_claims, new_verifier
from tests.interfaces.doors import METADATA_URL, STATELESS_REVISIONS, Answer, World, envelope, new_world
from tests.interfaces.mcp.streams.test_sessions import Client, opened, until

from stoa.domain.access.caller_limits import REQUESTS_PER_CALL
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.calls.task import Task, Work
from stoa.domain.errors import NotAuthenticated
from stoa.interfaces.mcp.methods.tasks import EXTENSION
from stoa.interfaces.wire.revisions import CAPABILITIES_KEY
from stoa.testing.clock import ManualClock


@dataclass(frozen=True)
class Row:
    """`params`: with which it succeeds for alpha-viewer. `foreign` and `unknown`: that name something of another
    tenant, and nothing; they must look alike. `is_counted`: against the caller's limit (docs/decisions/0015)."""

    params: dict[str, Any] = field(default_factory=dict)
    foreign: dict[str, Any] | None = None
    unknown: dict[str, Any] | None = None
    is_counted: bool = True


def _complete(kind: str, name: str) -> dict[str, Any]:
    member = "name" if kind == "prompt" else "uri"
    return {"ref": {"type": f"ref/{kind}", member: name}, "argument": {"name": "name", "value": ""}}


HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
LISTEN = {"notifications": {"toolsListChanged": True}}

TABLE = {
    "initialize": Row(HELLO),
    "ping": Row(is_counted=False),
    "server/discover": Row(is_counted=False),
    "tools/list": Row(),
    "tools/call": Row({"name": "add", "arguments": {"a": 1}}, {"name": "private"}, {"name": "no_such"}),
    "resources/list": Row(),
    "resources/templates/list": Row(),
    "resources/read": Row({"uri": "memo://plain"}, {"uri": "memo://beta"}, {"uri": "memo://none"}),
    "resources/subscribe": Row({"uri": "memo://plain"}, {"uri": "memo://beta"}, {"uri": "memo://none"}),
    "resources/unsubscribe": Row({"uri": "memo://plain"}, {"uri": "memo://beta"}, {"uri": "memo://none"}),
    "prompts/list": Row(),
    "prompts/get": Row(
        {"name": "greet", "arguments": {"name": "x"}}, {"name": "of_beta_prompt"}, {"name": "no_such_prompt"}
    ),
    "completion/complete": Row(
        _complete("prompt", "greet"), _complete("prompt", "of_beta_prompt"), _complete("prompt", "no_such_prompt")
    ),
    "logging/setLevel": Row({"level": "error"}),
    "subscriptions/listen": Row(
        LISTEN,
        {"notifications": {"resourceSubscriptions": ["memo://beta"]}},
        {"notifications": {"resourceSubscriptions": ["memo://none"]}},
    ),
}

OWN, FOREIGN, NOBODYS = "own", "foreign", "nobodys"
"""Ids of tasks: `_ask` makes the first two and puts their real ids there."""
TABLE |= {
    f"tasks/{name}": Row({"taskId": OWN, **more}, {"taskId": FOREIGN, **more}, {"taskId": NOBODYS, **more})
    for name, more in {"get": {}, "update": {"inputResponses": {}}, "cancel": {}}.items()
}

_METHODS = new_world(has_sessions=True).engine.methods
HANDSHAKE = [name for name, (in_handshake, _) in _METHODS.items() if in_handshake]
STATELESS = [name for name, (_, in_stateless) in _METHODS.items() if in_stateless]
PAIRS = [*((name, "2025-11-25") for name in HANDSHAKE), *((name, STATELESS_REVISIONS) for name in STATELESS)]
EVERY = pytest.mark.parametrize(("method", "version"), PAIRS)
NAMING = pytest.mark.parametrize(
    ("method", "version"), [pair for pair in PAIRS if pair[0] in TABLE and TABLE[pair[0]].foreign is not None]
)


def test_every_method_has_a_row_in_this_table() -> None:
    assert set(_METHODS) == set(TABLE)


@pytest.fixture
def world() -> World:
    return new_world(has_sessions=True)


async def _ask(
    world: World, method: str, version: str, params: Any, *, client: Client | None = None, **rest: Any
) -> Answer:
    """A stream is left when its first frame is there."""
    headers = {"mcp-session-id": client.id} if client is not None else {}
    so_far, gone = Answer(), asyncio.Event()
    if version == STATELESS_REVISIONS:
        if method.startswith("tasks/"):
            params = {**params, "taskId": await _task(world, params["taskId"], rest["token"])}
        meta = {**envelope(), CAPABILITIES_KEY: {"extensions": {EXTENSION: {}}}}
        asking = world.modern(method, {**params, "_meta": meta}, headers=headers, into=so_far, gone=gone, **rest)
    else:
        asking = world.legacy(method, params, headers=headers, into=so_far, gone=gone, **rest)
    task = asyncio.create_task(asking)
    await until(lambda: task.done() or b"acknowledged" in so_far.body)
    gone.set()
    return await task


async def _task(world: World, whose: str, token: str) -> str:
    """The id of a task of the caller, of somebody else, or of nobody."""
    if whose == NOBODYS:
        return "x" * 43
    try:
        owner = await world.gateway.callers.authenticate(BearerToken(token if whose == OWN else "beta-viewer"))
    except NotAuthenticated:
        return "x" * 43
    task = Task.begin(Work(tool="add", arguments={}), owner, world.clock.now(), 1000.0)
    await world.gateway.tasks.create(task)
    return task.id


def _is_refused(answer: Answer) -> bool:
    return answer.header("content-type") == "application/json" and "error" in answer.json()


async def _session_for(world: World, version: str, token: str) -> Client | None:
    return None if version == STATELESS_REVISIONS else await opened(world, token=token)


@EVERY
async def test_every_method_serves_a_caller_with_the_right_token(world: World, method: str, version: str) -> None:
    client = await _session_for(world, version, "alpha-viewer")
    answer = await _ask(world, method, version, TABLE[method].params, client=client, token="alpha-viewer")
    assert answer.status == 200
    assert not _is_refused(answer), answer.body


@EVERY
async def test_every_method_without_a_token_is_401_with_a_challenge_that_names_no_error(
    world: World, method: str, version: str
) -> None:
    client = await _session_for(world, version, "alpha-viewer")
    for authorization in ({}, {"authorization": "Basic dTpw"}):
        headers = authorization | ({} if client is None else {"mcp-session-id": client.id})
        if version == STATELESS_REVISIONS:
            answer = await world.modern(method, TABLE[method].params, headers=headers, token=None)
        else:
            answer = await world.legacy(method, TABLE[method].params, headers=headers, token=None)
        assert answer.status == 401
        assert answer.header("www-authenticate") == f'Bearer resource_metadata="{METADATA_URL}", scope="stoa:read"'


EXPIRED = int((ManualClock().now() - timedelta(hours=1)).timestamp())
BAD_TOKENS = {
    "expired": forge(good_claims(exp=EXPIRED)),
    "another audience": forge(good_claims(aud="https://other.example/mcp")),
    "no audience": forge(good_claims(aud=None)),
    "another issuer": forge(good_claims(iss="https://evil.example")),
    "changed": forge()[:-6] + "AAAAAA",
    "garbage": "x.y.z",
}


@EVERY
@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_every_method_with_a_token_that_is_not_valid_is_401_invalid_token(
    method: str, version: str, token: str
) -> None:
    world = new_world(has_sessions=True, verifier=new_verifier())
    good = forge(good_claims())
    client = await _session_for(world, version, good)
    assert not _is_refused(await _ask(world, method, version, TABLE[method].params, client=client, token=good))
    refused = await _ask(world, method, version, TABLE[method].params, client=client, token=token)
    assert refused.status == 401
    assert (refused.header("www-authenticate") or "").startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize("method", [name for name in HANDSHAKE if name != "initialize"])
@pytest.mark.parametrize("stranger", ["beta-viewer", "alpha-admin", "admin"])
async def test_a_session_of_somebody_else_is_404_like_one_that_never_was(
    world: World, method: str, stranger: str
) -> None:
    client = await opened(world, token="alpha-viewer")
    foreign = await _ask(world, method, "2025-11-25", TABLE[method].params, client=client, token=stranger)
    client.id = "never-was"
    unknown = await _ask(world, method, "2025-11-25", TABLE[method].params, client=client, token=stranger)
    assert (foreign.status, foreign.json()) == (unknown.status, unknown.json())
    assert (foreign.status, foreign.json()["error"]["code"]) == (404, -32600)


async def test_initialize_begins_a_session_of_its_own_whatever_session_is_named(world: World) -> None:
    client = await opened(world, token="alpha-viewer")
    for token in ("alpha-viewer", "beta-viewer"):
        answer = await _ask(world, "initialize", "2025-11-25", HELLO, client=client, token=token)
        assert (answer.status, answer.header("mcp-session-id") == client.id) == (200, False)


@NAMING
async def test_what_is_anothers_looks_like_what_is_not_there(world: World, method: str, version: str) -> None:
    client = await _session_for(world, version, "alpha-viewer")
    replies: list[tuple[int, str]] = []
    for params in (TABLE[method].foreign, TABLE[method].unknown):
        answer = await _ask(world, method, version, params, client=client, token="alpha-viewer")
        text = answer.body.decode()
        for known in ("memo://beta", "memo://none", "of_beta_prompt", "no_such_prompt", "private", "no_such"):
            text = text.replace(known, "IT")
        replies.append((answer.status, text))
    assert replies[0] == replies[1]


CALLS = {"tools/call", "resources/read", "prompts/get"}


@EVERY
async def test_what_costs_something_counts_against_the_callers_limit_and_what_does_not_is_always_answered(
    method: str, version: str
) -> None:
    world = new_world(has_sessions=True, caller_limits={"viewer": RateLimit(requests_per_minute=1, burst=2)})
    client = await opened(world, token="alpha-viewer")  # which counts among what is no call
    admitted = 2 if method in CALLS else 2 * REQUESTS_PER_CALL - 1
    answers = [
        await _ask(
            world,
            method,
            version,
            TABLE[method].params,
            client=None if version == STATELESS_REVISIONS else client,
            token="alpha-viewer",
        )
        for _ in range(admitted + 2)
    ]
    refused = [_is_refused(answer) for answer in answers]
    assert refused == [False] * admitted + [TABLE[method].is_counted] * 2
    if TABLE[method].is_counted:
        assert answers[-1].json()["error"]["code"] == 4290
        assert int(answers[-1].header("retry-after") or 0) > 0
        assert answers[-1].status == (429 if version == STATELESS_REVISIONS else 200)


# --- what is no method: notifications, posted responses, GET and DELETE


async def _used_up(world: World, client: Client) -> None:
    """Everything but calls."""
    while (await client.ask("tools/list")).json().get("error") is None:
        pass
    assert len(world.events) == 0


async def test_calls_and_other_requests_have_allowances_of_their_own(limited: World) -> None:
    client = await opened(limited, token="alpha-viewer")
    call = {"name": "echo", "arguments": {"text": "x"}}
    while not _is_refused(await client.ask("tools/call", call)):
        pass
    assert (await opened(limited, token="alpha-viewer")).id, "a client begins and looks around above the limit of calls"
    for method in ("tools/list", "prompts/list", "resources/list", "ping"):
        assert not _is_refused(await client.ask(method))
    while not _is_refused(await client.ask("tools/list")):
        pass
    limited.clock.advance(61)  # a minute's calls
    assert not _is_refused(await client.ask("tools/call", call))


@pytest.fixture
def limited() -> World:
    return new_world(has_sessions=True, caller_limits={"viewer": RateLimit(requests_per_minute=1, burst=3)})


async def test_notifications_and_answers_are_taken_and_a_session_can_be_ended_above_the_limit(limited: World) -> None:
    client = await opened(limited, token="alpha-viewer")
    await _used_up(limited, client)
    for message in ({"method": "notifications/initialized"}, {"id": "server-1", "result": {}}):
        assert (await client.tell(message)).status == 202
    assert (await limited.modern("server/discover", token="alpha-viewer")).status == 200
    assert (await client.other("DELETE")).status == 200


async def test_a_stream_counts_against_the_limit_and_says_when_to_come_back(limited: World) -> None:
    client = await opened(limited, token="alpha-viewer")
    await _used_up(limited, client)
    answer = await client.other("GET")
    assert (answer.status, answer.json()["error"]["code"]) == (429, 4290)
    assert int(answer.header("retry-after") or 0) > 0
    limited.clock.advance(60)
    so_far, gone = Answer(), asyncio.Event()
    following = asyncio.create_task(client.other("GET", into=so_far, gone=gone))
    await until(lambda: so_far.status == 200)
    gone.set()
    await following


@pytest.mark.parametrize("http_method", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize("token", [None, *BAD_TOKENS.values()], ids=["none", *BAD_TOKENS])
async def test_streams_ends_and_notifications_need_the_token_too(http_method: str, token: str | None) -> None:
    world = new_world(has_sessions=True, verifier=new_verifier())
    client = await opened(world, token=forge(good_claims()))
    if http_method == "POST":
        answer = await client.tell({"method": "notifications/initialized"}, token=token)
    else:
        answer = await client.other(http_method, token=token)
    assert answer.status == 401
    assert (answer.header("www-authenticate") or "").startswith("Bearer ")
    assert ('error="invalid_token"' in (answer.header("www-authenticate") or "")) == (token is not None)


@pytest.mark.parametrize("stranger", ["beta-viewer", "alpha-admin", "admin"])
async def test_a_stranger_neither_follows_nor_ends_nor_notifies_a_session(world: World, stranger: str) -> None:
    client = await opened(world, token="alpha-viewer")
    for answer in (
        await client.other("GET", token=stranger),
        await client.other("GET", token=stranger, headers={"last-event-id": "s:0"}),
        await client.other("DELETE", token=stranger),
        await client.tell({"method": "notifications/cancelled", "params": {"requestId": 1}}, token=stranger),
        await client.tell({"id": "server-1", "result": {}}, token=stranger),
    ):
        assert (answer.status, answer.json()["error"]["code"]) == (404, -32600)
    assert (await client.ask("ping")).status == 200
