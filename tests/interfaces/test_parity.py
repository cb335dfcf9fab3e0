"""One pipeline behind every door: the same call is decided, limited, metered and audited alike, however it comes in."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import PRINCIPALS, SECRET, STATELESS_REVISIONS, World, new_world

from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.calls.invocation import BearerToken, Invocation, Outcome
from stoa.domain.errors import InvalidArguments, NotPermitted, StoaError
from stoa.domain.results.result import TextContent
from stoa.interfaces.cli.call import call_through
from stoa.interfaces.cli.common import arguments_of
from stoa.interfaces.wire.errors import wire_error

LIMIT = RateLimit(requests_per_minute=60, burst=3)
LIMITS = dict.fromkeys(("cpi-admin", "tenant-admin", "viewer"), LIMIT)


@dataclass(frozen=True)
class Call:
    """A call as a caller thinks of it."""

    tool: str
    arguments: Any
    token: str | None
    tenant: str | None
    used_up: int
    """Requests that the caller has made just before."""

    @property
    def query(self) -> str:
        return "" if self.tenant is None else f"?tenant_id={self.tenant}"


@dataclass(frozen=True)
class Said:
    """What a door told its caller."""

    status: int
    error: str | None
    text: str
    is_error: bool = False


Door = Callable[[World, Call], Awaitable[Said]]


async def _library(world: World, call: Call) -> Said:
    credential = None if call.token is None else BearerToken(call.token)
    outcome = await world.gateway.invoke(call.tool, call.arguments, credential, tenant=call.tenant)
    if outcome.error is not None:
        return Said(wire_error(outcome.error).http_status, outcome.error.code, outcome.error.message)
    assert outcome.result is not None
    return Said(200, None, _text(outcome), outcome.result.is_error)


async def _rest(world: World, call: Call) -> Said:
    path = f"/tools/{call.tool}/invoke{call.query}"
    answer = await world.rest("POST", path, {"arguments": call.arguments}, token=call.token)
    body = answer.json()
    if "error" in body:
        return Said(answer.status, body["error"], body["message"])
    return Said(answer.status, None, body["result"]["content"][0]["text"], body["result"]["isError"])


async def _stateless(world: World, call: Call) -> Said:
    params = {"name": call.tool, "arguments": call.arguments}
    return _mcp(
        world, await world.modern("tools/call", params, token=call.token, query=call.query), STATELESS_REVISIONS
    )


async def _handshake(world: World, call: Call) -> Said:
    params = {"name": call.tool, "arguments": call.arguments}
    version = "2025-11-25"
    return _mcp(world, await world.legacy("tools/call", params, token=call.token, query=call.query), version)


def _mcp(world: World, answer: Any, version: str) -> Said:
    """MCP tells some refusals in a result, and most HTTP statuses not at all; which is checked here."""
    body = answer.json()
    if answer.status == 401:
        assert body["error"]["code"] == 4010
        return Said(401, body["error"]["data"]["code"], body["error"]["message"])
    error = world.observer.seen[-1][1].error
    if "result" in body:
        result = body["result"]
        text, is_error = result["content"][0]["text"], result.get("isError", False)
        assert answer.status == 200
        if error is None:
            return Said(200, None, text, is_error)
        assert is_error
        assert isinstance(error, (InvalidArguments, NotPermitted))
        return Said(wire_error(error).http_status, error.code, text)
    assert error is not None
    said = body["error"]
    assert said["code"] == wire_error(error).rpc_code
    expected = wire_error(error).http_status
    if expected not in {401, 403} and version != STATELESS_REVISIONS:
        assert answer.status == 200
    elif said["code"] == -32602:
        assert answer.status == 400
    else:
        assert answer.status == (200 if expected >= 500 else expected)
    return Said(expected, said["data"]["code"], said["message"])


async def _cli(world: World, call: Call) -> Said:
    pairs = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in call.arguments.items()]
    try:
        code = await call_through(world.gateway, call.tool, arguments_of(pairs), call.token, tenant=call.tenant)
    except StoaError as error:
        return Said(wire_error(error).http_status, error.code, error.message)
    outcome = world.observer.seen[-1][1]
    assert outcome.result is not None
    assert code == int(outcome.result.is_error)
    return Said(200, None, _text(outcome), outcome.result.is_error)


def _text(outcome: Outcome) -> str:
    assert outcome.result is not None
    block = outcome.result.content[0]
    assert isinstance(block, TextContent)
    return block.text


DOORS: dict[str, Door] = {
    "library": _library,
    "rest": _rest,
    "mcp, stateless": _stateless,
    "mcp, handshake": _handshake,
    "cli": _cli,
}


def _recorded(world: World) -> dict[str, Any]:
    """Everything that must not depend on the door."""
    if not world.observer.seen:
        return _counted(world)
    (invocation, outcome), events, lines = world.observer.seen[-1], world.events, world.audit_lines()
    assert len(world.observer.seen) == len(events) == len(lines) == 1
    event = events[0].model_dump(mode="json", exclude={"event_id", "request_id", "timestamp", "consumer"})
    assert event["metadata"].pop("door") == invocation.door
    event["metadata"].pop("coerced", None)  # arguments on a command line are text
    varying = {"event_id", "request_id", "timestamp", "consumer", "door"}
    return {
        "decision": outcome.decision,
        "status": outcome.status,
        "error": None if outcome.error is None else outcome.error.code,
        "cost": outcome.cost,
        "principal": outcome.principal,
        "event": event,
        "audit": {name: value for name, value in lines[0].items() if name not in varying},
    }


def _counted(world: World) -> dict[str, Any]:
    """Of a stranger's call."""
    (event,), (line,), ((_, status, error),) = world.events, world.audit_lines(), world.observer.counted
    varying = {"event_id", "timestamp", "door", "since"}
    return {
        "status": status,
        "error": error,
        "event": {**event.model_dump(mode="json", exclude=varying), "metadata": event.metadata["error"]},
        "audit": {name: value for name, value in line.items() if name not in varying},
    }


@cache
def _world_of(door: Door) -> World:
    return new_world(caller_limits=LIMITS)


async def _through(door: Door, call: Call) -> tuple[dict[str, Any], Said]:
    """What was recorded and said, in a world where nothing happened before: every limit has had time to recover."""
    world = _world_of(door)
    world.clock.advance(3600)
    if call.token in PRINCIPALS:
        before = Invocation(credential=PRINCIPALS[call.token], name="no_such", arguments={}, door="library")
        for _ in range(call.used_up):
            await world.gateway.invoke_operation.execute(before)
        await world.gateway.flush_refusals()
    world.forget()
    said = await door(world, call)
    await world.gateway.flush_refusals()
    return _recorded(world), replace(said, text=said.text.replace(world.events[0].event_id, "(event id)"))


def _is_sayable_on_a_command_line(call: Call) -> bool:
    """Arguments are text there: an object of members, in which a string cannot be anything but a string, and a number
    that is written with a fraction is no integer."""
    if not isinstance(call.arguments, dict):
        return False
    if any(isinstance(value, float) and value.is_integer() for value in call.arguments.values()):
        return False
    return call.tool != "note" or isinstance(call.arguments.get("text", ""), str)


numbers = st.integers(-(2**60), 2**60)
plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
json_values = st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | plain
wrong = json_values | st.lists(json_values, max_size=2) | st.dictionaries(plain, json_values, max_size=2)
arguments: dict[str, st.SearchStrategy[Any]] = {
    "add": st.fixed_dictionaries({"a": numbers}, optional={"b": numbers | wrong, "c": wrong})
    | st.fixed_dictionaries({}, optional={"a": wrong, "b": numbers.map(str)}),
    "echo": st.fixed_dictionaries({"value": st.dictionaries(plain, wrong, max_size=2)})
    | st.fixed_dictionaries({}, optional={"value": wrong}),
    "note": st.fixed_dictionaries({}, optional={"text": plain | wrong}),
}
NAMES = ["table", "listing", "refuses", "crash", "down", "late", "nonsense", "wipe", "rare", "private", "no-such-tool"]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    tool = draw(st.sampled_from([*NAMES, *arguments, *arguments]))
    fitting = arguments.get(tool, st.just({}) | st.fixed_dictionaries({"x": wrong}))
    return Call(
        tool=tool,
        arguments=draw(fitting | fitting | fitting | st.just([]) | st.just("x")),
        token=draw(st.sampled_from([*PRINCIPALS, "alpha-admin", "alpha-viewer", "forged", None])),
        tenant=draw(st.sampled_from([None, None, None, "alpha", "beta", "nobody"])),
        used_up=draw(st.sampled_from([0, 0, 2, 3, 4])),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls())
async def test_every_door_decides_answers_meters_and_audits_alike(
    capsys: pytest.CaptureFixture[str], call: Call
) -> None:
    expected = await _through(_library, call)
    for name, door in DOORS.items():
        if name == "cli" and not _is_sayable_on_a_command_line(call):
            continue
        recorded, said = await _through(door, call)
        assert recorded == expected[0], name
        if name == "cli" and said.error == "invalid_arguments":
            said = replace(said, text=expected[1].text)  # it calls the text wrong that it could not read as a value
        assert said == expected[1], name
        assert SECRET not in said.text
    capsys.readouterr()


@pytest.mark.parametrize(
    ("call", "status", "error"),
    [
        (Call("add", {"a": 1}, "alpha-viewer", None, 0), "success", None),
        (Call("add", {"a": 1}, "alpha-viewer", None, 3), "rate_limited", "rate_limited"),
        (Call("add", {"a": 1}, None, None, 0), "unauthorized", "not_authenticated"),
        (Call("add", {"a": 1}, "forged", None, 0), "unauthorized", "not_authenticated"),
        (Call("add", {"a": "x"}, "alpha-viewer", None, 0), "invalid", "invalid_arguments"),
        (Call("wipe", {}, "alpha-viewer", None, 0), "unauthorized", "not_permitted"),
        (Call("private", {}, "alpha-admin", None, 0), "invalid", "tool_not_found"),
        (Call("private", {}, "alpha-admin", "beta", 0), "invalid", "tool_not_found"),
        (Call("private", {}, "admin", "beta", 0), "success", None),
        (Call("down", {}, "alpha-viewer", None, 0), "error", None),
        (Call("late", {}, "alpha-viewer", None, 0), "timeout", None),
        (Call("crash", {}, "alpha-viewer", None, 0), "error", "internal"),
    ],
    ids=lambda value: f"{value.tool} by {value.token}" if isinstance(value, Call) else None,
)
async def test_what_every_door_records_is_what_happened(call: Call, status: str, error: str | None) -> None:
    for name, door in DOORS.items():
        recorded, said = await _through(door, call)
        assert (recorded["status"].value, recorded["event"]["status"], recorded["audit"]["status"]) == (status,) * 3, (
            name
        )
        assert (recorded["error"], recorded["audit"]["error"], said.error) == (error,) * 3, name


async def test_the_door_itself_is_told_to_policy_metering_and_audit() -> None:
    seen: dict[str, str] = {}
    for name, door in DOORS.items():
        world = new_world()
        await door(world, Call("table", {}, "alpha-viewer", None, 0))
        seen[name] = world.events[0].metadata["door"]
        assert world.audit_lines()[0]["door"] == seen[name]
    expected = {"library": "library", "rest": "rest", "mcp, stateless": "mcp", "mcp, handshake": "mcp", "cli": "cli"}
    assert seen == expected


async def test_the_pipeline_itself_is_what_the_library_door_calls(world: World) -> None:
    invocation = Invocation(
        credential=BearerToken("alpha-viewer"), name="table", arguments={}, door="library", tenant=TenantId("alpha")
    )
    outcome = await world.gateway.invoke_operation.execute(invocation)
    assert outcome.status.value == "success"
