"""JSON or event stream, late answers, and clients that go away."""

import asyncio
from typing import Any

import pytest
from tests.interfaces.doors import STATELESS_REVISIONS, World, new_world

from stoa.domain.metering.event import Status

ERAS = pytest.mark.parametrize("version", ["2025-11-25", STATELESS_REVISIONS])
CALL = {"name": "add", "arguments": {"a": 1}}


async def _ask(world: World, version: str, method: str, params: Any = None, **rest: Any) -> Any:
    if version == STATELESS_REVISIONS:
        return await world.modern(method, params, **rest)
    return await world.legacy(method, params, **rest)


@ERAS
@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/json",
        "application/*",
        "Application/JSON;q=0.9",
        "application/json, text/event-stream",
    ],
)
async def test_response_is_json_for_every_client_that_takes_json(world: World, version: str, accept: Any) -> None:
    answer = await _ask(world, version, "tools/call", CALL, headers={"accept": accept})
    assert (answer.status, answer.header("content-type")) == (200, "application/json")


@ERAS
@pytest.mark.parametrize("accept", ["text/event-stream", "text/*", "Text/Event-Stream"])
async def test_response_is_one_event_for_a_client_that_takes_only_events(
    world: World, version: str, accept: str
) -> None:
    answer = await _ask(world, version, "tools/call", CALL, request_id="e", headers={"accept": accept})
    assert (answer.status, answer.header("cache-control")) == (200, "no-cache, no-transform")
    assert answer.header("x-accel-buffering") == "no"
    (message,) = answer.events()
    assert (message["id"], message["result"]["content"][0]["text"]) == ("e", "2")
    assert b"id:" not in answer.body.split(b"data:")[0]


async def test_response_keeps_the_status_of_a_refusal_for_a_client_that_takes_only_events(world: World) -> None:
    only_events = {"accept": "text/event-stream"}
    assert (await world.modern("no/such", headers=only_events)).status == 404
    assert (await world.modern("tools/list", headers=only_events, token=None)).status == 401
    note = await world.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=only_events)
    assert (note.status, note.body) == (202, b"")


def _slow_world(**options: Any) -> tuple[World, asyncio.Event, asyncio.Event]:
    """A gateway with a tool that waits, what tells that it was called, and what lets it end."""
    world, called, finish = new_world(**options), asyncio.Event(), asyncio.Event()

    @world.gateway.tool
    async def slow() -> str:
        called.set()
        await finish.wait()
        return "done"

    return world, called, finish


@ERAS
async def test_response_that_is_late_becomes_a_stream_of_pings_and_then_the_message(version: str) -> None:
    world, called, finish = _slow_world(late_seconds=0.005)
    asking = asyncio.create_task(_ask(world, version, "tools/call", {"name": "slow"}, request_id=5))
    await called.wait()
    asyncio.get_running_loop().call_later(0.12, finish.set)
    answer = await asking
    (message,) = answer.events()
    assert (message["id"], message["result"]["content"][0]["text"]) == (5, "done")
    assert answer.chunks.count(b": ping\n\n") >= 2
    assert answer.chunks[-1].startswith(b"event: message\n")


async def test_response_that_is_a_late_error_ends_the_stream() -> None:
    world, called, finish = _slow_world(late_seconds=0.005)

    @world.gateway.tool
    async def slowly_crashing() -> None:
        called.set()
        await finish.wait()
        raise RuntimeError

    asking = asyncio.create_task(world.modern("tools/call", {"name": "slowly_crashing"}))
    await called.wait()
    asyncio.get_running_loop().call_later(0.1, finish.set)
    answer = await asking
    assert answer.status == 200
    assert answer.events()[0]["error"]["code"] == -32603


async def test_response_that_is_late_stays_json_for_a_client_that_takes_no_events() -> None:
    world, called, finish = _slow_world(late_seconds=0.005)
    headers = {"accept": "application/json"}
    asking = asyncio.create_task(world.modern("tools/call", {"name": "slow"}, headers=headers))
    await called.wait()
    asyncio.get_running_loop().call_later(0.1, finish.set)
    answer = await asking
    assert answer.header("content-type") == "application/json"
    assert answer.json()["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("turns", range(12))
async def test_response_is_whole_when_the_answer_comes_just_as_streaming_begins(
    turns: int,
) -> None:
    world = new_world(late_seconds=0, attend_after_seconds=0)

    @world.gateway.tool
    async def brief() -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return "done"

    answer = await world.modern("tools/call", {"name": "brief"})
    message = answer.json() if answer.header("content-type") == "application/json" else answer.events()[0]
    assert message["result"]["content"][0]["text"] == "done"


async def test_disconnect_cancels_the_call_in_the_stateless_era() -> None:
    world, called, _ = _slow_world()
    gone = asyncio.Event()
    asking = asyncio.create_task(world.modern("tools/call", {"name": "slow"}, gone=gone))
    await called.wait()
    gone.set()
    answer = await asking
    assert (answer.status, answer.body) == (0, b"")
    assert [(event.status, event.tool) for event in world.events] == [(Status.CANCELLED, "slow")]
    assert [line["status"] for line in world.audit_lines()] == ["cancelled"]


async def test_disconnect_from_a_stream_cancels_the_call_in_the_stateless_era() -> None:
    world, called, _ = _slow_world(late_seconds=0.001)
    gone = asyncio.Event()
    asking = asyncio.create_task(world.modern("tools/call", {"name": "slow"}, gone=gone))
    await called.wait()
    asyncio.get_running_loop().call_later(0.1, gone.set)
    answer = await asking
    assert answer.events() == []
    assert [event.status for event in world.events] == [Status.CANCELLED]
    sent = len(answer.chunks)
    await asyncio.sleep(0.01)
    assert len(answer.chunks) == sent, "nothing is sent to a client that is gone"


async def test_disconnect_does_not_cancel_the_call_in_the_handshake_era() -> None:
    world, called, finish = _slow_world()
    gone = asyncio.Event()
    asking = asyncio.create_task(world.legacy("tools/call", {"name": "slow"}, gone=gone))
    await called.wait()
    gone.set()
    await asyncio.sleep(0.08)
    assert world.events == []
    finish.set()
    await asking
    assert [event.status for event in world.events] == [Status.SUCCESS]


async def test_shutdown_cancels_the_call_and_meters_it_as_cancelled() -> None:
    world, called, _ = _slow_world(late_seconds=0.001)
    asking = asyncio.create_task(world.modern("tools/call", {"name": "slow"}))
    await called.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [event.status for event in world.events] == [Status.CANCELLED]


async def test_cancelled_notification_does_not_reach_another_callers_request() -> None:
    world, called, finish = _slow_world()
    asking = asyncio.create_task(world.modern("tools/call", {"name": "slow"}, request_id=9))
    await called.wait()
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
    assert (await world.post(note, version=STATELESS_REVISIONS, token="beta-viewer")).status == 202
    finish.set()
    assert (await asking).json()["result"]["content"][0]["text"] == "done"


class _Broken:
    def __init__(self, engine: Any) -> None:
        self.admit = engine.admit

    def refuse_stranger(self, *_: Any) -> None:
        pass

    async def answer(self, _: Any) -> Any:
        raise RuntimeError("s3cr3t")


async def test_engine_defect_is_an_internal_error_that_leaks_nothing(world: World) -> None:
    world.mcp._engine = _Broken(world.mcp._engine)  # type: ignore[assignment]
    answer = await world.modern("tools/list")
    assert (answer.status, answer.json()["error"]) == (500, {"code": -32603, "message": "Internal error"})
