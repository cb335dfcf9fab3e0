"""Counts the values of a message before it is parsed: protobuf holds the interpreter while it parses, for two thirds of
a second where 8 MiB are messages of two bytes, and takes forty times their size."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]

MAX_VALUES = 500_000
UNCOUNTED_BYTES = 128 * 1024
"""Parsing no more than these takes a few milliseconds, whatever is in them."""
_MAX_LEVELS = 100
"""Messages within messages that protobuf parses."""
_VARINT, _EIGHT_BYTES, _LENGTH, _GROUP, _END_OF_GROUP, _FOUR_BYTES = range(6)
"""Wire types (protobuf.dev/programming-guides/encoding)."""
_FIXED_BYTES = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}
_OPAQUE = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}

_Fields = dict[int, Any]
"""By number: the descriptor of a field's message, or the least bytes of a value where values may come packed."""


class ValueCounter:
    """For the messages of one descriptor pool."""

    def __init__(self) -> None:
        self._types: dict[str, _Fields] = {}

    def has_more(self, descriptor: Any, data: bytes, limit: int = MAX_VALUES) -> bool:  # noqa: C901  # for its speed
        """True if a message may have more values. What is no message has as many as come before the place where parsing
        stops."""
        fields, end, at, count = self._fields(descriptor), len(data), 0, 0
        around: list[tuple[_Fields, int]] = []
        try:
            while count <= limit:
                if at >= end:
                    if not around:
                        return False
                    fields, end = around.pop()
                    continue
                count += 1
                tag, at = data[at], at + 1
                if tag > 0x7F:
                    tag, at = _varint(data, at - 1)
                wire_type = tag & 7
                if wire_type == _VARINT:
                    while data[at] > 0x7F:
                        at += 1
                    at += 1
                elif wire_type == _LENGTH:
                    size, at = data[at], at + 1
                    if size > 0x7F:
                        size, at = _varint(data, at - 1)
                    inner = fields.get(tag >> 3)
                    if inner is None:
                        at += size
                    elif type(inner) is int:
                        count += min(size, end - at) // inner
                        at += size
                    else:
                        around.append((fields, end))
                        fields, end = self._fields(inner), at + size
                elif wire_type == _FOUR_BYTES:
                    at += 4
                elif wire_type == _EIGHT_BYTES:
                    at += 8
                elif wire_type == _GROUP:
                    inner = fields.get(tag >> 3)
                    around.append((fields, end))
                    fields = {} if inner is None or type(inner) is int else self._fields(inner)
                elif wire_type == _END_OF_GROUP:
                    fields, end = around.pop()
                else:
                    return False
                if len(around) > _MAX_LEVELS:
                    return False
        except IndexError:
            return False
        return True

    def _fields(self, descriptor: Any) -> _Fields:
        fields = self._types.get(descriptor.full_name)
        if fields is None:
            fields = self._types[descriptor.full_name] = {
                field.number: field.message_type or _FIXED_BYTES.get(field.type, 1)
                for field in descriptor.fields
                if field.message_type is not None or (field.is_repeated and field.type not in _OPAQUE)
            }
        return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number, and the place behind it. Raises IndexError."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte <= 0x7F:
            return number, at
        shift += 7
