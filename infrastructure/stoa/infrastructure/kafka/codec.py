"""Keys and values of records as JSON values, in each format, with the registry's frame where it is used."""

import base64
from typing import Any

import pydantic_core

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded, JsonAllowance
from stoa.infrastructure.http_client.backend_answers import has_many_values
from stoa.infrastructure.kafka.avro import AvroType, from_base64
from stoa.infrastructure.kafka.binding import MessagePart
from stoa.infrastructure.kafka.part_codec import PartCodec, Undecodable, Unencodable, base64_pattern

MAX_SCHEMAS = 100
"""Upper bound on the schemas that are remembered of those that the records of one tool name."""
_MAGIC = b"\x00"
FRAME_BYTES = 5
ANY_JSON: JsonObject = {"type": ["object", "array", "string", "number", "boolean"]}
"""Any JSON but null, which would be a tombstone."""


class JsonCodec(PartCodec):
    def encode(self, value: Any) -> bytes:
        return pydantic_core.to_json(value)

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:  # noqa: ARG002  # it is JSON already
        if has_many_values(data):
            raise AllowanceExceeded
        try:
            return pydantic_core.from_json(data, allow_inf_nan=False)
        except ValueError:
            raise Undecodable from None


class TextCodec(PartCodec):
    def encode(self, value: Any) -> bytes:
        return str(value).encode("utf-8")

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:  # noqa: ARG002  # one value
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Undecodable from None


class BytesCodec(PartCodec):
    def encode(self, value: Any) -> bytes:
        return from_base64(value)

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:  # noqa: ARG002  # one value
        return base64.b64encode(data).decode("ascii")


def codec_of(part: MessagePart) -> PartCodec:
    """Raises InvalidInput for a schema that cannot be used."""
    match part.format:
        case "json":
            return JsonCodec()
        case "avro":
            return AvroType(part.definition)
        case "protobuf":
            codec: PartCodec = protobuf_module().ProtobufType(part)
            return codec
        case "text":
            return TextCodec()
        case _:
            return BytesCodec()


def schema_of(part: MessagePart, prefix: str, *, is_input: bool) -> tuple[JsonObject, JsonObject]:
    """The JSON Schema of a part, with `$defs`; of JSON nothing is known but that it is. `is_input`: for arguments; else
    for results, which a producer may have written by a newer schema."""
    match part.format:
        case "protobuf":
            made: tuple[JsonObject, JsonObject] = protobuf_module().protobuf_schema(
                part.definition, part.message_type, prefix, is_input=is_input
            )
            return made
        case "avro":
            return AvroType(part.definition).json_schema(prefix)
        case "json":
            return ANY_JSON, {}
        case "text":
            return {"type": "string"}, {}
        case _:
            return {"type": "string", "contentEncoding": "base64", "pattern": base64_pattern()}, {}


def protobuf_module() -> Any:
    """The module, with protobuf, for those who have such records. Raises InvalidInput."""
    try:
        from stoa.infrastructure.kafka import protobuf
    except ModuleNotFoundError:
        raise InvalidInput("Protobuf needs the extra grpc: pip install 'stoa-mcp-gateway[grpc]'") from None
    return protobuf


class PartWriter:
    """Writes one part of a record, with its frame."""

    def __init__(self, part: MessagePart, argument: str) -> None:
        """`argument`: the tool's argument that holds it. Raises InvalidInput."""
        self._codec = codec_of(part)
        identified = None if part.schema_id is None else _MAGIC + part.schema_id.to_bytes(4, "big")
        self._frame = b"" if identified is None else identified + self._codec.indexes
        self._argument = argument

    @property
    def has_frame(self) -> bool:
        return bool(self._frame)

    def write(self, value: Any) -> bytes | None:
        """None for null: a record without content. Raises InvalidArguments."""
        if value is None:
            return None
        try:
            return self._frame + self._codec.encode(value)
        except Unencodable as problem:
            violation = Violation(f"/{self._argument}{problem.place}", problem.expected)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, AllowanceExceeded):  # fastavro's, too
            violation = Violation(f"/{self._argument}", "a value of the message's schema")
        raise InvalidArguments([violation])


class PartReader:
    """Reads one part of a record. A framed record is read by the schema that its frame names."""

    def __init__(self, part: MessagePart) -> None:
        self._part = part
        self._codec = codec_of(part)
        self._by_id: BoundedCache[int, PartCodec] = BoundedCache(MAX_SCHEMAS)
        """Schemas that records named; producers choose their ids."""

    @property
    def has_frame(self) -> bool:
        return self._part.schema_id is not None

    def unknown_schema(self, data: bytes | None) -> int | None:
        """The id in the frame, if its schema is not known yet: `learn` it first."""
        if not self.has_frame or data is None or len(data) < FRAME_BYTES or data[:1] != _MAGIC:
            return None
        number = int.from_bytes(data[1:FRAME_BYTES], "big")
        is_known = number == self._part.schema_id or self._by_id.get(number) is not None
        return None if is_known else number

    def learn(self, number: int, part: MessagePart | None) -> None:
        """The schema of an id; None: it cannot be had or used. It may take a tenth of a second."""
        try:
            codec = _UnreadableCodec() if part is None else codec_of(part)
        except InvalidInput:
            codec = _UnreadableCodec()
        self._by_id.put(number, codec)

    def read(self, data: bytes | None, allowance: JsonAllowance | None = None) -> Any:
        """Raises Undecodable, AllowanceExceeded."""
        if data is None:
            return None
        if not self.has_frame:
            return self._codec.decode(data, allowance)
        if len(data) < FRAME_BYTES or data[:1] != _MAGIC:
            raise Undecodable
        number = int.from_bytes(data[1:FRAME_BYTES], "big")
        codec = self._codec if number == self._part.schema_id else self._by_id.get(number)
        if codec is None:
            raise Undecodable
        return codec.decode_framed(data[FRAME_BYTES:], allowance)


class _UnreadableCodec(PartCodec):
    def encode(self, value: Any) -> bytes:  # noqa: ARG002  # nothing can be written either
        raise Unencodable("", "a schema that can be used")

    def decode(self, data: bytes, allowance: JsonAllowance | None = None) -> Any:  # noqa: ARG002
        raise Undecodable
