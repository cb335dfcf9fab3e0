"""Correlation ids in the payload: the member is set by the gateway in requests, and read from replies."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs

from stoa.domain.errors import InvalidArguments, Violation
from stoa.domain.schema.json_pointer import resolve, tokens_of
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.kafka.tool_schemas import PartSchema

_SAMPLE = str(uuid.UUID(int=2**127))
_MAX_REFERENCES = 20


class NoSuchMember(ValueError):
    """The payload's schema does not have the member, or not as a text; the message says which."""


def without_member(part: PartSchema, pointer: str) -> PartSchema:
    """A schema of arguments without the member that the gateway sets. Raises NoSuchMember."""
    schema = _without(part.schema, tokens_of(pointer), part.definitions)
    if schema is None:
        raise NoSuchMember(f"its correlation id is at {pointer[:200]} of the payload, which takes no random text there")
    return PartSchema(schema, part.definitions)


def with_member(value: Any, pointer: str, text: str) -> Any:
    """A value with one member set, in objects that are made where there are none. Raises InvalidArguments."""
    return _with(value, tokens_of(pointer), text, "")


def member_text(value: Any, pointer: str) -> str:
    """The member of a reply; empty if there is none that is a text."""
    return as_text(resolve(value, tokens_of(pointer)))


def _with(value: Any, tokens: Sequence[str], text: str, place: str) -> JsonObject:
    if not is_object(value):
        raise InvalidArguments([Violation(f"/value{place}", "an object, in which the gateway sets the correlation id")])
    first, *rest = tokens
    inner = _with(value.get(first, {}), rest, text, f"{place}/{first}") if rest else text
    return {**value, first: inner}


def _without(schema: JsonObject, tokens: Sequence[str], definitions: Mapping[str, Any]) -> JsonObject | None:
    """None where the schema does not have the member as a text."""
    for _ in range(_MAX_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        notes = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**as_object(definitions.get(reference.removeprefix("#/$defs/"))), **notes}
    properties = as_object(schema.get("properties"))
    first, *rest = tokens
    if first not in properties:
        return _without_in_parts(schema, tokens, definitions)
    left = {name: value for name, value in properties.items() if name != first}
    is_required = False
    if rest:
        inner = _without(as_object(properties[first]), rest, definitions)
        if inner is None:
            return None
        left = {**properties, first: inner}
        is_required = bool(inner.get("required"))  # of an object with the id alone nothing is left to say
    elif not _takes_text(properties[first], definitions):
        return None
    required = [name for name in as_array(schema.get("required")) if name != first or is_required]
    rest_of_schema = {key: value for key, value in schema.items() if key not in {"properties", "required", "examples"}}
    return {**rest_of_schema, "properties": left, **({"required": required} if required else {})}


def _without_in_parts(schema: JsonObject, tokens: Sequence[str], definitions: Mapping[str, Any]) -> JsonObject | None:
    """The schema without the member, where it is declared in a part of `allOf`; any part may require it."""
    parts = [as_object(part) for part in as_array(schema.get("allOf"))]
    changed = [_without(part, tokens, definitions) for part in parts]
    if not any(part is not None for part in changed):
        return None
    first = tokens[0]
    every = [_not_required(old, first) if new is None else new for old, new in zip(parts, changed, strict=True)]
    return {**_not_required(schema, first), "allOf": every}


def _not_required(schema: JsonObject, name: str) -> JsonObject:
    required = [each for each in as_array(schema.get("required")) if each != name]
    rest = {key: value for key, value in schema.items() if key != "required"}
    return {**rest, "required": required} if required else rest


def _takes_text(schema: Any, definitions: Mapping[str, Any]) -> bool:
    if not is_object(schema) or schema.get("format") not in {None, "uuid"}:
        return False
    return jsonschema_rs.is_valid({**schema, "$defs": dict(definitions)}, _SAMPLE)
