"""Avro values as JSON, and Avro schemas as JSON Schema.

The JSON form is that of the specification's JSON encoding (Avro 1.12, "JSON Encoding"), except where an agent could
not write it: bytes are base64, a decimal is a decimal string, and a union of null and one other type is that type,
nullable. Other unions are written with the name of the branch: `{"string": "x"}`.

Writing is fastavro's. Reading is not: a record that nests a few thousand levels, which any producer on the topic can
write, ends the process in fastavro's C code.
"""

import base64
import io
import re
import struct
from collections.abc import Iterator
from typing import Any

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_array, as_text, is_array, is_object
from stoa.infrastructure.documents.json_allowance import VALUE_CHARACTERS, JsonAllowance
from stoa.infrastructure.kafka.avro_bounds import EmptyTypes, count_default_values
from stoa.infrastructure.kafka.avro_schema import FLOATS, INTEGERS, nullable, schema_of_type
from stoa.infrastructure.kafka.part_codec import PartCodec, Undecodable, Unencodable

MAX_DEFINITION = 256 * 1024
MAX_DEPTH = 100
MAX_SCALE = 1000
"""Digits after the point of a decimal, which are written out."""
_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_NAMED = {"record", "error", "enum", "fixed"}
_DECIMAL = re.compile(r"(-?)(\d+)(?:\.(\d+))?")


class AvroType(PartCodec):
    """One schema, compiled: reading, writing and its JSON Schema."""

    def __init__(self, definition: str) -> None:
        """`definition`: the schema as JSON. Raises InvalidInput."""
        import fastavro  # with its C modules, for those who have such records
        import pydantic_core
        from fastavro.schema import SchemaParseException

        if len(definition) > MAX_DEFINITION:
            raise InvalidInput(f"the Avro schema is longer than {MAX_DEFINITION} characters")
        try:
            raw: Any = pydantic_core.from_json(definition)
            raw = {"type": raw} if isinstance(raw, str) else raw
            self._types: dict[str, JsonObject] = {}
            self._root = self._resolved(raw, "", 0)
            self._written_by = fastavro.parse_schema(_plain(raw))
        except InvalidInput:
            raise
        except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise InvalidInput("it is no Avro schema") from None
        library: Any = fastavro
        self._write: Any = library.schemaless_writer
        empty = EmptyTypes(self._types)
        if any(part["kind"] == "array" and empty.is_empty(part["items"]) for part in self._parts()):
            raise InvalidInput("an array of values without bytes, such as nulls, is not read: its length has no bound")
        count_default_values(self._types)

    def encode(self, value: Any) -> bytes:
        """Raises Unencodable, or another ValueError or TypeError for a value that the schema does not have;
        AllowanceExceeded where its defaults are too many."""
        out = io.BytesIO()
        self._write(out, self._written_by, self._to_avro(value, self._root, "", JsonAllowance()))
        return out.getvalue()

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:
        """Raises Undecodable, AllowanceExceeded."""
        reader = _Reader(data, allowance or JsonAllowance())
        try:
            value = self._read(reader, self._root, 0)
        except (IndexError, struct.error, ValueError, OverflowError):  # Undecodable is a ValueError
            raise Undecodable from None
        if not reader.is_at_end:
            raise Undecodable
        return value

    def json_schema(self, prefix: str = "avro") -> tuple[JsonObject, JsonObject]:
        """The JSON Schema, and its `$defs`: types that are used more than once, so that it is no larger than the Avro
        schema. Their names begin with `prefix`."""
        definitions: JsonObject = {}
        names = {part["ref"]: f"{prefix}.{part['ref']}" for part in self._parts() if "ref" in part}

        def of(part: JsonObject) -> JsonObject:
            name: str = part.get("ref") or part.get("name") or ""
            if name in names:
                if names[name] not in definitions:
                    definitions[names[name]] = {}
                    definitions[names[name]] = schema_of_type(self._types[name], of)
                return {"$ref": f"#/$defs/{names[name]}"}
            return schema_of_type(self._types[part["ref"]] if "ref" in part else part, of)

        return of(self._root), definitions

    def _parts(self) -> Iterator[JsonObject]:
        """Every part of the schema, once."""
        waiting = [self._root]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += _children(part)

    def _resolved(self, raw: Any, namespace: str, depth: int) -> JsonObject:
        """The schema in one shape: `kind`, and what the kind needs. A named type stands where it is declared; elsewhere
        `ref` names it."""
        if depth > MAX_DEPTH:
            raise InvalidInput(f"the Avro schema nests deeper than {MAX_DEPTH} levels")
        if is_array(raw):
            branches = [self._resolved(part, namespace, depth + 1) for part in raw]
            return {"kind": "union", "branches": branches, "labels": [self._label(part) for part in branches]}
        if isinstance(raw, str):
            if raw in _PRIMITIVES:
                return {"kind": raw}
            name = raw if "." in raw or not namespace else f"{namespace}.{raw}"
            name = name if name in self._types else raw
            if name not in self._types:
                raise InvalidInput(f"the Avro schema does not declare {raw[:80]!r}")
            return {"kind": "ref", "ref": name}
        if not is_object(raw):
            raise InvalidInput("it is no Avro schema")
        kind = raw.get("type")
        if is_object(kind) or is_array(kind):
            return {**self._resolved(kind, namespace, depth + 1), **_notes(raw)}
        if kind in _NAMED:
            return self._named(raw, str(kind), namespace, depth)
        if kind == "array":
            return {"kind": "array", "items": self._resolved(raw["items"], namespace, depth + 1), **_notes(raw)}
        if kind == "map":
            return {"kind": "map", "items": self._resolved(raw["values"], namespace, depth + 1), **_notes(raw)}
        return {**self._resolved(kind, namespace, depth + 1), **_notes(raw), **_logical(raw)}

    def _named(self, raw: JsonObject, kind: str, namespace: str, depth: int) -> JsonObject:
        short = as_text(raw.get("name"))
        space = short.rpartition(".")[0] or as_text(raw.get("namespace")) or namespace
        name = short if "." in short or not space else f"{space}.{short}"
        kind = "record" if kind == "error" else kind
        declared: JsonObject = {"kind": kind, "name": name, **_notes(raw), **_logical(raw)}
        self._types[name] = declared
        if kind == "enum":
            declared["symbols"] = [as_text(symbol) for symbol in as_array(raw.get("symbols"))]
        elif kind == "fixed":
            declared["size"] = int(raw["size"])
        else:
            declared["fields"] = [
                {
                    "name": field["name"],
                    "has_default": "default" in field,
                    "default": field.get("default"),
                    "type": {**self._resolved(field["type"], space, depth + 1), **_notes(field)},
                }
                for field in as_array(raw.get("fields"))
            ]
            declared["cost"] = sum(VALUE_CHARACTERS + len(as_text(field["name"])) for field in declared["fields"])
        return declared

    def _label(self, part: JsonObject) -> str:
        return str(part.get("ref") or part.get("name") or part["kind"])

    def _to_avro(self, value: Any, part: JsonObject, place: str, allowance: JsonAllowance) -> Any:
        """The value as fastavro takes it, which adds defaults. `allowance`: for those."""
        part = self._types[part["ref"]] if "ref" in part else part
        kind = part["kind"]
        if kind == "union":
            return self._branch_value(value, part, place, allowance)
        if kind == "record":
            return self._record_value(value, part, place, allowance)
        if kind == "array":
            items = part["items"]
            return [self._to_avro(entry, items, f"{place}/{number}", allowance) for number, entry in enumerate(value)]
        if kind == "map":
            items = part["items"]
            return {name: self._to_avro(entry, items, f"{place}/{name}", allowance) for name, entry in value.items()}
        if "scale" in part:
            return _unscaled(value, part, place)
        if kind in {"bytes", "fixed"}:
            return _bytes_of(value, part, place)
        return float(value) if kind in FLOATS else int(value) if kind in INTEGERS else value

    def _record_value(self, value: JsonObject, part: JsonObject, place: str, allowance: JsonAllowance) -> Any:
        made: JsonObject = {}
        for field in part["fields"]:
            name = field["name"]
            if name in value:
                made[name] = self._to_avro(value[name], field["type"], f"{place}/{name}", allowance)
            elif field["has_default"]:
                allowance.take(VALUE_CHARACTERS * field["default_values"])
        return made

    def _branch_value(self, value: Any, part: JsonObject, place: str, allowance: JsonAllowance) -> Any:
        if value is None:
            return None
        other = nullable(part)
        if other is not None:
            return self._to_avro(value, other, place, allowance)
        ((label, inner),) = value.items()
        branch = part["branches"][part["labels"].index(label)]
        return label, self._to_avro(inner, branch, f"{place}/{label}", allowance)

    def _read(self, reader: "_Reader", part: JsonObject, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Undecodable
        part = self._types[part["ref"]] if "ref" in part else part
        match part["kind"]:
            case "union":
                number = reader.long()
                if not 0 <= number < len(part["branches"]):
                    raise Undecodable
                value = self._read(reader, part["branches"][number], depth + 1)
                if value is None or nullable(part) is not None:
                    return value
                reader.allowance.take(VALUE_CHARACTERS + len(part["labels"][number]))
                return {part["labels"][number]: value}
            case "record":
                reader.allowance.take(part["cost"])
                return {field["name"]: self._read(reader, field["type"], depth + 1) for field in part["fields"]}
            case "array":
                return [self._read(reader, part["items"], depth + 1) for _ in reader.blocks()]
            case "map":
                return {reader.text(): self._read(reader, part["items"], depth + 1) for _ in reader.blocks()}
            case "enum":
                symbol = part["symbols"][reader.index()]
                reader.allowance.take(len(symbol))
                return symbol
            case _:
                return _primitive(reader, part)


class _Reader:
    """Avro's binary encoding, within the bytes that are there."""

    def __init__(self, data: bytes, allowance: JsonAllowance) -> None:
        self._data = data
        self._at = 0
        self.allowance = allowance

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def bytes(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise Undecodable
        data, self._at = self._data[self._at : end], end
        return data

    def long(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return (number >> 1) ^ -(number & 1)
            shift += 7
            if shift > 63:
                raise Undecodable

    def index(self) -> int:
        number = self.long()
        if number < 0:
            raise Undecodable
        return number

    def text(self) -> str:
        return self.bytes(self.long()).decode("utf-8")

    def blocks(self) -> Any:
        """Yields once for each item of an array or map; the items have bytes, so there are no more than those."""
        while count := self.long():
            if count < 0:
                self.long()  # the block's size in bytes
            self.allowance.take(VALUE_CHARACTERS * abs(count))
            yield from range(abs(count))


def _primitive(reader: _Reader, part: JsonObject) -> Any:
    kind = part["kind"]
    if kind == "null":
        return None
    if kind == "boolean":
        return reader.bytes(1) != b"\x00"
    if kind in INTEGERS:
        return reader.long()
    if kind in FLOATS:
        form, size = FLOATS[kind]
        number = struct.unpack(form, reader.bytes(size))[0]
        return number if abs(number) < float("inf") else str(number)
    if kind == "string":
        return reader.text()
    data = reader.bytes(part["size"] if kind == "fixed" else reader.long())
    if "scale" in part:
        return _decimal_text(int.from_bytes(data, "big", signed=True), part["scale"])
    return base64.b64encode(data).decode("ascii")


def _children(part: JsonObject) -> list[JsonObject]:
    match part["kind"]:
        case "record":
            return [field["type"] for field in part["fields"]]
        case "array" | "map":
            return [part["items"]]
        case "union":
            return [*part["branches"]]
        case _:
            return []


def _notes(raw: JsonObject) -> JsonObject:
    doc = as_text(raw.get("doc"))
    return {"doc": doc} if doc else {}


def _logical(raw: JsonObject) -> JsonObject:
    logical = as_text(raw.get("logicalType"))
    if logical == "decimal" and raw.get("type") in {"bytes", "fixed"}:
        scale = int(raw.get("scale") or 0)
        if not 0 <= scale <= MAX_SCALE:
            raise InvalidInput(f"a decimal of the Avro schema has a scale that is not between 0 and {MAX_SCALE}")
        return {"scale": scale}
    return {"logical": logical} if logical else {}


def _plain(raw: Any) -> Any:
    """The schema without logical types, which are read and written here."""
    if is_object(raw):
        return {key: _plain(value) for key, value in raw.items() if key != "logicalType"}
    return [_plain(entry) for entry in raw] if is_array(raw) else raw


def _unscaled(value: Any, part: JsonObject, place: str) -> bytes:
    read = _DECIMAL.fullmatch(value)
    if read is None or len(read[3] or "") != part["scale"]:
        raise Unencodable(place, f"a decimal with {part['scale']} digits after the point")
    number = int(f"{read[1]}{read[2]}{read[3] or ''}")
    size = part.get("size") or max(1, (number.bit_length() + 8) // 8)
    try:
        return number.to_bytes(size, "big", signed=True)
    except OverflowError:
        raise Unencodable(place, f"a decimal of {size} bytes") from None


def _decimal_text(number: int, scale: int) -> str:
    digits = str(abs(number)).rjust(scale + 1, "0")
    whole, fraction = (digits[:-scale], f".{digits[-scale:]}") if scale else (digits, "")
    return f"{'-' if number < 0 else ''}{whole}{fraction}"


def _bytes_of(value: str, part: JsonObject, place: str) -> bytes:
    data = from_base64(value, place)
    if "size" in part and len(data) != part["size"]:
        raise Unencodable(place, f"{part['size']} bytes in base64")
    return data


def from_base64(text: str, place: str = "") -> bytes:
    """Raises Unencodable, also for a text that another text would be the canonical form of."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b"\0"
    if base64.b64encode(data).decode("ascii") != text:
        raise Unencodable(place, "base64 (RFC 4648 section 4)")
    return data
