"""Messages to JSON by plans that are made once for each message type: what protobuf's json_format gives, in a tenth of
the time and within an allowance.

An Any whose content cannot be read, with which json_format gives nothing at all, is shown as it was sent.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.documents.json_allowance import VALUE_CHARACTERS, AllowanceExceeded, JsonAllowance
from stoa.infrastructure.protobuf.message_plan import MAPPED, WRAPPERS, is_map, is_mapped
from stoa.infrastructure.protobuf.value_count import UNCOUNTED_BYTES, ValueCounter

UNREAD = "@value"
"""The member for the content of an Any that cannot be read, in base64, as grpcurl calls it."""
_ANY = "google.protobuf.Any"

ScalarToJson = Callable[[Any], Any]
ToJson = Callable[[Any, JsonAllowance], Any]
"""A message, list or map as JSON. Raises AllowanceExceeded, or ValueError for a message that has no JSON form."""


class JsonPlans:
    """The plans for the messages of one descriptor pool, made when they are first asked for."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._writers: dict[str, _Writer] = {}
        self._counter = ValueCounter()

    def parsed(self, kind: Any, data: bytes) -> Any:
        """A message of the class `kind`. Raises DecodeError, AllowanceExceeded."""
        if len(data) > UNCOUNTED_BYTES and self._counter.has_more(kind.DESCRIPTOR, data):
            raise AllowanceExceeded
        return kind.FromString(data)

    def to_json(self, descriptor: Any) -> ToJson:
        """Gives the JSON of a message."""
        name = descriptor.full_name
        if descriptor.file.name == WRAPPERS:
            return _wrapper_to_json(_scalar_to_json(descriptor.fields_by_name["value"]))
        if name == _ANY:
            return self.any_to_json
        if name in _MAPPED_TO_JSON:
            return _MAPPED_TO_JSON[name]
        writer = self._writers.get(name)
        if writer is None:
            writer = self._writers[name] = _Writer(self._planned_field)
        return writer.write

    def _planned_field(self, field: Any) -> "_PlannedField":
        name = f"[{field.full_name}]" if field.is_extension else field.json_name
        cost = VALUE_CHARACTERS + len(name)
        if is_map(field):
            value = self._planned_field(field.message_type.fields_by_name["value"])
            return _PlannedField(name, cost, None, _map_to_json(value))
        if field.message_type is None:
            scalar = _scalar_to_json(field)
            cost += _longest_name(field.enum_type)
            if not field.is_repeated:
                return _PlannedField(name, cost, scalar, _nothing_to_json)
            return _PlannedField(name, cost, None, _scalars_to_json(scalar, cost - len(name)))
        whole = self.to_json(field.message_type)
        return _PlannedField(name, cost, None, _messages_to_json(whole) if field.is_repeated else whole)

    def any_to_json(self, message: Any, allowance: JsonAllowance) -> JsonObject:
        """With its content, where its type is declared and the content is of it."""
        if not message.type_url and not message.value:
            return {}
        made: JsonObject = {"@type": message.type_url}
        try:
            descriptor = self._pool.FindMessageTypeByName(message.type_url.rpartition("/")[2])
            inner = self.parsed(message_factory.GetMessageClass(descriptor), message.value)
            content = self.to_json(descriptor)(inner, allowance)
        except (KeyError, TypeError, ValueError, AttributeError, DecodeError, RecursionError):
            return {**made, UNREAD: _bytes_to_json(message.value)}
        return {**made, "value": content} if is_mapped(descriptor) else {**made, **content}


class _PlannedField(NamedTuple):
    name: str
    cost: int
    """Characters that its name and a value take at most; what is in the value is not counted."""
    scalar: ScalarToJson | None
    """None: `whole` makes the value."""
    whole: ToJson


class _Writer:
    """Messages of one type. `plan`: of a field, asked for when the field is first seen; planning all that a type
    reaches would recurse as deep as its author likes."""

    def __init__(self, plan: Callable[[Any], _PlannedField]) -> None:
        self._plan = plan
        self._fields: dict[int, _PlannedField] = {}
        """By number."""

    def write(self, message: Any, allowance: JsonAllowance) -> JsonObject:
        fields = self._fields
        made: JsonObject = {}
        spent = 0
        for field, value in message.ListFields():
            planned = fields.get(field.number)
            if planned is None:
                planned = fields[field.number] = self._plan(field)
            name, cost, scalar, whole = planned
            spent += cost
            made[name] = whole(value, allowance) if scalar is None else scalar(value)
        allowance.left -= spent  # not by `take`: this runs for every message
        if allowance.left < 0:
            raise AllowanceExceeded
        return made


def _as_it_is(value: Any) -> Any:
    return value


def _nothing_to_json(_: Any, __: JsonAllowance) -> None:
    """In the place of what makes a message, for fields that have none."""


def _own_json(message: Any, _: JsonAllowance) -> str:
    return str(message.ToJsonString())


def _struct_to_json(message: Any, allowance: JsonAllowance) -> JsonObject:
    fields = message.fields
    allowance.take(VALUE_CHARACTERS * len(fields))
    return {name: _value_to_json(fields[name], allowance) for name in fields}


def _list_value_to_json(message: Any, allowance: JsonAllowance) -> list[Any]:
    values = message.values
    allowance.take(VALUE_CHARACTERS * len(values))
    return [_value_to_json(value, allowance) for value in values]


def _value_to_json(message: Any, allowance: JsonAllowance) -> Any:
    """Raises ValueError for numbers that JSON does not have: as texts they would be other values."""
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return _struct_to_json(message.struct_value, allowance)
    if kind == "list_value":
        return _list_value_to_json(message.list_value, allowance)
    if kind is None or kind == "null_value":
        return None
    value = getattr(message, kind)
    if kind == "number_value" and not math.isfinite(value):
        raise ValueError("NaN and infinity are no JSON")
    return value


def _wrapper_to_json(scalar: ScalarToJson) -> ToJson:
    return lambda message, _: scalar(message.value)


def _scalar_to_json(field: Any) -> ScalarToJson:
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum_to_json(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_to_json
    return _SCALARS_TO_JSON.get(field.cpp_type, _as_it_is)


def _scalars_to_json(scalar: ScalarToJson, cost: int) -> ToJson:
    def write(values: Any, allowance: JsonAllowance) -> list[Any]:
        allowance.take(cost * len(values))
        return list(values) if scalar is _as_it_is else [scalar(value) for value in values]

    return write


def _messages_to_json(one: ToJson) -> ToJson:
    def write(values: Any, allowance: JsonAllowance) -> list[Any]:
        allowance.take(VALUE_CHARACTERS * len(values))
        return [one(value, allowance) for value in values]

    return write


def _map_to_json(planned: _PlannedField) -> ToJson:
    cost = VALUE_CHARACTERS + planned.cost

    def write(values: Any, allowance: JsonAllowance) -> JsonObject:
        allowance.take(cost * len(values))
        _, _, scalar, whole = planned
        if scalar is not None:
            return {_key_to_json(key): scalar(values[key]) for key in values}
        return {_key_to_json(key): whole(values[key], allowance) for key in values}

    return write


def _key_to_json(key: Any) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _longest_name(enum: Any) -> int:
    """Characters of the longest name among the values of an enumeration, which take its place in JSON; 0 for None."""
    return 0 if enum is None else max((len(value.name) for value in enum.values), default=0)


def _enum_to_json(enum: Any) -> ScalarToJson:
    if enum.full_name in MAPPED:
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


_SCALARS_TO_JSON: Mapping[int, ScalarToJson] = {
    FieldDescriptor.CPPTYPE_INT64: str,
    FieldDescriptor.CPPTYPE_UINT64: str,
    FieldDescriptor.CPPTYPE_DOUBLE: _double_to_json,
    FieldDescriptor.CPPTYPE_FLOAT: _float_to_json,
}
_MAPPED_TO_JSON: Mapping[str, ToJson] = {
    "google.protobuf.Duration": _own_json,
    "google.protobuf.FieldMask": _own_json,
    "google.protobuf.ListValue": _list_value_to_json,
    "google.protobuf.Struct": _struct_to_json,
    "google.protobuf.Timestamp": _own_json,
    "google.protobuf.Value": _value_to_json,
}
