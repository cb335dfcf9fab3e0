"""Messages from JSON by plans that are made once for each message type.

A plan covers what arguments are almost always made of, and gives exactly what protobuf's json_format gives. For all
else it raises Unplanned, and json_format does the work, or says what is wrong. It asks json_format for the well-known
types, too. json_format looks up every field by reflection for each value, which costs ten times as much.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format, message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]

from stoa.domain.schema.json_value import is_array, is_object

MAX_DEPTH = 100
"""Messages within messages, as json_format has it."""

_LARGEST_FLOAT = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
_EXACT_INTEGER = 2**53
WRAPPERS = "google/protobuf/wrappers.proto"
MAPPED = frozenset(
    f"google.protobuf.{name}"
    for name in ("Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp", "Value", "NullValue")
)
"""Types with a JSON form of their own; the wrappers are known by their file."""
_TAKE_NULL = {"google.protobuf.Value", "google.protobuf.NullValue"}


class Unplanned(Exception):
    """The value has a form that the plan leaves to json_format."""


FromJson = Callable[[Any, int], Any]
"""A JSON value at a depth as what the constructor of a message takes. Raises Unplanned, or ValueError."""


class MessagePlans:
    """The plans for the messages of one descriptor pool, made when they are first asked for."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._readers: dict[str, _Reader] = {}

    def from_json(self, descriptor: Any) -> FromJson:
        """Makes the message, from JSON. Raises ValueError for what the message does not take, too."""
        kind = message_factory.GetMessageClass(descriptor)
        if is_mapped(descriptor):
            return lambda value, depth: json_format.ParseDict(
                value, kind(), descriptor_pool=self._pool, max_recursion_depth=MAX_DEPTH - depth
            )
        reader = self._readers.get(descriptor.full_name)
        if reader is None:
            reader = self._readers[descriptor.full_name] = _Reader(kind, self._field_from_json)
        return reader.read

    def _field_from_json(self, field: Any) -> FromJson:
        if is_map(field):
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            return _map_from_json(_KEYS_FROM_JSON.get(key.cpp_type, _scalar_from_json(key)), self._one_from_json(value))
        one = self._one_from_json(field)
        return _list_from_json(one) if field.is_repeated else one

    def _one_from_json(self, field: Any) -> FromJson:
        return _scalar_from_json(field) if field.message_type is None else self.from_json(field.message_type)


class _PlannedField(NamedTuple):
    name: str
    from_json: FromJson
    group: str | None
    """The oneof that it belongs to."""
    takes_null: bool


class _Reader:
    """Messages of one type. `plan`: of a field, asked for when the field is first given; planning all that a type
    reaches would recurse as deep as its author likes."""

    def __init__(self, kind: Any, plan: Callable[[Any], FromJson]) -> None:
        self._kind = kind
        self._plan = plan
        self._declared = {field.name: field for field in kind.DESCRIPTOR.fields}
        self._declared |= {field.json_name: field for field in kind.DESCRIPTOR.fields}  # which win, as in json_format
        self._fields: dict[str, _PlannedField] = {}
        """By their names in JSON and in the description."""

    def read(self, value: Any, depth: int) -> Any:
        if not is_object(value) or depth >= MAX_DEPTH:
            raise Unplanned
        members: dict[str, Any] = {}
        groups: list[str] = []
        for name, content in value.items():
            own_name, from_json, group, takes_null = self._fields.get(name) or self._planned(name)
            if content is None and not takes_null:
                continue
            if own_name in members or group in groups:
                raise Unplanned
            if group is not None:
                groups.append(group)
            members[own_name] = from_json(content, depth + 1)
        return self._kind(**members)

    def _planned(self, name: str) -> _PlannedField:
        """Raises Unplanned for a name that no field has."""
        field = self._declared.get(name)
        if field is None:
            raise Unplanned
        group = None if field.containing_oneof is None else field.containing_oneof.name
        declared = field.message_type or field.enum_type
        takes_null = declared is not None and declared.full_name in _TAKE_NULL and not field.is_repeated
        planned = self._fields[name] = _PlannedField(field.name, self._plan(field), group, takes_null)
        return planned


def is_mapped(descriptor: Any) -> bool:
    return descriptor.full_name in MAPPED or descriptor.file.name == WRAPPERS


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


# From JSON


def _scalar_from_json(field: Any) -> FromJson:
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum_from_json(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_from_json
    return _SCALARS_FROM_JSON[field.cpp_type]


def _list_from_json(one: FromJson) -> FromJson:
    def read(value: Any, depth: int) -> Any:
        if not is_array(value):
            raise Unplanned
        return [one(item, depth) for item in value]

    return read


def _map_from_json(key: FromJson, one: FromJson) -> FromJson:
    def read(value: Any, depth: int) -> Any:
        if not is_object(value):
            raise Unplanned
        return {key(name, depth): one(item, depth) for name, item in value.items()}

    return read


def _integer_from_json(least: int, greatest: int) -> FromJson:
    def read(value: Any, _: int) -> int:
        if type(value) is str and " " not in value:
            value = int(value)
        if type(value) is not int or not least <= value <= greatest:
            raise Unplanned
        return value

    return read


def _double_from_json(value: Any, _: int) -> float:
    if type(value) is int and -_EXACT_INTEGER < value < _EXACT_INTEGER:
        return float(value)
    if type(value) is not float or not math.isfinite(value):
        raise Unplanned
    return value


def _float_from_json(value: Any, depth: int) -> float:
    number = _double_from_json(value, depth)
    if abs(number) > _LARGEST_FLOAT:
        raise Unplanned
    return number


def _bool_from_json(value: Any, _: int) -> bool:
    if type(value) is not bool:
        raise Unplanned
    return value


def _string_from_json(value: Any, _: int) -> str:
    if type(value) is not str:
        raise Unplanned
    return value


def _bytes_from_json(value: Any, _: int) -> bytes:
    if type(value) is not str:
        raise Unplanned
    encoded = value.encode()
    return base64.urlsafe_b64decode(encoded + b"=" * (4 - len(encoded) % 4))


def _null_from_json(value: Any, _: int) -> int:
    if value is not None:
        raise Unplanned
    return 0


def _enum_from_json(enum: Any) -> FromJson:
    if enum.full_name in MAPPED:
        return _null_from_json
    numbers: dict[str, int] = {value.name: value.number for value in enum.values}

    def read(value: Any, _: int) -> int:
        number = numbers.get(value) if type(value) is str else None
        if number is None:
            raise Unplanned
        return number

    return read


def _bool_key(value: Any, _: int) -> bool:
    if value not in {"true", "false"}:
        raise Unplanned
    return bool(value == "true")


_INT32 = _integer_from_json(-(2**31), 2**31 - 1)
_SCALARS_FROM_JSON: Mapping[int, FromJson] = {
    FieldDescriptor.CPPTYPE_INT32: _INT32,
    FieldDescriptor.CPPTYPE_INT64: _integer_from_json(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: _integer_from_json(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: _integer_from_json(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: _double_from_json,
    FieldDescriptor.CPPTYPE_FLOAT: _float_from_json,
    FieldDescriptor.CPPTYPE_BOOL: _bool_from_json,
    FieldDescriptor.CPPTYPE_STRING: _string_from_json,
}
_KEYS_FROM_JSON: Mapping[int, FromJson] = {FieldDescriptor.CPPTYPE_BOOL: _bool_key}
