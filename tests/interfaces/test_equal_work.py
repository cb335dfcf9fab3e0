"""What another tenant owns takes the same work, and gets the same answer, as what nobody owns: neither the answer nor
the time that it takes says which it is.

The work is the sequence of functions called, those of libraries included, from the request to the last byte.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.doors import Answer, World, envelope, new_world

from stoa.domain.finding import Severity
from stoa.domain.operations.tool import Tool
from stoa.interfaces.mcp.methods.tasks import EXTENSION

THEIRS, UNKNOWN = "theirs", "nobody"
assert len(THEIRS) == len(UNKNOWN)
TRIES = 5
"""Of which one must be equal: now and then libraries clean up, whatever was asked for."""

ROUTED = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
TYPED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tasks": {"tasks": "optional"},
    "tasks-only": {"tasks": "required"},
    "tasks-explicit": {"tasks": "explicit"},
    "headers": {"input_schema": ROUTED},
    "headers-and-tasks": {"input_schema": ROUTED, "tasks": "optional"},
    "output": {"output_schema": TYPED},
    "arguments": {"input_schema": TYPED},
    "metered": {"input_schema": TYPED, "metered_arguments": ["n"]},
    "limited": {"rate_limit": {"requests_per_minute": 6, "burst": 1}},
    "premium": {"tags": ["premium", "stoa:admin"]},
}
_NOT_OURS = (str(Path(asyncio.__file__).parent), str(Path(__file__).parent))
Ask = Callable[[World, str], Awaitable[Answer]]


def fill(world: World, fields: dict[str, Any]) -> None:
    """Things of every kind that belong to beta, called THEIRS, and of each the same kind of alpha's and everybody's."""
    gateway = world.gateway
    for tenant, name in (("beta", THEIRS), ("alpha", "own"), (None, "shared")):
        gateway.tool(lambda: {"n": 1}, name=name, tenant=tenant)
        gateway.resource(f"memo://{name}", tenant=tenant)(lambda: "text")
        gateway.resource(f"{name}://{{topic}}", tenant=tenant)(lambda topic: topic)
        gateway.prompt(name=name, tenant=tenant)(lambda city="": city)
    made = gateway.registry.catalogue.operations.values()
    findings = gateway.registry.replace(
        Tool.model_validate({**{name: getattr(one, name) for name in Tool.model_fields}, **fields})
        if isinstance(one, Tool) and one.name in {THEIRS, "own", "shared"}
        else one
        for one in made
    )
    assert not [finding for finding in findings if finding.severity is Severity.ERROR]


def _in_both_eras(method: str, params: Callable[[str], dict[str, Any]], **rest: Any) -> dict[str, Ask]:
    async def handshake(world: World, name: str) -> Answer:
        return await world.legacy(method, params(name), token="alpha-viewer", **rest)

    async def stateless(world: World, name: str) -> Answer:
        return await world.modern(method, params(name), token="alpha-viewer", **rest)

    async def with_tasks(world: World, name: str) -> Answer:
        meta = envelope() | {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}
        return await world.modern(method, {**params(name), "_meta": meta}, token="alpha-viewer", **rest)

    return {f"{method} 2025": handshake, f"{method} 2026": stateless, f"{method} 2026 tasks": with_tasks}


def _over_rest(method: str, path: str, body: Any = None) -> Ask:
    async def ask(world: World, name: str) -> Answer:
        return await world.rest(method, path.replace("NAME", name), body, token="alpha-viewer")

    return ask


ABOUT_TOOLS: dict[str, Ask] = {
    **_in_both_eras("tools/call", lambda name: {"name": name, "arguments": {"region": "eu", "n": "x"}}),
    "REST tool": _over_rest("GET", "/tools/NAME"),
    "REST explain": _over_rest("GET", "/tools/NAME/explain"),
    "REST explain with arguments": _over_rest("POST", "/tools/NAME/explain", {"arguments": {"n": "x"}}),
    "REST invoke": _over_rest("POST", "/tools/NAME/invoke", {"arguments": {"n": "x"}}),
    **_in_both_eras("resources/read", lambda name: {"uri": f"stoa://tools/{name}"}),
}
ABOUT_CONTENTS: dict[str, Ask] = {
    **{f"memo {key}": ask for key, ask in _in_both_eras("resources/read", lambda n: {"uri": f"memo://{n}"}).items()},
    **{f"match {key}": ask for key, ask in _in_both_eras("resources/read", lambda n: {"uri": f"{n}://x"}).items()},
    **_in_both_eras("prompts/get", lambda name: {"name": name, "arguments": {"city": "x"}}),
    **{
        f"prompt {key}": ask
        for key, ask in _in_both_eras(
            "completion/complete",
            lambda name: {"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": "city", "value": ""}},
        ).items()
    },
    **{
        f"template {key}": ask
        for key, ask in _in_both_eras(
            "completion/complete",
            lambda name: {
                "ref": {"type": "ref/resource", "uri": f"{name}://{{topic}}"},
                "argument": {"name": "topic", "value": ""},
            },
        ).items()
    },
    "REST resource": _over_rest("GET", "/resources/read?uri=memo://NAME"),
    "REST template": _over_rest("GET", "/resources/read?uri=NAME://x"),
    "REST prompt": _over_rest("POST", "/prompts/NAME", {"arguments": {}}),
}
CASES = [
    *((kind, about) for kind in TOOLS for about in ABOUT_TOOLS),
    *(("plain", about) for about in ABOUT_CONTENTS),
]


async def work_of(ask: Awaitable[Answer]) -> tuple[list[str], Answer]:
    """The functions called until the answer was there, besides the event loop's own, which wakes when it likes."""
    called: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if frame.f_code.co_filename.startswith(_NOT_OURS):
            return
        if event == "call":
            called.append(f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}")
        elif event == "c_call":
            called.append(getattr(argument, "__qualname__", ""))

    sys.setprofile(note)
    try:
        answer = await ask
    finally:
        sys.setprofile(None)
    return called, answer


@pytest.mark.parametrize(("kind", "about"), CASES)
async def test_timing_and_answers_do_not_tell_another_tenants_from_what_is_unknown(kind: str, about: str) -> None:
    world = new_world()
    fill(world, TOOLS[kind])
    ask = (ABOUT_TOOLS | ABOUT_CONTENTS)[about]
    for _ in range(2):  # what is made at first use is made
        for name in (THEIRS, UNKNOWN):
            await ask(world, name)
    for _ in range(TRIES):
        unknown, no_answer = await work_of(ask(world, UNKNOWN))
        theirs, answer = await work_of(ask(world, THEIRS))
        if theirs == unknown:
            break
    assert theirs == unknown
    assert answer.status == no_answer.status
    assert _fixed_headers(answer) == _fixed_headers(no_answer)
    assert _without_ids(answer.body).replace(THEIRS, UNKNOWN) == _without_ids(no_answer.body)


def _fixed_headers(answer: Answer) -> list[tuple[str, str]]:
    """Those that are no different the next time."""
    return [pair for pair in answer.headers if pair[0] not in {"x-request-id", "ratelimit-remaining"}]


def _without_ids(body: bytes) -> str:
    """`SequentialIds` counts calls."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\bid-\d+", "ID", body.decode())


async def test_timing_is_compared_for_what_its_owner_can_use() -> None:
    """The cases above would prove nothing if what belongs to beta were not there."""
    world = new_world()
    fill(world, TOOLS["headers-and-tasks"])
    for path in ("/tools/theirs", "/resources/read?uri=memo://theirs", "/resources/read?uri=theirs://x"):
        assert (await world.rest("GET", path, token="beta-admin")).status == 200
    assert (await world.rest("POST", "/prompts/theirs", {"arguments": {}}, token="beta-admin")).status == 200
