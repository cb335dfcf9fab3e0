"""A GraphQL tool behind every door: decided, metered, audited and answered alike."""

import pytest
from tests.infrastructure.graphql.peer import shop
from tests.interfaces.doors import new_world
from tests.interfaces.test_parity import DOORS, Call, _recorded

from stoa.domain.operations.tool import Tool

ECHO = {"text": "hi"}
CALLS = [
    (Call("shop-echo", ECHO, "alpha-viewer", None, 0), "success", '{"data":{"echo":{"text":"hi"}}}'),
    (Call("shop-echo", {}, "alpha-viewer", None, 0), "invalid", "Invalid arguments"),
    (Call("shop-echo", {**ECHO, "fields": "nope"}, "alpha-viewer", None, 0), "invalid", "Invalid arguments: /fields"),
    (Call("shop-refuse", {}, "alpha-viewer", None, 0), "error", "GraphQL errors\nrefuse: short and stout [TEAPOT]"),
    (Call("shop-addBook", {"book": {}}, "alpha-viewer", None, 0), "unauthorized", "Not permitted"),
]


@pytest.mark.parametrize(("call", "status", "text"), CALLS, ids=lambda value: getattr(value, "tool", ""))
async def test_graphql_tool_is_decided_answered_metered_and_audited_alike_by_every_door(call, status, text):
    recorded = {}
    async with shop() as server:
        for name, door in DOORS.items():
            world = new_world(backends=[server.backend])
            for tool in server.tools(mutations=True):
                world.gateway.add(Tool.model_validate({**tool.model_dump(), "name": f"shop-{tool.name}"}))
            said = await door(world, call)
            assert text.replace(" ", "") in said.text.replace(" ", ""), name
            recorded[name] = _recorded(world)
            assert recorded[name]["event"]["status"] == status, name
            assert recorded[name] == recorded["library"], name
