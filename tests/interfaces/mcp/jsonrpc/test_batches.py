"""JSON-RPC batches, which the two oldest revisions have."""

import asyncio
from typing import Any

import pytest
from tests.interfaces.doors import World, new_world
from tests.interfaces.mcp.streams.test_sessions import opened

from stoa.domain.access.rate_limit import RateLimit
from stoa.interfaces.mcp.engine.handshake_era import MAX_BATCH

WITH_BATCHES = pytest.mark.parametrize("version", [None, "2024-11-05", "2025-03-26"])


def _ping(request_id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "ping"}


def _add(request_id: Any, a: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": "tools/call",
        "params": {"name": "add", "arguments": {"a": a}},
    }


NOTE = {"jsonrpc": "2.0", "method": "notifications/initialized"}
RESPONSE = {"jsonrpc": "2.0", "id": 1, "result": {}}


@WITH_BATCHES
async def test_batch_answers_every_request_in_one_array(world: World, version: str | None) -> None:
    answer = await world.post([_ping("p"), NOTE, _add(2, 5), {"nonsense": True}, _add(3, "x")], version=version)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    ping, add, nonsense, invalid = answer.json()
    assert ping == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert add["result"]["content"][0]["text"] == "6"
    assert (nonsense["error"]["code"], "id" in nonsense) == (-32600, False)
    assert invalid["result"]["isError"] is True
    assert [event.status.value for event in world.events] == ["success", "invalid"]


@WITH_BATCHES
@pytest.mark.parametrize("batch", [[NOTE], [RESPONSE, RESPONSE], [NOTE, RESPONSE]])
async def test_batch_without_requests_is_an_empty_202(world: World, version: str | None, batch: Any) -> None:
    answer = await world.post(batch, version=version)
    assert (answer.status, answer.body) == (202, b"")


@WITH_BATCHES
@pytest.mark.parametrize(
    "batch",
    [[], [_ping(n) for n in range(MAX_BATCH + 1)], [_ping(1), {"jsonrpc": "2.0", "id": 2, "method": "initialize"}]],
    ids=["empty", "too long", "initialize"],
)
async def test_batch_that_is_empty_too_long_or_initializes_is_refused_whole(
    world: World, version: str | None, batch: Any
) -> None:
    answer = await world.post(batch, version=version)
    assert (answer.status, answer.json()["error"]["code"], "id" in answer.json()) == (400, -32600, False)


async def test_batch_of_the_greatest_length_is_answered(world: World) -> None:
    answer = await world.post([_ping(n) for n in range(MAX_BATCH)], version="2025-03-26")
    assert [reply["id"] for reply in answer.json()] == list(range(MAX_BATCH))


async def test_batch_counts_every_call_against_the_callers_limit() -> None:
    world = new_world(caller_limits={"tenant-admin": RateLimit(requests_per_minute=1, burst=2)})
    replies = (await world.post([_add(n, 1) for n in range(4)], version="2025-03-26")).json()
    assert ["error" in reply for reply in replies] == [False, False, True, True]
    assert replies[2]["error"]["code"] == 4290


async def test_batch_of_a_stranger_is_counted_by_its_messages(world: World) -> None:
    answer = await world.post([_add(1, 1), NOTE, _add(2, 1)], version="2025-03-26", token=None)
    assert answer.status == 401
    await world.gateway.flush_refusals()
    counted = [(event.status.value, event.tool, event.calls) for event in world.events]
    assert counted == [("unauthorized", "(unknown)", 3)]


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26"])
async def test_batch_belongs_to_a_session_as_a_whole_and_follows_its_revision(revision: str) -> None:
    world = new_world(has_sessions=True)
    client = await opened(world, revision=revision)
    headers: dict[str, str | None] = {"mcp-session-id": client.id}
    answer = await world.post([_ping(1), NOTE, _add(2, 1)], headers=headers)
    assert [reply["id"] for reply in answer.json()] == [1, 2]
    assert (await world.post([_ping(1)], headers=headers, token="beta-viewer")).status == 404
    assert (await world.post([_ping(1)], headers={"mcp-session-id": "stale"})).status == 404
    newer = await opened(world, revision="2025-11-25")
    refused = await world.post([_ping(1)], version="2025-03-26", headers={"mcp-session-id": newer.id})
    assert (refused.status, refused.json()["error"]["code"]) == (400, -32600)


async def test_batch_member_can_be_cancelled_and_the_others_are_answered() -> None:
    world, started = new_world(has_sessions=True), asyncio.Event()

    @world.gateway.tool
    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    client = await opened(world, revision="2025-03-26")
    headers: dict[str, str | None] = {"mcp-session-id": client.id}
    call = {"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": {"name": "forever"}}
    batch = asyncio.create_task(world.post([_ping(1), call, _add(2, 1)], headers=headers))
    await started.wait()
    await client.tell({"method": "notifications/cancelled", "params": {"requestId": "slow"}})
    ping, cancelled, add = (await batch).json()
    assert (ping["id"], cancelled["error"]["code"], add["id"]) == (1, -32800, 2)
    assert [event.status.value for event in world.events] == ["cancelled", "success"]
