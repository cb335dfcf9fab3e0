"""Reads and prompts are decided, limited, metered and audited alike, whatever door they come through."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import PRINCIPALS, World, new_world
from tests.interfaces.test_parity import LIMITS, _recorded

from stoa.domain.calls.invocation import BearerToken, Invocation
from stoa.domain.operations.operation import Kind

URIS = [
    "memo://plain", "memo://bytes", "memo://items/a/3", "memo://items/a/b", "memo://items/%2e%2e/3", "memo://down",
    "memo://alpha", "memo://beta", "memo://secret", "stoa://tools/note", "stoa://tools/private", "memo://none",
]  # fmt: skip
Read = tuple[Kind, str, dict[str, Any], str | None]
Door = Callable[[World, Read], Awaitable[None]]


async def _library(world: World, read: Read) -> None:
    kind, name, arguments, token = read
    await world.gateway.invoke(name, arguments, None if token is None else BearerToken(token), kind=kind)


async def _rest(world: World, read: Read) -> None:
    kind, name, arguments, token = read
    if kind == "resource":
        await world.rest("GET", f"/resources/read?uri={quote(name, safe='')}", token=token)
    else:
        await world.rest("POST", f"/prompts/{name}", {"arguments": arguments}, token=token)


def _mcp(read: Read) -> tuple[str, dict[str, Any]]:
    kind, name, arguments, _ = read
    if kind == "resource":
        return "resources/read", {"uri": name}
    return "prompts/get", {"name": name, "arguments": arguments}


async def _stateless(world: World, read: Read) -> None:
    await world.modern(*_mcp(read), token=read[3])


async def _handshake(world: World, read: Read) -> None:
    await world.legacy(*_mcp(read), token=read[3])


tokens = st.sampled_from([*PRINCIPALS, "alpha-admin", "forged", None])
greetings = st.fixed_dictionaries({}, optional={"name": st.text(max_size=5) | st.integers(), "times": st.just("2")})
reads = st.one_of(
    st.tuples(st.just("resource"), st.sampled_from(URIS), st.just({}), tokens),
    st.tuples(
        st.just("prompt"), st.sampled_from(["greet", "media_prompt", "of_beta_prompt", "none"]), greetings, tokens
    ),
)


async def _through(door: Door, read: Read, used_up: int) -> dict[str, Any]:
    world = new_world(caller_limits=LIMITS)
    for _ in range(used_up if read[3] in PRINCIPALS else 0):
        before = Invocation(credential=BearerToken(read[3] or ""), name="no_such", arguments={}, door="library")
        await world.gateway.invoke_operation.execute(before)
    await world.gateway.flush_refusals()
    world.forget()
    await door(world, read)
    await world.gateway.flush_refusals()
    return _recorded(world)


@settings(max_examples=60, deadline=None)
@given(reads, st.sampled_from([0, 0, 2]))
async def test_every_door_decides_meters_and_audits_alike(read: Read, used_up: int) -> None:
    expected = await _through(_library, read, used_up)
    for door in (_rest, _stateless, _handshake):
        recorded = await _through(door, read, used_up)
        assert recorded == expected, door.__name__
