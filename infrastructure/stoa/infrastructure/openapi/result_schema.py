"""The output schema of a tool: the schema of the first successful JSON response, if it is an object and not too large.

Lenient on purpose: clients refuse results that violate it, and real responses do (see `OUTPUT_DIALECT`).
"""

from typing import Any

from stoa.domain.schema.inlining import SIZE_LIMIT
from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.infrastructure.openapi.accept import successful_codes
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.node import Node, description_of
from stoa.infrastructure.openapi.object_members import members_of_alternatives, object_members
from stoa.infrastructure.openapi.paths import ApiOperation
from stoa.infrastructure.openapi.references import Unresolvable

_PREFERRED = ("200", "201", "2XX")


def result_schema_of(operation: ApiOperation, context: ConversionContext) -> JsonObject | None:
    described = _schema_of_response(operation, context)
    if described is None:
        return None
    node = context.outputs.node(described, f"{operation.place} result")
    members = object_members(node, context.outputs) or members_of_alternatives(node, context.outputs)
    if members is None:
        return _other_object(node, context)
    bundle = context.output_bundler.bundle(members.properties)
    if bundle.size > SIZE_LIMIT:
        context.too_large_results += 1
        return None
    schema: JsonObject = {"type": "object", "properties": bundle.schemas}
    required = [name for name in members.required if name in members.properties]
    if required:
        schema["required"] = required
    return _finished(schema, bundle.definitions, description_of(node), context)


def _other_object(node: Node, context: ConversionContext) -> JsonObject | None:
    """Objects without named members (maps), or with alternatives next to them."""
    bundle = context.output_bundler.bundle({"result": node})
    schema = bundle.schemas["result"]
    if schema.get("type") != "object" or bundle.size > SIZE_LIMIT:
        return None
    return _finished(schema, bundle.definitions, "", context)


def _finished(
    schema: JsonObject, definitions: JsonObject, description: str, context: ConversionContext
) -> JsonObject | None:
    finished = {**schema, **({"description": description} if description else {})}
    finished.setdefault("properties", {})
    if definitions:
        finished["$defs"] = definitions
    return finished if context.usable_schemas.has(finished) else None


def _schema_of_response(operation: ApiOperation, context: ConversionContext) -> Any:
    responses = as_object(operation.content.get("responses"))
    successful = [code for code in successful_codes(responses) if len(code) == 3 or code == "default"]
    for code in dict.fromkeys([*(code for code in _PREFERRED if code in responses), *successful]):
        try:
            response = context.references.follow(responses[code])
            is_swagger = context.document.is_swagger or ("schema" in response and "content" not in response)
            if is_swagger and not context.document.is_swagger:
                message = f"response {code}: `schema` without `content` is of 2.0; read as that of JSON"
                context.report.warning(operation.place, message)
            schema = _swagger_schema(response) if is_swagger else _json_schema(response, context)
        except Unresolvable:
            continue  # costs a description, nothing else
        if is_object(schema):
            return schema
    return None


def _swagger_schema(response: JsonObject) -> Any:
    return response.get("schema")


def _json_schema(response: JsonObject, context: ConversionContext) -> Any:
    content = as_object(response.get("content"))
    types = sorted(content, key=lambda name: not name.lower().startswith("application/json"))
    for name in types:
        essence = name.partition(";")[0].strip().lower()
        if essence in {"application/json", "*/*"} or essence.endswith("+json"):
            return context.references.follow(content[name]).get("schema")
    return None
