"""The part of an input schema that is enforced where a ToolSet does not ask for all of it (`spec.validation`).

Descriptions are written by hand and lag behind their APIs: their own request examples have members that they do not
declare. A lenient schema takes those; it refuses whatever else the full one refuses.
"""

from collections.abc import Iterable
from typing import Any

from stoa.domain.errors import Violation
from stoa.domain.operations.tool import Validation
from stoa.domain.schema.json_pointer import pointer_to, tokens_of
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object, objects_in
from stoa.domain.schema.schema_document import SchemaDocument
from stoa.domain.schema.subschemas import with_subschemas

_CLOSING = frozenset({"additionalProperties", "unevaluatedProperties"})
_REFUSING = frozenset({"not", "if"})
"""Keywords whose schemas refuse more when they accept more."""
_NULL: JsonObject = {"type": "null"}
_MAX_JOINED = 32


def enforced(schema: JsonObject, validation: Validation, *, takes_others: bool) -> JsonObject | None:
    """The schema that arguments have to fit if they miss the full one; None: there is no other. `takes_others`: the
    binding has a place for arguments that the schema does not name."""
    if validation == "strict":
        return None
    if validation == "off":
        return _types_alone(schema, takes_others=takes_others)
    lenient = as_object(_opened(schema))
    if not takes_others and schema.get("additionalProperties") is False:
        lenient = {**lenient, "additionalProperties": False}
    return None if lenient == schema else lenient


def places(schema: JsonObject, violations: Iterable[Violation]) -> tuple[str, ...]:
    """Pointers to what does not fit the full schema, with `*` for each name that is not the schema's own."""
    names = {name for part in objects_in(schema) for name in as_object(part.get("properties"))}
    found: dict[str, None] = {}
    for violation in violations:
        tokens = [token if token in names else "*" for token in tokens_of(violation.path)]
        if violation.expected.startswith("no property"):
            tokens.append("*")
        found[pointer_to(tokens)] = None
    return tuple(found)


def _opened(schema: Any) -> Any:
    """The schema with objects that take further members, and maps that take null, as PATCH bodies use it to remove an
    entry (RFC 7396)."""
    if not is_object(schema):
        return schema
    opened: JsonObject = {}
    for keyword, value in schema.items():
        if keyword in _CLOSING and value in (False, {"not": {}}):
            continue
        opened[keyword] = value if keyword in _REFUSING else with_subschemas(keyword, value, _opened)
    others = opened.get("additionalProperties")
    if is_object(others) and others:
        opened["additionalProperties"] = {"anyOf": [others, dict(_NULL)]}
    return opened


def _types_alone(schema: JsonObject, *, takes_others: bool) -> JsonObject:
    """The minimum that a request needs: the required arguments, each of a type that its place can carry."""
    document = SchemaDocument(schema)
    properties = {name: _type_of(document, member) for name, member in as_object(schema.get("properties")).items()}
    root: JsonObject = {"type": "object", "properties": properties}
    if "required" in schema:
        root["required"] = schema["required"]
    if not takes_others and schema.get("additionalProperties") is False:
        root["additionalProperties"] = False
    return root


def _type_of(document: SchemaDocument, schema: Any) -> JsonObject:
    """The types that a schema names itself, or in what it refers to."""
    seen: list[Any] = []
    while is_object(schema) and "type" not in schema and schema not in seen and len(seen) < _MAX_JOINED:
        seen.append(schema)
        schema = document.referred(schema)
    types = as_object(schema).get("type")
    return {"type": types} if isinstance(types, str) or is_array(types) else {}
