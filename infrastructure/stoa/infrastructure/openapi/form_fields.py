"""The encoding of the fields of a form and of the parts of a multipart body (the Encoding Object, OpenAPI 3.1 section
4.8.15)."""

from typing import Any

from stoa.domain.operations.tool import FormField
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_array, is_object
from stoa.infrastructure.openapi.media_types import IS_BYTES, MEDIA_TYPE, essence, rank
from stoa.infrastructure.openapi.node import Node, Reference, description_of
from stoa.infrastructure.openapi.schema import SchemaNormaliser

FILE_WORDS = (
    "File: base64, a data: URI (data:text/csv;name=a.csv;base64,...), a stoa:// URI of a resource, or plain text."
)
_STYLES = ("form", "spaceDelimited", "pipeDelimited", "deepObject")


def form_fields(members: dict[str, Node], encodings: JsonObject, schemas: SchemaNormaliser) -> dict[str, FormField]:
    """The encoding of each form field: as declared, or JSON if a style cannot write the value."""
    fields: dict[str, FormField] = {}
    for name in members.keys() | encodings.keys():
        encoding = as_object(encodings.get(name))
        styled = _styled(encoding)
        if styled is not None:
            fields[name] = styled
        elif "json" in as_text(encoding.get("contentType")).lower() or (
            name in members and _is_nested(members[name], schemas)
        ):
            fields[name] = FormField(is_json=True)
    return dict(sorted(fields.items()))


def part_fields(
    members: dict[str, Node], encodings: JsonObject, schemas: SchemaNormaliser, *, has_untyped_files: bool
) -> dict[str, FormField]:
    """The encoding of the parts of a multipart body. Files among `members` get the schema of a file argument.
    `has_untyped_files`: a part without a type is one (OpenAPI 3.1)."""
    fields: dict[str, FormField] = {}
    for name, member in members.items():
        encoding = as_object(encodings.get(name))
        content_type = as_text(encoding.get("contentType")).split(",")[0].strip()
        content_type = content_type if MEDIA_TYPE.match(content_type) and "*" not in content_type else ""
        schema = seen_through(member, schemas)
        file = _file(member, schema, content_type, schemas)
        if file is None and has_untyped_files and not schema.keys() - {"description", "title"} and not content_type:
            file = file_node(description_of(member))
        styled = _styled(encoding)
        field = FormField(content_type=content_type)
        if file is not None:
            members[name] = file
            field = FormField(is_file=True, content_type=content_type)
        elif styled is not None and (styled.style == "deepObject" or not styled.explode):
            field = styled
        elif _is_json(schema, content_type, schemas):
            field = FormField(is_json=True, content_type=content_type)
        headers = tuple(_constant_headers(encoding, schemas))
        if headers or field != FormField():
            fields[name] = field.model_copy(update={"headers": headers})
    return fields


def _styled(encoding: JsonObject) -> FormField | None:
    """The style that an encoding declares; None for none."""
    style, explode = encoding.get("style"), encoding.get("explode")
    if style not in _STYLES and not isinstance(explode, bool):
        return None
    chosen = style if style in _STYLES else "form"
    exploded = chosen == "deepObject" or (explode if isinstance(explode, bool) else chosen == "form")
    return FormField.model_validate({"style": chosen, "explode": exploded})


def _constant_headers(encoding: JsonObject, schemas: SchemaNormaliser) -> list[tuple[str, str]]:
    """The headers of a part whose schema allows one value, or names one."""
    headers: list[tuple[str, str]] = []
    for name, header in as_object(encoding.get("headers")).items():
        written = as_object(as_object(header).get("schema"))
        schema = seen_through(schemas.node(written, f"header {name} of a part"), schemas)
        values = [schema["const"]] if "const" in schema else as_array(schema.get("enum"))
        value = values[0] if len(values) == 1 else schema.get("default")
        if isinstance(value, str | int | float) and name.lower() != "content-type":
            headers.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return headers


def _file(member: Node, schema: JsonObject, content_type: str, schemas: SchemaNormaliser) -> JsonObject | None:
    """The schema of an argument that stands for a file, or for several; None for another value."""
    entry = seen_through(schema.get("items"), schemas) if "array" in types_of(schema) else schema
    words = description_of(member) or as_text(schema.get("description"))
    if _is_file(entry, content_type):
        limits: JsonObject = {key: schema[key] for key in ("minItems", "maxItems") if key in schema}
        return file_node(words) if entry is schema else {"type": "array", **limits, "items": file_node(words)}
    branches = [seen_through(branch, schemas) for branch in as_array(schema.get("anyOf"))]
    branches = [branch for branch in branches if branch.get("type") != "null"]
    files = [_file({}, branch, content_type, schemas) for branch in branches]
    described = [file for file in files if file is not None]
    if not branches or len(described) < len(branches):
        return None
    return described[0] if len(described) == 1 else {"anyOf": described, **({"description": words} if words else {})}


def _is_json(schema: JsonObject, content_type: str, schemas: SchemaNormaliser) -> bool:
    entry = seen_through(schema.get("items"), schemas) if "array" in types_of(schema) else schema
    return "object" in types_of(entry) or "properties" in entry or essence(content_type).endswith("json")


def _is_file(schema: JsonObject, content_type: str) -> bool:
    """True for bytes: `format: binary` (3.0), `contentMediaType` (3.1), or a part of a type that is no text."""
    types = types_of(schema)
    if types and "string" not in types:
        return False
    if schema.get("format") == "binary" or ("contentMediaType" in schema and "contentEncoding" not in schema):
        return True
    return bool(content_type) and "enum" not in schema and rank(content_type) == IS_BYTES


def file_node(description: str) -> JsonObject:
    return {"type": "string", "description": f"{description} {FILE_WORDS}".strip()}


def _is_nested(node: Node, schemas: SchemaNormaliser) -> bool:
    """True for an array or object that holds arrays or objects."""
    schema = seen_through(node, schemas)
    inner = [schema["items"]] if is_object(schema.get("items")) or isinstance(schema.get("items"), Reference) else []
    inner += as_object(schema.get("properties")).values()
    return any(not {"object", "array"}.isdisjoint(types_of(seen_through(member, schemas))) for member in inner)


def seen_through(node: Any, schemas: SchemaNormaliser) -> JsonObject:
    """The schema that a node is or refers to, without the keywords beside the reference."""
    for _ in range(10):
        if not isinstance(node, Reference):
            return as_object(node)
        node = schemas.component(node.pointer)
    return {}


def types_of(schema: JsonObject) -> set[str]:
    types = schema.get("type", ())
    return {types} if isinstance(types, str) else set(types) if is_array(types) else set()
