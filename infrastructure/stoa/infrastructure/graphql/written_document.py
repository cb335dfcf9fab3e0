"""An operation document that somebody wrote, read without a schema."""

from typing import Any, NamedTuple

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.binding import OperationType
from stoa.infrastructure.graphql.input_schema import SCALARS, value_of
from stoa.infrastructure.graphql.schema_text import parsed


class WrittenOperation(NamedTuple):
    type: OperationType
    name: str | None
    node: Any
    """The `graphql.OperationDefinitionNode`."""


def operation_of(document: str, name: str | None, where: str = "spec.graphQL.document") -> WrittenOperation:
    """The operation of that name, or the only one. Raises InvalidInput."""
    nodes = [node for node in parsed(document, where).definitions if node.kind == "operation_definition"]
    named = [node for node in nodes if name is None or (node.name is not None and node.name.value == name)]
    if len(named) != 1:
        wish = "one operation, or operationName" if name is None else f"one operation {name}"
        raise InvalidInput(f"{where}: {wish} is needed; it holds {len(nodes)} operations")
    node = named[0]
    return WrittenOperation(node.operation.value, node.name.value if node.name else None, node)


def variables_schema(operation: WrittenOperation) -> JsonObject:
    properties: JsonObject = {}
    required: list[str] = []
    for variable in operation.node.variable_definitions or ():
        name = variable.variable.name.value
        properties[name] = _schema(variable.type)
        if variable.default_value is not None:
            properties[name] = {**properties[name], "default": value_of(variable.default_value)}
        elif variable.type.kind == "non_null_type":
            required.append(name)
    schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _schema(node: Any) -> JsonObject:
    if node.kind == "non_null_type":
        return _not_null(node.type)
    schema = _not_null(node)
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema


def _not_null(node: Any) -> JsonObject:
    if node.kind == "list_type":
        return {"type": "array", "items": _schema(node.type)}
    return dict(SCALARS.get(node.name.value, {"description": f"GraphQL type {node.name.value}"}))
