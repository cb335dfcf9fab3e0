"""The trace of a caller at every door that carries one: MCP's `_meta` and HTTP's headers."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.interfaces.doors import World, envelope

from stoa.domain.calls.trace_context import TraceContext

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT, OTHER = f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE}-00f067aa0ba902b8-00"
READ = TraceContext.parse(PARENT, "a=b")
HEADERS = {"traceparent": PARENT, "tracestate": "a=b"}
CALL = {"name": "add", "arguments": {"a": 1}}


def trace_of(world: World) -> TraceContext | None:
    return world.observer.seen[-1][0].trace


@pytest.mark.parametrize(
    ("meta", "headers", "expected"),
    [
        ({}, {}, None),
        ({}, HEADERS, READ),
        (HEADERS, {}, READ),
        (HEADERS, {"traceparent": OTHER}, READ),
        ({"traceparent": 7}, HEADERS, None),
        ({}, {"traceparent": "nonsense", "tracestate": "a=b"}, None),
    ],
)
async def test_trace_context_of_an_mcp_call_is_its_messages_else_its_requests(
    world: World, meta: Mapping[str, Any], headers: Mapping[str, str], expected: TraceContext | None
) -> None:
    assert (await world.modern("tools/call", {**CALL, "_meta": envelope() | dict(meta)}, headers=headers)).status == 200
    assert trace_of(world) == expected
    params = {**CALL, **({"_meta": meta} if meta else {})}
    assert (await world.legacy("tools/call", params, headers=headers)).status == 200
    assert trace_of(world) == expected


async def test_trace_context_of_a_rest_call_is_its_headers(world: World) -> None:
    body = {"arguments": {"a": 1}}
    assert (await world.rest("POST", "/tools/add/invoke", body, headers=HEADERS)).status == 200
    assert trace_of(world) == READ
    assert (await world.rest("POST", "/tools/add/invoke", body)).status == 200
    assert trace_of(world) is None


async def test_trace_context_is_in_no_event_and_no_line_of_the_audit_trail(world: World) -> None:
    meta = envelope() | {"traceparent": PARENT, "tracestate": "a=secret"}
    assert (await world.modern("tools/call", {**CALL, "_meta": meta})).status == 200
    kept = json.dumps([event.model_dump(mode="json") for event in world.events]) + json.dumps(world.audit_lines())
    assert not [text for text in (TRACE, "secret") if text in kept]
