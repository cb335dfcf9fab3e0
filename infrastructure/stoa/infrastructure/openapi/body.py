"""Converts the request body: chooses the media type to send and whether its members become arguments of their own.

JSON goes before forms, forms before text, text before XML and bytes, unless the ToolSet prefers another media type.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from stoa.application.schemas.coercion import json_lines
from stoa.domain.operations.tool import FormField, XmlElement
from stoa.domain.schema.json_value import JsonObject, as_object, as_text, texts_in
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.examples import written_examples
from stoa.infrastructure.openapi.form_fields import (
    FILE_WORDS,
    file_node,
    form_fields,
    part_fields,
    seen_through,
    types_of,
)
from stoa.infrastructure.openapi.media_types import (
    FORM,
    IS_BYTES,
    IS_LINES,
    IS_TEXT,
    IS_XML,
    JSON,
    MEDIA_TYPE,
    MULTIPART,
    NDJSON,
    UNSUPPORTED,
    essence,
    rank,
    sent_type,
)
from stoa.infrastructure.openapi.node import Node, Reference, described_node, description_of
from stoa.infrastructure.openapi.object_members import ObjectMembers, object_members
from stoa.infrastructure.openapi.parameters import swagger_style
from stoa.infrastructure.openapi.paths import ApiOperation, CannotConvert
from stoa.infrastructure.openapi.references import Unresolvable
from stoa.infrastructure.openapi.text import line
from stoa.infrastructure.openapi.xml_hints import XmlHints


@dataclass(frozen=True, slots=True)
class Body:
    media_type: str
    is_required: bool
    schema: Node
    """The whole body, for one argument; `members` is set when its members are arguments instead."""
    members: ObjectMembers | None = None
    form: dict[str, FormField] = field(default_factory=dict[str, FormField])
    xml: XmlElement | None = None


def body_of(operation: ApiOperation, raw: dict[tuple[str, str], JsonObject], context: ConversionContext) -> Body | None:
    """The body to send; None for none. Raises CannotConvert if the API requires a body that cannot be sent."""
    if operation.method in {"HEAD", "TRACE"}:
        return None  # HTTP gives their bodies no meaning
    if operation.content.get("requestBody") is None:
        is_of_swagger = any(place in {"body", "formData"} for _, place in raw)
        if is_of_swagger and not context.document.is_swagger:
            message = "`in: body` and `in: formData` are of 2.0; read as the requestBody"
            context.report.warning(operation.place, message)
        return _swagger_body(operation, raw, context) if is_of_swagger else None
    if context.document.is_swagger:
        context.report.warning(operation.place, "`requestBody` is of 3.0; read as the body")
    try:
        described = context.references.follow(operation.content["requestBody"])
    except Unresolvable as problem:
        raise CannotConvert(f"requestBody: {problem}") from problem
    required = described.get("required") is True
    content = {key: value for key, value in as_object(described.get("content")).items() if MEDIA_TYPE.match(key)}
    if not content:
        return _left_out(required, "requestBody without `content`", operation, context)
    chosen = _chosen(content, context)
    if rank(chosen) == UNSUPPORTED:
        return _left_out(required, _not_sent(content), operation, context)
    try:
        media = context.references.follow(content[chosen])
    except Unresolvable as problem:
        raise CannotConvert(f"requestBody: {problem}") from problem
    if rank(chosen) == 0 and _shows_lines(media, context):
        message = f"the examples of the body are lines of JSON, so it is sent as {NDJSON}"
        context.report.warning(operation.place, message)
        chosen = NDJSON
    source = media.get("schema", {})
    if "schema" not in media and "itemSchema" in media:  # 3.2: one schema for each line
        source = {"type": "array", "items": media["itemSchema"]}
    description = line(as_text(described.get("description")))
    encodings = {**as_object(media.get("encoding")), "": as_object(media.get("itemEncoding"))}
    return _body_of_type(operation, chosen, required, source, description, encodings, context)


def _shows_lines(media: JsonObject, context: ConversionContext) -> bool:
    """True if each example is lines of JSON objects where the schema is that of a list. Documents name no media type of
    such a body, and the server refuses a list."""
    try:
        schema = context.references.follow(media.get("schema"))
    except Unresolvable:
        return False
    if "array" not in types_of(schema):
        return False
    values = [value for _, value in written_examples(media, context)]
    return bool(values) and all(isinstance(value, str) and json_lines(value) is not None for value in values)


def _body_of_type(
    operation: ApiOperation,
    media_type: str,
    required: bool,
    source: Any,
    description: str,
    encodings: JsonObject,
    context: ConversionContext,
) -> Body | None:
    """The body of one media type. `source`: its schema as the document writes it."""
    schema = context.inputs.node(source, f"{operation.place} body")
    sent, kind = sent_type(media_type), rank(media_type)
    words = description or description_of(schema)
    if "*" in media_type and seen_through(schema, context.inputs).get("format") == "binary":
        sent, kind = media_type if sent == media_type else "application/octet-stream", IS_BYTES
    if kind == IS_TEXT:
        text = {"type": "string"} if _is_anything(schema) else schema
        return Body(sent, required, described_node(text, words))
    if kind == IS_BYTES:
        return Body(sent, required, {"type": "string", "description": f"{words} {FILE_WORDS}".strip()})
    if kind == IS_LINES:
        is_list = "array" in types_of(seen_through(schema, context.inputs))
        lines: Node = schema if is_list else {"type": "array", "items": schema}
        return Body(sent, required, described_node(lines, f"{words} Each entry is sent as a line of JSON.".strip()))
    if kind == IS_XML:
        if _is_anything(schema) and "properties" not in seen_through(schema, context.inputs):
            return Body(sent, required, {"type": "string", "description": words or "XML text."})
        body = _planned(operation, sent, required, schema, description, encodings, context)
        return body and replace(body, xml=XmlHints(context.references).root(source))
    return _planned(operation, sent, required, schema, description, encodings, context)


def _chosen(media_types: Iterable[str], context: ConversionContext) -> str:
    """The media type to send: the first that the ToolSet prefers, else the simplest."""
    types = list(media_types)
    for preferred in context.options.media_types:
        fitting = [name for name in types if essence(name) == preferred.lower() and rank(name) != UNSUPPORTED]
        if fitting:
            return fitting[0]
    return min(types, key=rank)


def _swagger_body(
    operation: ApiOperation, raw: dict[tuple[str, str], JsonObject], context: ConversionContext
) -> Body | None:
    consumes = operation.content.get("consumes", context.document.root.get("consumes"))
    types = [media_type for media_type in texts_in(consumes) if MEDIA_TYPE.match(media_type)]
    form = {name: parameter for (name, place), parameter in raw.items() if place == "formData"}
    whole = next((parameter for (_, place), parameter in raw.items() if place == "body"), None)
    if whole is not None:
        required = whole.get("required") is True
        chosen = _chosen(types or [JSON], context)
        if rank(chosen) == UNSUPPORTED:
            return _left_out(required, _not_sent(types), operation, context)
        description = line(as_text(whole.get("description")))
        return _body_of_type(operation, chosen, required, whole.get("schema", {}), description, {}, context)
    return _swagger_form(operation, form, types, context) if form else None


def _swagger_form(
    operation: ApiOperation, form: dict[str, JsonObject], types: list[str], context: ConversionContext
) -> Body | None:
    essences = {essence(name) for name in types}
    has_file = any(parameter.get("type") == "file" for parameter in form.values())
    is_multipart = has_file or (MULTIPART in essences and FORM not in essences)
    members = ObjectMembers()
    fields: dict[str, FormField] = {}
    for name, parameter in form.items():
        required = parameter.get("required") is True
        members.required += [name] if required else []
        if parameter.get("type") == "file":
            members.properties[name] = file_node(line(as_text(parameter.get("description"))))
            fields[name] = FormField(is_file=True)
            continue
        keys = {key: value for key, value in parameter.items() if key not in {"name", "in", "required"}}
        members.properties[name] = context.inputs.node(keys, f"{operation.place} form field {name}")
        style, explode = swagger_style("query", parameter)
        is_apart = explode or "collectionFormat" not in parameter  # as each entry of a part is by itself
        if parameter.get("type") == "array" and not (is_multipart and is_apart):
            fields[name] = FormField.model_validate({"style": style, "explode": explode})
    media_type = MULTIPART if is_multipart else FORM
    return Body(media_type, bool(members.required), {}, members, fields) if members.properties else None


def _planned(
    operation: ApiOperation,
    media_type: str,
    required: bool,
    schema: Node,
    description: str,
    encodings: JsonObject,
    context: ConversionContext,
) -> Body | None:
    schema = _without_credentials(schema, operation, context)
    members = object_members(schema, context.inputs)
    properties = members.properties if members is not None else {}
    form = form_fields(properties, encodings, context.inputs) if essence(media_type) == FORM else {}
    if essence(media_type).startswith("multipart/"):
        is_later = context.document.has_full_schemas
        form = part_fields(properties, encodings, context.inputs, has_untyped_files=is_later)
        if "array" in types_of(whole_schema := seen_through(schema, context.inputs)):  # parts without names
            entries = {"": whole_schema.get("items", {})}
            form = part_fields(entries, encodings, context.inputs, has_untyped_files=is_later)
            schema = {**whole_schema, "items": entries[""]}
    whole = described_node(schema, description or description_of(schema))
    if members is None or members.is_open:
        return Body(media_type, required, whole, None, form)
    if not properties and not required:
        return None  # an empty object that may be left out tells the API nothing
    if members.required and not required:
        if operation.method not in {"POST", "PUT", "PATCH"}:
            return Body(media_type, required, whole, None, form)
        context.report.warning(
            operation.place,
            "the body is optional but has required members; it is taken as required (say `required: true`)",
        )
    if members.has_conditions:
        context.report.warning(
            operation.place, "which members of the body go together is said in words, and left to the API to check"
        )
    for name in members.required:
        properties.setdefault(name, {})
    return Body(media_type, required, whole, members, form)


def _without_credentials(schema: Node, operation: ApiOperation, context: ConversionContext) -> Node:
    """The schema of a body without optional members that carry a credential of the gateway."""
    written = seen_through(schema, context.inputs)
    required = texts_in(written.get("required"))
    credentials = {
        name
        for name in as_object(written.get("properties"))
        if name not in required and context.security.is_credential_member(name, operation)
    }
    if not credentials:
        return schema
    for name in credentials:
        context.security.withhold(name)
    kept = {name: node for name, node in written["properties"].items() if name not in credentials}
    siblings = schema.siblings if isinstance(schema, Reference) else {}
    return {**written, "properties": kept, **siblings}


def _left_out(required: bool, reason: str, operation: ApiOperation, context: ConversionContext) -> Body | None:
    """Leaves an optional body out, with a warning; raises CannotConvert for a required one."""
    if required:
        raise CannotConvert(reason)
    context.report.warning(operation.place, f"the optional body is left out: {reason}")
    return None


def _not_sent(media_types: Iterable[str]) -> str:
    return f"{', '.join(sorted(media_types))[:120]} cannot be sent; name a single media type"


def _is_anything(schema: Node) -> bool:
    return not isinstance(schema, Reference) and "type" not in schema and "enum" not in schema
