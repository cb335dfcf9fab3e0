"""Converts one operation to one tool: binding, input schema, result schema, texts and hints."""

from dataclasses import dataclass, field
from typing import Any

import pydantic

from stoa.domain.operations.tool import ApiReference, RestBinding, RestBody, RestParameter, Tool, Validation
from stoa.domain.schema.json_value import JsonObject, as_text, texts_in
from stoa.domain.schema.plain_text import PlainParts
from stoa.infrastructure.openapi.accept import accept_of
from stoa.infrastructure.openapi.argument_names import ArgumentNames
from stoa.infrastructure.openapi.body import Body, body_of
from stoa.infrastructure.openapi.conditions import condition_sentence
from stoa.infrastructure.openapi.continuations import continuation_of, may_be_accepted
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.node import Node, described_node, description_of
from stoa.infrastructure.openapi.object_members import ObjectMembers
from stoa.infrastructure.openapi.parameters import Parameter, fixed_query, parameters_of, raw_parameters
from stoa.infrastructure.openapi.path_parameters import matched
from stoa.infrastructure.openapi.paths import ApiOperation, CannotConvert, take_apart
from stoa.infrastructure.openapi.response_headers import response_headers_of
from stoa.infrastructure.openapi.result_schema import result_schema_of
from stoa.infrastructure.openapi.text import TITLE_LIMIT, described, line, peculiarity, with_sentence

_OWN_TAGS = "stoa:"
_NAME_LIMIT = 120
"""Characters of an argument's name at the API, in its description."""


@dataclass(slots=True)
class _Arguments:
    """The tool's arguments while they are collected: key to schema, and the keys that must be given."""

    schemas: dict[str, Node]
    required: list[str]
    sizes: JsonObject = field(default_factory=dict[str, Any])
    """Bounds on their number, as far as the root can state them."""


def tool_of(operation: ApiOperation, name: str, base_url: str, api: ApiReference, context: ConversionContext) -> Tool:
    """The tool for an operation. Raises CannotConvert if no tool can call it."""
    raw = raw_parameters(operation, context)
    path, raw = matched(take_apart(operation.path), raw, operation, context)
    parameters = parameters_of(operation, path, raw, context)
    body = body_of(operation, raw, context)
    names, arguments = ArgumentNames(), _Arguments({}, [])
    options, content = context.options, operation.content
    try:
        binding = RestBinding(
            method=operation.method,
            base_url=base_url,
            path=path.template,
            parameters=_bound_parameters(parameters, names, arguments),
            fixed_query=fixed_query(path, parameters),
            body=_bound_body(body, names, arguments, options.validation) if body is not None else None,
            accept=accept_of(operation, context),
            response_headers=response_headers_of(operation, context),
        )
        summary = as_text(content.get("summary"))
        _report_peculiar_words(operation, context)
        output_schema = result_schema_of(operation, context)
        sentences = [
            _condition_sentence(body, binding.body),
            continuation_of(operation, parameters, output_schema, context),
        ]
        return _made_tool(
            context.plain_parts,
            name=name,
            tenant=options.tenant,
            title=line(summary, TITLE_LIMIT) or None,
            description=with_sentence(
                described(
                    summary,
                    as_text(content.get("description")),
                    operation.place,
                    is_deprecated=content.get("deprecated") is True,
                ),
                " ".join(filter(None, sentences)),
            ),
            input_schema=_input_schema(arguments, operation, context),
            output_schema=output_schema,
            icons=context.icons,
            tags=_tags(operation, context),
            version=api.version,
            api=ApiReference(name=api.name, version=api.version, operation_id=operation.operation_id),
            binding=binding,
            timeout_seconds=options.timeout_seconds,
            rate_limit=options.rate_limit,
            authentication=context.security.authentication_of(operation),
            metered_arguments=tuple(name for name in options.metered_arguments if name in arguments.schemas),
            validation=options.validation,
            tasks="explicit" if may_be_accepted(operation) else "never",
        )
    except pydantic.ValidationError as caught:
        fields = ", ".join(sorted({".".join(map(str, problem["loc"])) for problem in caught.errors()}))
        raise CannotConvert(f"cannot be expressed as a tool ({fields})") from caught


def _made_tool(plain_parts: PlainParts, **fields: Any) -> Tool:
    """The tool of these fields. Only `model_validate` takes a context, with which parts that many tools share are made
    plain once."""
    return Tool.model_validate(fields, context=plain_parts)


def _report_peculiar_words(operation: ApiOperation, context: ConversionContext) -> None:
    for part in ("summary", "description"):
        if (peculiar := peculiarity(as_text(operation.content.get(part)))) is not None:
            context.report.warning(operation.place, f"{part}: {peculiar}")


def _bound_parameters(
    parameters: list[Parameter], names: ArgumentNames, arguments: _Arguments
) -> tuple[RestParameter, ...]:
    keys = names.of_parameters([(parameter.name, parameter.location) for parameter in parameters])
    bound: list[RestParameter] = []
    for key, parameter in zip(keys, parameters, strict=True):
        arguments.schemas[key] = _renamed(key, parameter.name, f"{parameter.location} parameter", parameter.schema)
        if parameter.is_required:
            arguments.required.append(key)
        bound.append(
            RestParameter(
                argument=key,
                name="" if parameter.is_whole_query else parameter.name,
                location=parameter.location,
                style=parameter.style,
                explode=parameter.explode,
                allow_reserved=parameter.allow_reserved,
                is_json=parameter.is_json,
                required=parameter.is_required,
            )
        )
    return tuple(bound)


def _bound_body(body: Body, names: ArgumentNames, arguments: _Arguments, validation: Validation) -> RestBody:
    if body.members is None:
        key = names.of_body()
        arguments.schemas[key] = body.schema
        arguments.required += [key] if body.is_required else []
        return RestBody(
            media_type=body.media_type, argument=key, required=body.is_required, form=body.form, xml=body.xml
        )
    if set(arguments.required) == arguments.schemas.keys():  # else how many are of the body cannot be told
        arguments.sizes = _sizes(body.members, len(arguments.schemas))
    written = list(body.members.properties)
    fields = dict(zip(names.of_members(written), written, strict=True))
    needed = set(body.members.required)
    for key, member in fields.items():
        arguments.schemas[key] = _renamed(key, member, "body member", body.members.properties[member])
        arguments.required += [key] if member in needed else []
    return RestBody(
        media_type=body.media_type,
        fields=fields,
        required=body.is_required,
        form=body.form,
        xml=body.xml,
        takes_others=validation != "strict",
    )


def _condition_sentence(body: Body | None, bound: RestBody | None) -> str:
    if body is None or body.members is None or bound is None or bound.fields is None:
        return ""
    return condition_sentence(body.members, {member: key for key, member in bound.fields.items()})


def _sizes(members: ObjectMembers, others: int) -> JsonObject:
    """The bounds on the number of members of a body, next to `others` that are always there."""
    return {
        keyword: condition[keyword] + others
        for condition in members.conditions
        for keyword in ("minProperties", "maxProperties")
        if keyword in condition
    }


def _renamed(key: str, name: str, kind: str, node: Node) -> Node:
    """Describes an argument under a changed key, so that a model that knows the API can recognise the original name."""
    shown = line(name, _NAME_LIMIT)
    return node if key == name else described_node(node, f"{description_of(node)} ({kind} {shown})".strip())


def _input_schema(arguments: _Arguments, operation: ApiOperation, context: ConversionContext) -> JsonObject:
    bundle = context.input_bundler.bundle(arguments.schemas)
    if not bundle.is_complete:
        context.report.warning(
            operation.place, "parts of its arguments are too large to describe; they accept anything"
        )
    schema = {**_closed(bundle.schemas, arguments.required, bundle.definitions), **arguments.sizes}
    if context.usable_schemas.has(schema):
        return schema
    usable: dict[str, JsonObject] = {}
    for key, part in bundle.schemas.items():
        if context.usable_schemas.has(_closed({key: part}, [], bundle.definitions)):
            usable[key] = part
        else:
            context.report.warning(operation.place, f"the schema of argument {key!r} is unusable; anything is accepted")
            usable[key] = {}
    definitions = bundle.definitions if context.usable_schemas.has(_closed({}, [], bundle.definitions)) else {}
    return _closed(usable, arguments.required, definitions)


def _closed(properties: dict[str, JsonObject], required: list[str], definitions: JsonObject) -> JsonObject:
    schema: JsonObject = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    if definitions:
        schema["$defs"] = definitions
    return schema


def _tags(operation: ApiOperation, context: ConversionContext) -> tuple[str, ...]:
    """`stoa:*` tags grant access, so they come from the ToolSet, never from a description by others."""
    tags = texts_in(operation.content.get("tags"))
    allowed = [tag for tag in tags if not tag.startswith(_OWN_TAGS)]
    if len(allowed) < len(tags):
        message = f"tags that start with {_OWN_TAGS!r} are not taken from a description; use toolDefaults.tags"
        context.report.warning(operation.place, message)
    return tuple(dict.fromkeys([*allowed, *context.options.extra_tags]))
