"""Messages from JSON and to JSON by plans that are made once for each message type.

A plan covers what arguments and answers are almost always made of, and gives exactly what protobuf's json_format gives;
for anything else it raises Unplanned, and json_format does the work, or says what is wrong. It asks json_format for the
well-known types, too. json_format looks up every field by reflection for each value, which costs ten times as much.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format, message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]

from stoa.domain.schema.json_value import JsonObject, is_array, is_object

MAX_DEPTH = 100
"""Messages within messages, as json_format has it."""

_LARGEST_FLOAT = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
_EXACT_INTEGER = 2**53
_WRAPPERS = "google/protobuf/wrappers.proto"
_MAPPED = frozenset(
    f"google.protobuf.{name}"
    for name in ("Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp", "Value", "NullValue")
)
"""Types with a JSON form of their own; the wrappers are known by their file."""


class Unplanned(Exception):
    """The value has a form that the plan leaves to json_format."""


FromJson = Callable[[Any, int], Any]
"""A JSON value at a depth as what the constructor of a message takes. Raises Unplanned, or ValueError."""
ToJson = Callable[[Any], Any]


class MessagePlans:
    """The plans for the messages of one descriptor pool, made when they are first asked for."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._readers: dict[str, _Reader] = {}
        self._writers: dict[str, _Writer] = {}

    def from_json(self, descriptor: Any) -> FromJson:
        """Makes the message, from JSON. Raises ValueError for what the message does not take, too."""
        kind = message_factory.GetMessageClass(descriptor)
        if _is_mapped(descriptor):
            return lambda value, depth: json_format.ParseDict(
                value, kind(), descriptor_pool=self._pool, max_recursion_depth=MAX_DEPTH - depth
            )
        reader = self._readers.get(descriptor.full_name)
        if reader is None:
            reader = self._readers[descriptor.full_name] = _Reader(kind)  # before its fields, which may refer to it
            for field in descriptor.fields:
                reader.add(field, self._field_from_json(field))
        return reader.read

    def to_json(self, descriptor: Any) -> ToJson:
        """Gives the JSON of a message. Raises json_format.Error, ValueError."""
        if descriptor.full_name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
            return _own_json
        if _is_mapped(descriptor):
            return lambda message: json_format.MessageToDict(message, descriptor_pool=self._pool)
        writer = self._writers.get(descriptor.full_name)
        if writer is None:
            writer = self._writers[descriptor.full_name] = _Writer()
            for field in descriptor.fields:
                writer.fields[field.number] = (field.json_name, self._field_to_json(field))
        return writer.write

    def _field_from_json(self, field: Any) -> FromJson:
        if _is_map(field):
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            return _map_from_json(_KEYS_FROM_JSON.get(key.cpp_type, _scalar_from_json(key)), self._one_from_json(value))
        one = self._one_from_json(field)
        return _list_from_json(one) if field.is_repeated else one

    def _one_from_json(self, field: Any) -> FromJson:
        return _scalar_from_json(field) if field.message_type is None else self.from_json(field.message_type)

    def _field_to_json(self, field: Any) -> ToJson:
        if _is_map(field):
            return _map_to_json(self._one_to_json(field.message_type.fields_by_name["value"]))
        one = self._one_to_json(field)
        if not field.is_repeated:
            return one
        return list if one is _as_it_is else lambda values: [one(value) for value in values]

    def _one_to_json(self, field: Any) -> ToJson:
        return _scalar_to_json(field) if field.message_type is None else self.to_json(field.message_type)


class _Reader:
    """The fields of one message type, by their names in JSON and in its description."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._fields: dict[str, tuple[str, FromJson, str | None, bool]] = {}

    def add(self, field: Any, from_json: FromJson) -> None:
        group = None if field.containing_oneof is None else field.containing_oneof.name
        takes_null = field.message_type is not None and field.message_type.full_name == "google.protobuf.Value"
        entry = (field.name, from_json, group, takes_null)
        for name in (field.name, field.json_name):  # JSON names win, as in json_format
            if name == field.json_name or name not in self._fields:
                self._fields[name] = entry

    def read(self, value: Any, depth: int) -> Any:
        if not is_object(value) or depth >= MAX_DEPTH:
            raise Unplanned
        members: dict[str, Any] = {}
        groups: list[str] = []
        for name, content in value.items():
            field = self._fields.get(name)
            if field is None:
                raise Unplanned
            own_name, from_json, group, takes_null = field
            if content is None and not takes_null:
                continue
            if own_name in members or group in groups:
                raise Unplanned
            if group is not None:
                groups.append(group)
            members[own_name] = from_json(content, depth + 1)
        return self._kind(**members)


class _Writer:
    """The fields of one message type, by their numbers."""

    def __init__(self) -> None:
        self.fields: dict[int, tuple[str, ToJson]] = {}

    def write(self, message: Any) -> JsonObject:
        fields = self.fields
        made: JsonObject = {}
        for field, value in message.ListFields():
            planned = fields.get(field.number)
            if planned is None:  # an extension
                raise Unplanned
            made[planned[0]] = planned[1](value)
        return made


def _is_mapped(descriptor: Any) -> bool:
    return descriptor.full_name in _MAPPED or descriptor.file.name == _WRAPPERS


def _is_map(field: Any) -> bool:
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


def _enum_from_json(enum: Any) -> FromJson:
    numbers: dict[str, int] = {} if enum.full_name in _MAPPED else {value.name: value.number for value in enum.values}

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


# To JSON


def _as_it_is(value: Any) -> Any:
    return value


def _own_json(message: Any) -> str:
    return str(message.ToJsonString())


def _scalar_to_json(field: Any) -> ToJson:
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum_to_json(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_to_json
    return _SCALARS_TO_JSON.get(field.cpp_type, _as_it_is)


def _map_to_json(one: ToJson) -> ToJson:
    def write(values: Any) -> JsonObject:
        return {_key_to_json(key): one(values[key]) for key in values}

    return write


def _key_to_json(key: Any) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _enum_to_json(enum: Any) -> ToJson:
    if enum.full_name in _MAPPED:
        return lambda _: None
    names = {number: enum.values_by_number[number].name for number in enum.values_by_number}  # the first of aliases
    if enum.is_closed:
        return names.__getitem__
    return lambda number: names.get(number, number)


def _bytes_to_json(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _double_to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _float_to_json(value: float) -> float | str:
    """The shortest number that is the same one in four bytes."""
    if not math.isfinite(value):
        return _double_to_json(value)
    for digits in (6, 7, 8):
        shorter = float(f"{value:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", shorter))[0] == value:
            return shorter
    return float(f"{value:.9g}")


_SCALARS_TO_JSON: Mapping[int, ToJson] = {
    FieldDescriptor.CPPTYPE_INT64: str,
    FieldDescriptor.CPPTYPE_UINT64: str,
    FieldDescriptor.CPPTYPE_DOUBLE: _double_to_json,
    FieldDescriptor.CPPTYPE_FLOAT: _float_to_json,
}
