"""Protobuf values as JSON (the ProtoJSON mapping), in Confluent's wire format where a schema has an id in a registry.

A part's definition is a google.protobuf.FileDescriptorSet in base64 whose last file declares the message. Where records
are framed it is that file as it is registered: the frame names a message by its place in it.
"""

import base64
from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded, JsonAllowance
from stoa.infrastructure.kafka.binding import MessagePart
from stoa.infrastructure.kafka.part_codec import PartCodec, Undecodable, Unencodable
from stoa.infrastructure.protobuf import message_types
from stoa.infrastructure.protobuf.descriptors import Declaration, Descriptors, UnknownType, is_enum
from stoa.infrastructure.protobuf.schema import SchemaWriter

MAX_DEFINITION = 512 * 1024
"""Characters of one part's descriptors."""
MAX_INDEXES = 32
"""Levels of messages within messages that a frame may name."""
_ROOT_MARK = "@RootNode"
_REFERENCE = "#/$defs/"


class ProtobufType(PartCodec):
    """One message, and the others of its file for records that hold one of those."""

    def __init__(self, part: MessagePart) -> None:
        """Raises InvalidInput for descriptors that do not build, or do not declare the message."""
        if len(part.definition) > MAX_DEFINITION:
            raise InvalidInput(f"the Protobuf descriptors are longer than {MAX_DEFINITION} characters")
        self._messages = message_types.MessagePool(part.definition)
        self._message = self._messages.message(part.message_type)
        self.indexes = b"" if part.schema_id is None else _indexes_of(self._message.descriptor)
        """Bytes behind the schema's id: the place of the message in its file."""

    def encode(self, value: Any) -> bytes:
        """Raises Unencodable."""
        if not is_object(value):
            raise Unencodable("", "an object")
        try:
            return self._message.encode(value)
        except message_types.Unencodable as problem:
            raise Unencodable("", str(problem)) from None

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:
        """Raises Undecodable, AllowanceExceeded."""
        return _decoded(self._message, data, allowance)

    def decode_framed(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:
        """Reads what stands behind the id in a frame. Raises Undecodable, AllowanceExceeded."""
        if data.startswith(self.indexes):
            return _decoded(self._message, data[len(self.indexes) :], allowance)
        path, start = _read_indexes(data)
        declared: Any = self._messages.files[-1]
        try:
            for number, index in enumerate(path):
                inner = declared.nested_types if number else declared.message_types_by_name.values()
                declared = _written(inner)[index]
            message = self._messages.message(declared.full_name)
        except (IndexError, InvalidInput):
            raise Undecodable from None
        return _decoded(message, data[start:], allowance)


def protobuf_part(descriptors: str, wanted: str = "", schema_id: int | None = None) -> MessagePart:
    """The part for records of one message. `descriptors`: as in a part, and may be larger. `wanted`: its full or
    short name; where no message is called so, it is the one of the last file that its author marked with `@RootNode`,
    or that the file's others do not refer to, or the first. Raises InvalidInput."""
    declared = Descriptors.of_text(descriptors)
    name = _message(declared, wanted)
    try:
        reached = declared.closure([name])
    except UnknownType as unknown:
        raise InvalidInput(f"the Protobuf descriptors do not declare {unknown}") from None
    whole = _without_source(descriptors) if schema_id is not None else declared.pruned(reached)
    definition = base64.b64encode(whole).decode("ascii")
    if len(definition) > MAX_DEFINITION:
        raise InvalidInput(f"the Protobuf descriptors are longer than {MAX_DEFINITION} characters")
    return MessagePart(format="protobuf", definition=definition, message_type=name, schema_id=schema_id)


def protobuf_schema(descriptors: str, name: str, prefix: str, *, is_input: bool) -> tuple[JsonObject, JsonObject]:
    """The JSON Schema of a message, and its `$defs`, whose names begin with `prefix`: key and value may have messages
    of one name. With comments where `descriptors` have them. Raises InvalidInput."""
    try:
        schema, _ = SchemaWriter(Descriptors.of_text(descriptors), is_input=is_input).schema(name)
    except UnknownType as unknown:
        raise InvalidInput(f"the Protobuf descriptors do not declare {unknown}") from None
    except ValueError as problem:
        raise InvalidInput(str(problem)) from None
    definitions = {f"{prefix}.{key}": _renamed(value, prefix) for key, value in as_object(schema.get("$defs")).items()}
    return _renamed({key: value for key, value in schema.items() if key != "$defs"}, prefix), definitions


def _decoded(message: message_types.MessageType, data: bytes, allowance: JsonAllowance | None) -> Any:
    try:
        return message.decode(data, allowance)
    except message_types.TooManyValues:
        raise AllowanceExceeded from None
    except message_types.Undecodable:
        raise Undecodable from None


def _message(declared: Descriptors, wanted: str) -> str:
    if wanted in declared.types and not is_enum(declared.types[wanted]):
        return wanted
    last = declared.last_file
    top = [each for each in declared.types.values() if each.file is last and each.parent is None and not is_enum(each)]
    top.sort(key=lambda each: each.path)
    if not top:
        raise InvalidInput("the .proto file declares no message")
    short = wanted.rpartition(".")[2]
    inner = {field.type_name.lstrip(".") for each in top for field in _fields(declared, each)}
    choices = (
        [each for each in top if each.name.rpartition(".")[2] == short],
        [each for each in top if _ROOT_MARK in declared.comment(each)],
        [each for each in top if each.name not in inner],
        top,
    )
    return next(found[0].name for found in choices if found)


def _fields(declared: Descriptors, message: Declaration) -> list[Any]:
    """Those of other messages than itself, with those of the messages within it."""
    prefix = f"{message.name}."
    inner = [each.proto for each in declared.types.values() if each.name.startswith(prefix) and not is_enum(each)]
    return [
        field
        for proto in [message.proto, *inner]
        for field in proto.field
        if field.type_name.lstrip(".") != message.name
    ]


def _without_source(descriptors: str) -> bytes:
    files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(descriptors))
    for file in files.file:
        file.ClearField("source_code_info")
    return bytes(files.SerializeToString(deterministic=True))


def _indexes_of(message: Any) -> bytes:
    """Zigzag varints, their number first; a single zero stands for the first message of the file. `message`: its
    descriptor."""
    path: list[int] = []
    while message is not None:
        around = message.containing_type
        every = message.file.message_types_by_name.values() if around is None else around.nested_types
        path.insert(0, [each.full_name for each in _written(every)].index(message.full_name))
        message = around
    if path == [0]:
        return b"\x00"
    return b"".join(map(_varint, (len(path), *path)))


def _written(messages: Iterable[Any]) -> list[Any]:
    """Those that stand in the file: protoc makes further ones for maps, which Confluent's Java clients do not count."""
    return [each for each in messages if not each.GetOptions().map_entry]


def _varint(number: int) -> bytes:
    rest, written = number << 1, bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*written, rest])


def _read_indexes(data: bytes) -> tuple[list[int], int]:
    """The path, and where the message begins. Raises Undecodable."""
    at = 0

    def number() -> int:
        nonlocal at
        read = shift = 0
        while at < len(data) and shift < 35:
            byte = data[at]
            at += 1
            read |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (read >> 1) ^ -(read & 1)
        raise Undecodable

    count = number()
    if count == 0:
        return [0], at
    if not 0 < count <= MAX_INDEXES:
        raise Undecodable
    path = [number() for _ in range(count)]
    if min(path) < 0:
        raise Undecodable
    return path, at


def _renamed(schema: Any, prefix: str) -> Any:
    if is_array(schema):
        return [_renamed(entry, prefix) for entry in schema]
    if not is_object(schema):
        return schema
    renamed = {key: _renamed(value, prefix) for key, value in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith(_REFERENCE):
        renamed["$ref"] = f"{_REFERENCE}{prefix}.{reference.removeprefix(_REFERENCE)}"
    return renamed
