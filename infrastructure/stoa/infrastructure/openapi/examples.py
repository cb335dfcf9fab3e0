"""Request examples of a description, held against its tools: what the author of an API shows must be possible."""

from collections.abc import Iterator
from typing import Any

from stoa.application.ports.spec import TriedExample
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_object
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.parameters import raw_parameters
from stoa.infrastructure.openapi.paths import ApiOperation
from stoa.infrastructure.openapi.references import Unresolvable
from stoa.infrastructure.openapi.values import plain


def tried_examples(operation: ApiOperation, tool: Tool, context: ConversionContext) -> Iterator[TriedExample]:
    """The examples of the operation's parameters and body, each tried by itself: what other parts of the request need
    is not asked for."""
    for name, arguments in _arguments(operation, tool, context):
        # A number remembers how it was written, for schemas that mean the text; a call has plain numbers.
        yield TriedExample(operation.place, name, _refusal(tool, plain(arguments)))


def _refusal(tool: Tool, arguments: JsonObject) -> str | None:
    needed = [name for name in as_array(tool.input_schema.get("required")) if name in arguments]
    try:
        schema = ArgumentSchema(
            {**tool.input_schema, "required": needed},
            validation=tool.validation,
            takes_others=tool.binding.takes_others,
        )
        schema.check(schema.normalise(arguments))
    except InvalidArguments as refused:
        return str(refused.violations[0]) if refused.violations else refused.message
    except InvalidInput as refused:
        return refused.message
    return None


def _arguments(operation: ApiOperation, tool: Tool, context: ConversionContext) -> Iterator[tuple[str, JsonObject]]:
    """Each example by its name, as arguments of the tool."""
    binding = tool.binding
    if not isinstance(binding, RestBinding):
        return
    raw = raw_parameters(operation, context)
    for bound in binding.parameters:
        for name, value in written_examples(raw.get((bound.name, bound.location), {}), context):
            yield f"{bound.location} parameter {bound.name} {name}", {bound.argument: value}
    body = binding.body
    if body is None:
        return
    for name, value in _body_values(operation, raw, body.media_type, context):
        if body.argument is not None:
            yield name, {body.argument: value}
        elif is_object(value):
            keys = {member: key for key, member in (body.fields or {}).items()}
            taken = {bound.argument for bound in binding.parameters} - keys.keys()  # no name of an undeclared member
            yield name, {keys.get(member, member): inner for member, inner in value.items() if member not in taken}


def _body_values(
    operation: ApiOperation, raw: dict[tuple[str, str], JsonObject], media_type: str, context: ConversionContext
) -> Iterator[tuple[str, Any]]:
    whole = next((parameter for (_, place), parameter in raw.items() if place == "body"), None)
    if whole is not None:
        yield from ((f"body {name}", value) for name, value in written_examples(whole, context))
        return
    try:
        body = context.references.follow(operation.content.get("requestBody"))
        content = as_object(body.get("content"))
        described = context.references.follow(content.get(media_type, content.get("application/json")))
    except Unresolvable:
        return
    yield from ((f"requestBody {media_type} {name}", value) for name, value in written_examples(described, context))


def written_examples(described: JsonObject, context: ConversionContext) -> Iterator[tuple[str, Any]]:
    """The examples of a Parameter or Media Type Object, and those of its schema where it has none itself. Generators
    write `example: null` for none."""
    if described.get("example") is not None:
        yield "example", described["example"]
        return
    named = as_object(described.get("examples"))
    for name, written in named.items():
        try:
            example = context.references.follow(written)
        except Unresolvable:
            continue
        for field in ("value", "dataValue"):
            if field in example:
                yield f"examples/{name}", example[field]
    if named:
        return
    try:
        schema = context.references.follow(described.get("schema"))
    except Unresolvable:
        return
    if schema.get("example") is not None:
        yield "schema/example", schema["example"]
    yield from ((f"schema/examples/{at}", value) for at, value in enumerate(as_array(schema.get("examples"))))
