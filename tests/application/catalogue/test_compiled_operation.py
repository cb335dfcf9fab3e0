"""Compiled operations: the permit that a call needs, and what differs between tools, resources and prompts."""

from typing import Any

import pytest
from tests.application.pipeline import ANN, SCHEMA, ScriptedBackend, tool

from stoa.application.catalogue.compiled_operation import CompiledOperation
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.ports import CallContext
from stoa.domain.calls.invocation import Invocation
from stoa.domain.errors import ContentUnavailable, InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding
from stoa.domain.policy.decision import Permit
from stoa.domain.results.redaction import REDACTED
from stoa.domain.results.result import EmbeddedResource, RawAnswer, TextContent, ToolResult

BINDING = LocalBinding(function="f")
MEMO = Resource(uri="memo://{topic}", binding=BINDING)
PROMPT = Prompt(name="greet", binding=BINDING)
ALL = [tool(), MEMO, PROMPT]


def compiled(operation: Operation) -> tuple[ScriptedBackend, CompiledOperation]:
    backend = ScriptedBackend([])
    registry = OperationRegistry([backend])
    assert registry.replace([operation]) == []
    name = "memo://ants" if operation is MEMO else operation.identifier
    found = registry.find(operation.tenant, name, operation.kind)
    assert found is not None
    return backend, found


def context(operation: Operation) -> CallContext:
    return CallContext(Permit(operation.key, ()), ANN, "r-1")


def asked(name: str, arguments: Any) -> Invocation:
    return Invocation(credential=ANN, name=name, arguments=arguments, door="library")


@pytest.mark.parametrize("operation", ALL, ids=lambda one: one.kind)
async def test_permit_of_another_operation_sends_nothing(operation: Operation) -> None:
    backend, found = compiled(operation)
    for other in (tool("other"), tool(tenant="beta"), *(one for one in ALL if one is not operation)):
        with pytest.raises(InvalidInput, match="permit"):
            await found.call({}, context(other))
    assert backend.received == []
    await found.call({}, context(operation))
    assert len(backend.received) == 1


def test_arguments_of_a_resource_are_the_variables_of_its_uri_whatever_was_sent() -> None:
    _, found = compiled(MEMO)
    assert found.arguments_of(asked("memo://ants", {"topic": "bees"})) == {"topic": "ants"}
    for operation in (tool(), PROMPT):
        _, other = compiled(operation)
        assert other.arguments_of(asked(operation.name, {"n": 1})) == {"n": 1}
        assert other.arguments_of(asked(operation.name, [1])) is None


def test_shape_of_a_tools_answer_has_structure_and_hides_what_the_policy_says() -> None:
    _, found = compiled(tool())
    answer = RawAnswer(b'{"n":1,"ssn":2}', "application/json")
    assert found.shape_answer(answer, "count", {}, ()).structured == {"n": 1, "ssn": 2}
    assert found.shape_answer(answer, "count", {}, ["/ssn"]).structured == {"n": 1, "ssn": REDACTED}


def test_shape_of_a_tools_answer_satisfies_its_output_schema_after_it_was_redacted() -> None:
    _, found = compiled(tool(output_schema={**SCHEMA, "required": ["n"]}))
    answer = ToolResult((TextContent("{}"),), {"n": 1})
    assert found.shape_answer(answer, "count", {}, ()) is answer
    hidden = found.shape_answer(answer, "count", {}, ["/n"])
    assert REDACTED not in str(hidden.structured)
    assert "1" not in str(hidden)


def test_shape_of_a_resources_answer_is_the_contents_of_its_uri() -> None:
    _, found = compiled(MEMO)
    (block,) = found.shape_answer(RawAnswer(b"x", "text/plain"), "memo://ants", {}, ()).content
    assert block == EmbeddedResource("memo://ants", "text/plain", text="x")


@pytest.mark.parametrize("operation", [MEMO, PROMPT], ids=lambda one: one.kind)
def test_shape_of_an_answer_without_structure_is_withheld_where_the_policy_hides_parts(operation: Operation) -> None:
    _, found = compiled(operation)
    with pytest.raises(ContentUnavailable):
        found.shape_answer(RawAnswer(b'{"ssn":2}', "application/json"), operation.identifier, {}, ["/ssn"])
