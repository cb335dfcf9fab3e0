"""Converts the request body: chooses the media type to send and whether its members become arguments of their own.

JSON goes before forms, forms before text. Other media types cannot be sent yet: an optional body is then left out, a
required one makes the operation inconvertible.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stoa.domain.operations.tool import FormField
from stoa.domain.schema.json_value import JsonObject, as_object, as_text, is_object, texts_in
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.node import Node, Reference, described_node, description_of
from stoa.infrastructure.openapi.object_members import ObjectMembers, object_members
from stoa.infrastructure.openapi.parameters import swagger_style
from stoa.infrastructure.openapi.paths import ApiOperation, CannotConvert
from stoa.infrastructure.openapi.references import Unresolvable
from stoa.infrastructure.openapi.schema import SchemaNormaliser
from stoa.infrastructure.openapi.text import line

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_MEDIA_TYPE = re.compile(r"^[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+(?:\s*;\s*[A-Za-z0-9_-]+=[\w\"./:+-]+)*\Z")
_TEXT, _UNSUPPORTED = 6, 9
_FORM_STYLES = ("form", "spaceDelimited", "pipeDelimited", "deepObject")


@dataclass(frozen=True, slots=True)
class Body:
    media_type: str
    is_required: bool
    schema: Node
    """The whole body, for one argument; `members` is set when its members are arguments instead."""
    members: ObjectMembers | None = None
    form: dict[str, FormField] = field(default_factory=dict[str, FormField])


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
    chosen = min(content, key=_rank)
    if _rank(chosen) == _UNSUPPORTED:
        return _left_out(required, _not_yet(content), operation, context)
    try:
        media = context.references.follow(content[chosen])
    except Unresolvable as problem:
        raise CannotConvert(f"requestBody: {problem}") from problem
    schema = context.inputs.node(media.get("schema", {}), f"{operation.place} body")
    description = line(as_text(described.get("description")))
    encodings = as_object(media.get("encoding"))
    if _rank(chosen) == _TEXT:
        text = {"type": "string"} if _is_anything(schema) else schema
        return Body(_sent_type(chosen), required, described_node(text, description or description_of(schema)))
    return _planned(operation, _sent_type(chosen), required, schema, description, encodings, context)


def _swagger_body(
    operation: ApiOperation, raw: dict[tuple[str, str], JsonObject], context: ConversionContext
) -> Body | None:
    consumes = operation.content.get("consumes", context.document.root.get("consumes"))
    types = [media_type for media_type in texts_in(consumes) if _MEDIA_TYPE.match(media_type)]
    form = {name: parameter for (name, place), parameter in raw.items() if place == "formData"}
    whole = next((parameter for (_, place), parameter in raw.items() if place == "body"), None)
    if whole is not None:
        required = whole.get("required") is True
        chosen = min(types or [JSON], key=_rank)
        if _rank(chosen) == _UNSUPPORTED:
            return _left_out(required, _not_yet(types), operation, context)
        schema = context.inputs.node(whole.get("schema", {}), f"{operation.place} body")
        description = line(as_text(whole.get("description")))
        if _rank(chosen) == _TEXT:
            return Body(_sent_type(chosen), required, described_node(schema, description))
        return _planned(operation, _sent_type(chosen), required, schema, description, {}, context)
    return _swagger_form(operation, form, types, context) if form else None


def _swagger_form(
    operation: ApiOperation, form: dict[str, JsonObject], types: list[str], context: ConversionContext
) -> Body | None:
    essences = {_essence(name) for name in types}
    if "multipart/form-data" in essences and FORM not in essences:
        needed = any(parameter.get("required") is True for parameter in form.values())
        return _left_out(needed, _not_yet(types), operation, context)
    members = ObjectMembers()
    fields: dict[str, FormField] = {}
    for name, parameter in form.items():
        required = parameter.get("required") is True
        if parameter.get("type") == "file":
            if required:
                raise CannotConvert(f"the file {name!r}: sending multipart/form-data follows in a later version")
            context.report.warning(
                operation.place, f"the optional file {name!r} is left out: files follow in a later version"
            )
            continue
        keys = {key: value for key, value in parameter.items() if key not in {"name", "in", "required"}}
        members.properties[name] = context.inputs.node(keys, f"{operation.place} form field {name}")
        members.required += [name] if required else []
        style, explode = swagger_style("query", parameter)
        if parameter.get("type") == "array":
            fields[name] = FormField.model_validate({"style": style, "explode": explode})
    return Body(FORM, bool(members.required), {}, members, fields) if members.properties else None


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


def _not_yet(media_types: Iterable[str]) -> str:
    return f"sending {', '.join(sorted(media_types))[:120]} follows in a later version"


def _is_anything(schema: Node) -> bool:
    return not isinstance(schema, Reference) and "type" not in schema and "enum" not in schema


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _sent_type(media_type: str) -> str:
    """Wildcards stand for JSON, or plain text."""
    return {"*/*": JSON, "application/*": JSON, "text/*": "text/plain"}.get(_essence(media_type), media_type)


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
    if essence.startswith("text/") and not essence.endswith("xml") and essence != "text/event-stream":
        return _TEXT
    return _UNSUPPORTED
