"""Converts the request body: chooses the media type to send and whether its members become arguments of their own.

JSON goes before forms, forms before text, text before XML and bytes, unless the ToolSet prefers another media type.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from stoa.application.schemas.coercion import json_lines
from stoa.domain.operations.tool import FormField, XmlElement
from stoa.domain.schema.json_value import JsonObject, as_object, as_text, is_object, texts_in
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.examples import written_examples
from stoa.infrastructure.openapi.node import Node, Reference, described_node, description_of
from stoa.infrastructure.openapi.object_members import ObjectMembers, object_members
from stoa.infrastructure.openapi.parameters import swagger_style
from stoa.infrastructure.openapi.paths import ApiOperation, CannotConvert
from stoa.infrastructure.openapi.references import Unresolvable
from stoa.infrastructure.openapi.schema import SchemaNormaliser
from stoa.infrastructure.openapi.text import line
from stoa.infrastructure.openapi.xml_hints import XmlHints

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
NDJSON = "application/x-ndjson"
_MEDIA_TYPE = re.compile(r"^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+(?:\s*;\s*[A-Za-z0-9_-]+=[\w\"./:+-]+)*\Z")
_MULTIPART, _TEXT, _LINES, _XML, _BYTES, _UNSUPPORTED = 6, 7, 8, 9, 10, 99
MULTIPART = "multipart/form-data"
_LINES_OF_JSON = frozenset(
    {
        NDJSON,
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
    }
)
_FILE_WORDS = (
    "File: base64, a data: URI (data:text/csv;name=a.csv;base64,...), a stoa:// URI of a resource, or plain text."
)
_BINARY_FORMATS = frozenset({"binary"})
_TEXT_TYPES = frozenset({"application/yaml", "application/x-yaml", "application/graphql", "application/x-pem-file"})
_FORM_STYLES = ("form", "spaceDelimited", "pipeDelimited", "deepObject")


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
    if "requestBody" not in operation.content:
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
    content = {key: value for key, value in as_object(described.get("content")).items() if _MEDIA_TYPE.match(key)}
    if not content:
        return _left_out(required, "requestBody without `content`", operation, context)
    chosen = _chosen(content, context)
    if _rank(chosen) == _UNSUPPORTED:
        return _left_out(required, _not_sent(content), operation, context)
    try:
        media = context.references.follow(content[chosen])
    except Unresolvable as problem:
        raise CannotConvert(f"requestBody: {problem}") from problem
    if _rank(chosen) == 0 and _shows_lines(media, context):
        message = f"the examples of the body are lines of JSON, so it is sent as {NDJSON}"
        context.report.warning(operation.place, message)
        chosen = NDJSON
    source = media.get("schema", {})
    if "schema" not in media and "itemSchema" in media:  # 3.2: one schema for each line
        source = {"type": "array", "items": media["itemSchema"]}
    description = line(as_text(described.get("description")))
    return _body_of_type(operation, chosen, required, source, description, as_object(media.get("encoding")), context)


def _shows_lines(media: JsonObject, context: ConversionContext) -> bool:
    """True if each example is lines of JSON objects where the schema is that of a list. Documents name no media type of
    such a body, and the server refuses a list."""
    schema = context.inputs.node(media.get("schema", {}), "")
    if "array" not in _types(_seen_through(schema, context.inputs)):
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
    sent, rank = _sent_type(media_type), _rank(media_type)
    words = description or description_of(schema)
    if rank == _TEXT:
        text = {"type": "string"} if _is_anything(schema) else schema
        return Body(sent, required, described_node(text, words))
    if rank == _BYTES:
        return Body(sent, required, {"type": "string", "description": f"{words} {_FILE_WORDS}".strip()})
    if rank == _LINES:
        is_list = "array" in _types(_seen_through(schema, context.inputs))
        lines: Node = schema if is_list else {"type": "array", "items": schema}
        return Body(sent, required, described_node(lines, f"{words} Each entry is sent as a line of JSON.".strip()))
    if rank == _XML:
        if _is_anything(schema) and "properties" not in _seen_through(schema, context.inputs):
            return Body(sent, required, {"type": "string", "description": words or "XML text."})
        body = _planned(operation, sent, required, schema, description, encodings, context)
        return body and replace(body, xml=XmlHints(context.references).root(source))
    return _planned(operation, sent, required, schema, description, encodings, context)


def _chosen(media_types: Iterable[str], context: ConversionContext) -> str:
    """The media type to send: the first that the ToolSet prefers, else the simplest."""
    types = list(media_types)
    for preferred in context.options.media_types:
        fitting = [name for name in types if _essence(name) == preferred.lower() and _rank(name) != _UNSUPPORTED]
        if fitting:
            return fitting[0]
    return min(types, key=_rank)


def _swagger_body(
    operation: ApiOperation, raw: dict[tuple[str, str], JsonObject], context: ConversionContext
) -> Body | None:
    consumes = operation.content.get("consumes", context.document.root.get("consumes"))
    types = [media_type for media_type in texts_in(consumes) if _MEDIA_TYPE.match(media_type)]
    form = {name: parameter for (name, place), parameter in raw.items() if place == "formData"}
    whole = next((parameter for (_, place), parameter in raw.items() if place == "body"), None)
    if whole is not None:
        required = whole.get("required") is True
        chosen = _chosen(types or [JSON], context)
        if _rank(chosen) == _UNSUPPORTED:
            return _left_out(required, _not_sent(types), operation, context)
        description = line(as_text(whole.get("description")))
        return _body_of_type(operation, chosen, required, whole.get("schema", {}), description, {}, context)
    return _swagger_form(operation, form, types, context) if form else None


def _swagger_form(
    operation: ApiOperation, form: dict[str, JsonObject], types: list[str], context: ConversionContext
) -> Body | None:
    essences = {_essence(name) for name in types}
    has_file = any(parameter.get("type") == "file" for parameter in form.values())
    is_multipart = has_file or (MULTIPART in essences and FORM not in essences)
    members = ObjectMembers()
    fields: dict[str, FormField] = {}
    for name, parameter in form.items():
        required = parameter.get("required") is True
        members.required += [name] if required else []
        if parameter.get("type") == "file":
            members.properties[name] = _file_node(line(as_text(parameter.get("description"))))
            fields[name] = FormField(is_file=True)
            continue
        keys = {key: value for key, value in parameter.items() if key not in {"name", "in", "required"}}
        members.properties[name] = context.inputs.node(keys, f"{operation.place} form field {name}")
        style, explode = swagger_style("query", parameter)
        if parameter.get("type") == "array" and not is_multipart:
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
    form = _form_fields(properties, encodings, context.inputs) if _essence(media_type) == FORM else {}
    if _essence(media_type) == MULTIPART:
        form = _parts(properties, encodings, context.inputs)
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
        context.report.warning(operation.place, "which members of the body go together is left to the API to check")
    for name in members.required:
        properties.setdefault(name, {})
    return Body(media_type, required, whole, members, form)


def _without_credentials(schema: Node, operation: ApiOperation, context: ConversionContext) -> Node:
    """The schema of a body without optional members that carry a credential of the gateway."""
    written = _seen_through(schema, context.inputs)
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


def _form_fields(members: dict[str, Node], encodings: JsonObject, schemas: SchemaNormaliser) -> dict[str, FormField]:
    """The encoding of each form field: as declared, or JSON if a style cannot write the value."""
    fields: dict[str, FormField] = {}
    for name in members.keys() | encodings.keys():
        encoding = as_object(encodings.get(name))
        style, explode = encoding.get("style"), encoding.get("explode")
        content_type = as_text(encoding.get("contentType")).lower()
        if style in _FORM_STYLES or isinstance(explode, bool):
            chosen = style if style in _FORM_STYLES else "form"
            exploded = chosen == "deepObject" or (explode if isinstance(explode, bool) else chosen == "form")
            fields[name] = FormField.model_validate({"style": chosen, "explode": exploded})
        elif "json" in content_type or (name in members and _is_nested(members[name], schemas)):
            fields[name] = FormField(is_json=True)
    return dict(sorted(fields.items()))


def _is_nested(node: Node, schemas: SchemaNormaliser) -> bool:
    """True for an array or object that holds arrays or objects."""
    schema = _seen_through(node, schemas)
    inner = [schema["items"]] if is_object(schema.get("items")) or isinstance(schema.get("items"), Reference) else []
    inner += as_object(schema.get("properties")).values()
    return any(not {"object", "array"}.isdisjoint(_types(_seen_through(member, schemas))) for member in inner)


def _seen_through(node: Any, schemas: SchemaNormaliser) -> JsonObject:
    for _ in range(10):
        if not isinstance(node, Reference):
            return as_object(node)
        node = schemas.component(node.pointer)
    return {}


def _types(schema: JsonObject) -> set[str]:
    types = schema.get("type", ())
    return {types} if isinstance(types, str) else set(types)


def _left_out(required: bool, reason: str, operation: ApiOperation, context: ConversionContext) -> Body | None:
    """Leaves an optional body out, with a warning; raises CannotConvert for a required one."""
    if required:
        raise CannotConvert(reason)
    context.report.warning(operation.place, f"the optional body is left out: {reason}")
    return None


def _not_sent(media_types: Iterable[str]) -> str:
    return f"{', '.join(sorted(media_types))[:120]} cannot be sent; name a single media type"


def _parts(members: dict[str, Node], encodings: JsonObject, schemas: SchemaNormaliser) -> dict[str, FormField]:
    """The encoding of the parts of a multipart form. Files among `members` get the schema of a file argument."""
    fields: dict[str, FormField] = {}
    for name, member in members.items():
        content_type = as_text(as_object(encodings.get(name)).get("contentType")).split(",")[0].strip()
        content_type = content_type if _MEDIA_TYPE.match(content_type) and "*" not in content_type else ""
        schema = _seen_through(member, schemas)
        entry = _seen_through(schema.get("items"), schemas) if "array" in _types(schema) else schema
        if _is_file(entry, content_type):
            file = _file_node(description_of(member) or as_text(schema.get("description")))
            members[name] = file if entry is schema else {"type": "array", "items": file}
            fields[name] = FormField(is_file=True, content_type=content_type)
        elif "object" in _types(entry) or "properties" in entry or _essence(content_type).endswith("json"):
            fields[name] = FormField(is_json=True, content_type=content_type)
        elif content_type:
            fields[name] = FormField(content_type=content_type)
    return fields


def _is_file(schema: JsonObject, content_type: str) -> bool:
    """True for bytes: `format: binary` (3.0), `contentMediaType` (3.1), or a part of a type that is no text."""
    types = _types(schema)
    if types and "string" not in types:
        return False
    if schema.get("format") in _BINARY_FORMATS or ("contentMediaType" in schema and "contentEncoding" not in schema):
        return True
    return bool(content_type) and "enum" not in schema and _rank(content_type) == _BYTES


def _file_node(description: str) -> JsonObject:
    return {"type": "string", "description": f"{description} {_FILE_WORDS}".strip()}


def _is_anything(schema: Node) -> bool:
    return not isinstance(schema, Reference) and "type" not in schema and "enum" not in schema


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _sent_type(media_type: str) -> str:
    """Wildcards stand for JSON, or plain text."""
    known = {"*/*": JSON, "application/*": JSON, "application/*+json": JSON, "text/*": "text/plain"}
    known |= {"application/*+xml": "application/xml", "multipart/*": MULTIPART}
    essence = _essence(media_type)
    if essence in known:
        return known[essence]
    return "application/octet-stream" if "*" in essence else media_type


def _rank(media_type: str) -> int:
    """Preference among media types that could be sent; smaller is better."""
    essence = _essence(media_type)
    if essence == JSON:
        return 0
    if essence.endswith("merge-patch+json"):
        return 1
    if essence.endswith("+json") and not essence.endswith(("json-patch+json", "json-seq")):
        return 2
    if essence in {"text/json", "*/*", "application/*"}:
        return 3
    if essence.endswith("json-patch+json"):
        return 4
    if essence == FORM:
        return 5
    if essence in {MULTIPART, "multipart/*"}:
        return _MULTIPART
    if essence in _LINES_OF_JSON:
        return _LINES
    if essence.endswith(("/xml", "+xml")):
        return _XML
    if essence.startswith("text/") or essence in _TEXT_TYPES:
        return _TEXT
    return _UNSUPPORTED if essence.startswith(("multipart/", "message/")) else _BYTES
