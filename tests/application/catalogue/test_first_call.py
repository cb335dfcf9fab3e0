"""First calls: schemas of loaded operations are compiled when they are called, those of the program when it registers
them."""

import asyncio
import threading
from typing import Any

import pytest
from tests.application.pipeline import ScriptedBackend, tool

from stoa.application.catalogue.compiled_operation import CompiledOperation, CompiledTool
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.gateway import Gateway
from stoa.application.schemas.argument_schema import QUICK_BYTES, ArgumentSchema
from stoa.application.schemas.output_schema import OutputSchema
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import Invocation
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import NamedOrigin
from stoa.domain.results.result import ToolResult

ACME = TenantId("acme")
MEMBER = {"type": "integer", "description": "x" * 100}
LARGE = {"type": "object", "properties": {f"m{number}": MEMBER for number in range(QUICK_BYTES // 100)}}


def loaded(*tools: Tool) -> OperationRegistry:
    registry = OperationRegistry([ScriptedBackend([])])
    registry.adopt(registry.prepare(tools, origin_of=lambda _: NamedOrigin("manifest")))
    return registry


def found(registry: OperationRegistry, name: str = "count") -> CompiledOperation:
    compiled = registry.find(ACME, name)
    assert compiled is not None
    return compiled


def test_first_call_compiles_what_was_loaded_and_not_what_the_program_registers() -> None:
    own = OperationRegistry([ScriptedBackend([])])
    own.add([tool()])
    assert found(own).arguments.is_ready
    assert not found(loaded(tool())).arguments.is_ready


@pytest.mark.parametrize("schema", [{"type": "object", "properties": {"m1": MEMBER}}, LARGE])
async def test_first_call_makes_ready_and_checks_like_any_other(schema: dict[str, Any]) -> None:
    registry = loaded(tool(input_schema=schema, output_schema=schema))
    compiled = found(registry)
    await asyncio.gather(registry.make_ready(compiled), registry.make_ready(compiled))
    assert compiled.arguments.is_ready
    assert compiled.arguments.normalise({"m1": "7"}) == {"m1": 7}
    assert compiled.arguments.check({"m1": 7}) == ()
    with pytest.raises(InvalidArguments):
        compiled.arguments.check({"m1": []})


async def test_first_call_of_a_large_schema_does_not_compile_in_the_event_loop() -> None:
    registry = loaded(tool(input_schema=LARGE))
    compiled, threads = found(registry), list[int]()

    class Noted(CompiledTool):
        def make_ready(self) -> None:
            threads.append(threading.get_ident())
            CompiledTool.make_ready(self)

    assert isinstance(compiled, CompiledTool)
    noted = Noted(*(getattr(compiled, name) for name in CompiledTool.__match_args__))
    await registry.make_ready(noted)
    assert threads
    assert threading.get_ident() not in threads


async def test_first_call_is_answered_through_the_whole_pipeline() -> None:
    ann = Principal.of("ann", tenant="acme", roles=["cpi-admin"])
    gateway = Gateway()
    static = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Resource", "metadata": {"name": "memo"}}
    await gateway.add_manifest({**static, "spec": {"uri": "memo://a", "text": "all"}})
    compiled = gateway.registry.find(None, "memo://a", "resource")
    assert compiled is not None
    assert not compiled.arguments.is_ready
    outcome = await gateway.invoke_operation.execute(
        Invocation(name="memo://a", arguments={}, kind="resource", credential=ann, door="library")
    )
    assert outcome.content()
    assert compiled.arguments.is_ready


def test_first_use_of_a_schema_that_was_not_checked_after_all_says_so() -> None:
    with pytest.raises(InvalidInput, match="inputSchema is not a usable JSON Schema"):
        ArgumentSchema({"type": 7}, is_checked=True).check({})
    with pytest.raises(InvalidInput, match="its root must have type object"):
        OutputSchema("count", {"type": "array"}, is_checked=True).fit(ToolResult((), {}))
