"""Messages to JSON Schema 2020-12, by the ProtoJSON mapping (protobuf.dev/programming-guides/json).

Every message that is not mapped to a JSON value of its own becomes a member of `$defs`. Schemas of arguments are
closed and exact; those of results are lenient, because a client refuses an answer that violates its schema, and a
server may be newer than its description.
"""

import json
import re
from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_object, is_array
from stoa.infrastructure.protobuf.descriptors import Declaration, Descriptors, is_enum
from stoa.infrastructure.protobuf.rules import with_rules

BUDGET = 48 * 1024
"""Characters of one schema; messages beyond it are described by their name only."""
LIMIT = 256 * 1024
"""Characters that no schema has; the budget is looked at between messages, and one alone may be larger."""
_ENUM_BUDGET = 16 * 1024
"""Beyond BUDGET, for the names of enumerations in arguments."""
_TEXT_LIMIT = 300
_ENUM_NOTES_LIMIT = 1000

_SIGNED = r"^(0|-?([1-9][0-9]{0,17}|[1-8][0-9]{18}|9([01][0-9]|2[0-2])[0-9]{16}))$"
_UNSIGNED = r"^(0|[1-9][0-9]{0,18}|1([0-7][0-9]|8[0-4])[0-9]{17})$"
_SIGNED_32 = r"^(0|-?([1-9][0-9]{0,8}|1[0-9]{9}|2(0[0-9]|1[0-3])[0-9]{7}|214[0-7][0-9]{6}))$"
_UNSIGNED_32 = r"^(0|[1-9][0-9]{0,8}|[1-3][0-9]{9}|4([01][0-9]|2[0-8])[0-9]{7}|429[0-4][0-9]{6})$"
"""To the first three or four digits of the bound: to the last one a pattern would be four times as long."""
_BASE64 = r"^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-]{2}(==)?|[A-Za-z0-9+/_-]{3}=?)?$"
"""Both alphabets of RFC 4648, padded or not, as ProtoJSON takes them."""
_DURATION = r"^-?([0-9]{1,11}|[12][0-9]{11}|3(0[0-9]|1[0-5])[0-9]{9})(\.[0-9]{1,9})?s$"
"""Seconds up to 10,000 years."""
_INT32: JsonObject = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32: JsonObject = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_INT64: JsonObject = {"type": "string", "pattern": _SIGNED}
_UINT64: JsonObject = {"type": "string", "pattern": _UNSIGNED}
_NOT_FINITE: JsonObject = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
_LARGEST_SINGLE = 3.4028234663852886e38
"""The largest float of four bytes."""
_DOUBLE: JsonObject = {"anyOf": [{"type": "number"}, _NOT_FINITE]}
_FLOAT: JsonObject = {
    "anyOf": [{"type": "number", "minimum": -_LARGEST_SINGLE, "maximum": _LARGEST_SINGLE}, _NOT_FINITE]
}
_BYTES: JsonObject = {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
_STRING: JsonObject = {"type": "string"}
_BOOL: JsonObject = {"type": "boolean"}
_ANY_VALUE: JsonObject = {"description": "Any JSON value"}
_OBJECT: JsonObject = {"type": "object", "additionalProperties": True}

_MESSAGE, _GROUP, _REPEATED, _REQUIRED, _IS_BOOL, _IS_BYTES = 11, 10, 3, 2, 8, 12
SCALARS: dict[int, JsonObject] = {
    1: _DOUBLE,
    2: _FLOAT,
    3: _INT64,
    4: _UINT64,
    5: _INT32,
    6: _UINT64,
    7: _UINT32,
    8: _BOOL,
    9: _STRING,
    12: _BYTES,
    13: _UINT32,
    15: _INT32,
    16: _INT64,
    17: _INT32,
    18: _INT64,
}
"""By FieldDescriptorProto.Type."""
_KEYS: dict[int, JsonObject] = {
    **{number: {"pattern": _SIGNED} for number in (3, 16, 18)},
    **{number: {"pattern": _UNSIGNED} for number in (4, 6)},
    **{number: {"pattern": _SIGNED_32} for number in (5, 15, 17)},
    **{number: {"pattern": _UNSIGNED_32} for number in (7, 13)},
    8: {"enum": ["true", "false"]},
}
"""Keys of maps, which are strings in JSON."""

WELL_KNOWN: dict[str, JsonObject] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": _DURATION},
    "google.protobuf.FieldMask": {
        "type": "string",
        "pattern": "^([A-Za-z][A-Za-z0-9]*([.,][A-Za-z][A-Za-z0-9]*)*)?$",
        "description": "Paths in lowerCamelCase, separated by commas",
    },
    "google.protobuf.Struct": _OBJECT,
    "google.protobuf.Value": _ANY_VALUE,
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.NullValue": {"type": "null"},
    "google.protobuf.Empty": {"type": "object", "properties": {}, "additionalProperties": False},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {
            "@type": {
                "type": "string",
                "pattern": "/[A-Za-z_][A-Za-z0-9_.]*$",
                "description": "type.googleapis.com/ and the message's full name",
            }
        },
        "required": ["@type"],
        "additionalProperties": True,
    },
    "google.protobuf.BoolValue": _BOOL,
    "google.protobuf.StringValue": _STRING,
    "google.protobuf.BytesValue": _BYTES,
    "google.protobuf.DoubleValue": _DOUBLE,
    "google.protobuf.FloatValue": _FLOAT,
    "google.protobuf.Int32Value": _INT32,
    "google.protobuf.UInt32Value": _UINT32,
    "google.protobuf.Int64Value": _INT64,
    "google.protobuf.UInt64Value": _UINT64,
}


class SchemaWriter:
    """Schemas of one description. `is_input`: for arguments; else for results."""

    def __init__(self, descriptors: Descriptors, *, is_input: bool) -> None:
        self._descriptors = descriptors
        self._is_input = is_input
        self._messages: dict[str, JsonObject] = {}
        """By name; their references are by full name, whatever schema they come to stand in."""

    def schema(self, name: str) -> tuple[JsonObject, bool]:
        """The schema of a message as the root of arguments or results, and whether it is complete. A message that is no
        JSON object (Timestamp, Value, ...) stands below the property `value`. Raises UnknownType, or ValueError for a
        message with too many fields."""
        if name in WELL_KNOWN:
            value = self._well_known(name)
            if value.get("type") == "object":
                return {"properties": {}, **value}, True
            return {"type": "object", "properties": {"value": value}, "additionalProperties": not self._is_input}, True
        root = self._message(name)
        size = len(json.dumps(root))
        if size > LIMIT:
            raise ValueError(f"{name} has too many fields to describe")
        definitions: dict[str, JsonObject] = {}
        is_complete = True
        for reached in self._descriptors.closure([name])[1:]:
            if reached in WELL_KNOWN or self._is_map_entry(reached):
                continue
            if size > BUDGET:
                made = {**self._short(reached, size), "description": f"{reached}, in JSON"}
                is_complete = False
            else:
                made = self._type(reached)
            if size + (length := len(json.dumps(made))) > LIMIT:
                made, length, is_complete = {"description": f"{reached}, in JSON"}, 0, False
            size += length
            definitions[reached] = made
        if _refers_to(name, [root, *definitions.values()]):
            definitions[name] = root
        return ({**root, "$defs": definitions} if definitions else root), is_complete

    def list_schema(self, name: str, max_items: int | None) -> tuple[JsonObject, bool]:
        """The schema of an object whose `messages` are messages of this type."""
        inner, is_complete = self.schema(name)
        definitions = as_object(inner.pop("$defs", None)) if "$defs" in inner else {}
        items: JsonObject = {"type": "array", "items": inner}
        if max_items is not None:
            items["maxItems"] = max_items
        whole: JsonObject = {"type": "object", "properties": {"messages": items}, "required": ["messages"]}
        if self._is_input:
            whole["additionalProperties"] = False
        return ({**whole, "$defs": definitions} if definitions else whole), is_complete

    def _short(self, name: str, size: int) -> JsonObject:
        """A type beyond the budget. Names of an enumeration cannot be guessed, so they stay as long as they may."""
        declared = self._descriptors.type(name)
        if not is_enum(declared):
            return {"type": "object"}
        if size > BUDGET + _ENUM_BUDGET or not self._is_input:
            return {}
        return {"type": "string", "enum": list(dict.fromkeys(value.name for value in declared.proto.value))}

    def _type(self, name: str) -> JsonObject:
        declared = self._descriptors.type(name)
        return self._enum(declared) if is_enum(declared) else self._message(name)

    def _message(self, name: str) -> JsonObject:
        made = self._messages.get(name)
        if made is None:
            made = self._messages[name] = self._write(self._descriptors.type(name))
        return dict(made)

    def _write(self, declared: Declaration) -> JsonObject:
        properties: dict[str, JsonObject] = {}
        required: list[str] = []
        members: dict[int, list[str]] = {}
        for number, field in enumerate(declared.proto.field):
            options = self._descriptors.options("FieldOptions", field.options)
            behaviour = options.get("[google.api.field_behavior]")
            behaviours: list[Any] = behaviour if is_array(behaviour) else []
            if ("OUTPUT_ONLY" if self._is_input else "INPUT_ONLY") in behaviours:
                continue
            schema, is_required = self._field(declared, field, number), field.label == _REQUIRED
            if self._is_input:
                schema, demands = with_rules(schema, as_object(options.get("[buf.validate.field]")))
                is_required = is_required or demands or "REQUIRED" in behaviours
            name = _json_name(field)
            properties[name] = schema
            if is_required:
                required.append(name)
            if field.HasField("oneof_index") and not field.proto3_optional:
                members.setdefault(field.oneof_index, []).append(name)
        made: JsonObject = {"type": "object", "properties": properties}
        if text := _line(self._descriptors.comment(declared)):
            made["description"] = text
        if not self._is_input:
            return made
        if required:
            made["required"] = required
        made["additionalProperties"] = False
        exclusive = [
            _one_of(names, is_required=self._is_required(declared, number))
            for number, names in members.items()
            if len(names) > 1 or self._is_required(declared, number)
        ]
        if exclusive:
            made["allOf"] = exclusive
        return made

    def _is_required(self, declared: Declaration, number: int) -> bool:
        """True for a oneof of which a member must be set."""
        options = self._descriptors.options("OneofOptions", declared.proto.oneof_decl[number].options)
        return as_object(options.get("[buf.validate.oneof]")).get("required") is True

    def _field(self, declared: Declaration, field: Any, number: int) -> JsonObject:
        if field.type in (_MESSAGE, _GROUP) and field.label == _REPEATED and self._is_map_entry(field.type_name):
            schema = self._map(self._descriptors.type(field.type_name))
        else:
            schema = self._single(field)
            if field.label == _REPEATED:
                schema = {"type": "array", "items": schema}
        notes = [_line(self._descriptors.field_comment(declared, number))]
        if field.HasField("oneof_index") and not field.proto3_optional:
            notes.append(f"(one of {declared.proto.oneof_decl[field.oneof_index].name})")
        text = " ".join(note for note in notes if note)
        if text:
            schema = {**schema, "description": text}
        if self._is_input and field.default_value:
            schema = {**schema, **_default(field)}
        return {**schema, "deprecated": True} if field.options.deprecated else schema

    def _single(self, field: Any) -> JsonObject:
        name = field.type_name.lstrip(".")
        if not name:
            return SCALARS[field.type] if self._is_input else _lenient(SCALARS[field.type])
        if name in WELL_KNOWN:
            return self._well_known(name)
        return {"$ref": f"#/$defs/{name}"}

    def _map(self, entry: Declaration) -> JsonObject:
        key, value = sorted(entry.proto.field, key=lambda field: int(field.number))
        made: JsonObject = {"type": "object", "additionalProperties": self._single(value)}
        if self._is_input and key.type in _KEYS:
            made["propertyNames"] = _KEYS[key.type]
        return made

    def _enum(self, declared: Declaration) -> JsonObject:
        names = [value.name for value in declared.proto.value]
        notes = [_line(self._descriptors.comment(declared))]
        for number, value in enumerate(declared.proto.value):
            text = _line(self._descriptors.field_comment(declared, number))
            if text and sum(map(len, notes)) < _ENUM_NOTES_LIMIT:
                notes.append(f"{value.name}: {text}")
        described: JsonObject = {"description": "\n".join(filter(None, notes))} if any(notes) else {}
        if self._is_input:
            return {"type": "string", "enum": list(dict.fromkeys(names)), **described}
        # An open enumeration: a value that the description does not know yet comes as its number.
        return {"anyOf": [{"type": "string", "examples": names[:20]}, {"type": "integer"}], **described}

    def _well_known(self, name: str) -> JsonObject:
        return WELL_KNOWN[name] if self._is_input else _lenient(WELL_KNOWN[name])

    def _is_map_entry(self, name: str) -> bool:
        declared = self._descriptors.types.get(name.lstrip("."))
        return declared is not None and not is_enum(declared) and bool(declared.proto.options.map_entry)


def _json_name(field: Any) -> str:
    """In lowerCamelCase. Descriptors of servers in Python or C++ do not say it."""
    return field.json_name or re.sub("_+(.?)", lambda match: match[1].upper(), field.name)


def _lenient(schema: JsonObject) -> JsonObject:
    kept = {key: value for key, value in schema.items() if key not in {"pattern", "minimum", "maximum", "format"}}
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]
    return {**kept, "anyOf": [_lenient(each) for each in schema["anyOf"]]} if "anyOf" in schema else kept


def _one_of(names: list[str], *, is_required: bool) -> JsonObject:
    """ProtoJSON refuses two members of a oneof; none is allowed, unless protovalidate demands one."""
    each: list[JsonObject] = [{"required": [name]} for name in names]
    return {"type": "object", "oneOf": each if is_required else [*each, {"not": {"anyOf": each}}]}


def _default(field: Any) -> JsonObject:
    """The default of a proto2 field, which descriptor.proto has as text."""
    text = str(field.default_value)
    if field.type == _IS_BOOL:
        return {"default": text == "true"}
    if SCALARS.get(field.type) in (_INT32, _UINT32):
        return {"default": int(text)}
    if field.type in (1, 2):
        try:
            number = float(text)
        except ValueError:
            return {}
        return {"default": number} if abs(number) < float("inf") else {}
    return {} if field.type == _IS_BYTES else {"default": text}


def _refers_to(name: str, schemas: list[JsonObject]) -> bool:
    reference = json.dumps({"$ref": f"#/$defs/{name}"})[1:-1]
    return any(reference in json.dumps(schema) for schema in schemas)


def _line(text: str) -> str:
    """A comment as one line, at most _TEXT_LIMIT characters."""
    joined = " ".join(text[: 8 * _TEXT_LIMIT].split())
    return joined if len(joined) <= _TEXT_LIMIT else f"{joined[: _TEXT_LIMIT - 1].rstrip()}…"
