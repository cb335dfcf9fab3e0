"""A hostile gRPC server fails the call that asked it, and harms nothing else."""

import asyncio
import gzip
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, descriptor_pb2
from google.rpc import status_pb2
from tests.infrastructure.grpc.loopback import compiled_at_once, echo_descriptors, serving, tools_of
from tests.infrastructure.grpc.test_calls import called, context

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import BackendProtocolError
from stoa.infrastructure.grpc import GrpcBackend

MIB = 1024 * 1024
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_HEADERS, END_STREAM, ACKNOWLEDGED = 4, 1, 1
LONG = "n" * 1000
WIDE_PROTO = f"""
syntax = "proto3";
package wide.v1;
import "google/protobuf/any.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
enum E {{ ZERO = 0; {LONG} = 1; }}
message Wide {{
  repeated Wide {LONG} = 1; repeated E enums = 2; repeated bool flags = 3; repeated google.protobuf.BoolValue boxed = 4;
  google.protobuf.ListValue list = 5; map<int32, E> by_number = 6; google.protobuf.Any any = 7; repeated Wide more = 8;
}}
service Wider {{ rpc Get(Wide) returns (Wide); rpc List(Wide) returns (stream Wide); }}
"""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113 section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name: str, value: str) -> bytes:
    """A literal header field without indexing (RFC 7541 section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def answer_of(stream: int, message: bytes, *, is_compressed: bool) -> bytes:
    head = b"\x88" + field("content-type", "application/grpc") + field("grpc-encoding", "gzip")
    data = bytes([is_compressed]) + struct.pack(">I", len(message)) + message
    frames = frame(HEADERS, END_HEADERS, stream, head)
    for at in range(0, len(data), 16_384):
        frames += frame(DATA, 0, stream, data[at : at + 16_384])
    return frames + frame(HEADERS, END_HEADERS | END_STREAM, stream, field("grpc-status", "0"))


@asynccontextmanager
async def http2(answered: Callable[[int], bytes]) -> AsyncIterator[str]:
    """A server that answers each request, by the number of its stream, with bytes of HTTP/2. Yields its target."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(24)  # the client's preface
            writer.write(frame(SETTINGS, 0, 0, b""))
            while True:
                head = await reader.readexactly(9)
                size, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:])
                payload = await reader.readexactly(size)
                if kind in {SETTINGS, PING} and not flags & ACKNOWLEDGED:
                    writer.write(frame(kind, ACKNOWLEDGED, 0, payload if kind == PING else b""))
                elif kind == HEADERS:
                    writer.write(answered(stream))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"grpc://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def backend_of(**options: Any) -> AsyncIterator[GrpcBackend]:
    backend = GrpcBackend(InMemoryCredentialSource(), **options)
    try:
        yield backend
    finally:
        await backend.close()


async def answered_with(data: bytes, name: str = "Wider_Get", count: int = 1) -> Any:
    descriptors = compiled_at_once(WIDE_PROTO)

    async def send(method: str, messages: list[Any], context: Any) -> list[Any]:
        return [data] * count

    async with serving(descriptors, send) as server, backend_of() as backend:
        return await called(backend, tools_of(descriptors, server.target)[name], {})


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def member(number: int, content: bytes) -> bytes:
    """A field with a length, in wire format."""
    return varint(number << 3 | 2) + varint(len(content)) + content


EXPANDING = {
    "names of fields": member(8, member(1, b"")) * 20_000,
    "names of enumeration values": member(2, b"\x01" * 20_000),
    "numbers": member(3, b"\x01" * 600_000),
    "wrappers": member(4, b"") * 600_000,
    "values": member(5, member(1, b"") * 600_000),
    "map": b"".join(member(6, b"\x08" + varint(number) + b"\x10\x01") for number in range(20_000)),
    "any": member(7, member(1, b"x/wide.v1.Wide") + member(2, member(8, b"") * 600_000)),
    "names in any": member(7, member(1, b"x/wide.v1.Wide") + member(2, member(8, member(1, b"")) * 20_000)),
    "messages": member(8, b"") * 600_000,
}
"""Messages of at most 2 MiB whose JSON has hundreds of thousands of values, or twenty megabytes of names."""


async def test_grpc_message_that_unpacks_to_more_than_is_read_is_refused() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    async with http2(lambda stream: answer_of(stream, bomb, is_compressed=True)) as target, backend_of() as backend:
        with pytest.raises(BackendProtocolError, match="larger than the gateway reads"):
            await called(backend, tools_of(echo_descriptors(), target)["Echo_Say"], {})


async def test_grpc_message_that_is_compressed_is_unpacked() -> None:
    """Without this the test above would pass for any server that speaks HTTP/2 badly."""
    said = gzip.compress(b"\x0a\x02ok")
    async with http2(lambda stream: answer_of(stream, said, is_compressed=True)) as target, backend_of() as backend:
        answer = await called(backend, tools_of(echo_descriptors(), target)["Echo_Say"], {})
    assert json.loads(answer.body) == {"text": "ok"}


async def test_grpc_server_that_finds_the_request_too_large_is_an_answer_of_its_own() -> None:
    async def refuse(method: str, messages: list[Any], context: Any) -> Any:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 5)")

    async with serving(echo_descriptors(), refuse) as server, backend_of() as backend:
        answer = await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Say"], {})
    assert json.loads(answer.body)["code"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("kind", EXPANDING)
async def test_grpc_answer_whose_json_is_far_larger_than_its_bytes_is_refused(kind: str) -> None:
    with pytest.raises(BackendProtocolError, match="more values, or longer names"):
        await answered_with(EXPANDING[kind])


async def test_grpc_stream_has_one_allowance_for_all_its_messages() -> None:
    answer = await answered_with(member(8, member(1, b"")) * 3000, "Wider_List", 10)
    content = json.loads(answer.body)
    assert 0 < len(content["messages"]) < 10
    assert "more values, or longer names" in content["error"]["message"]


async def test_grpc_any_whose_content_cannot_be_read_is_shown_as_it_was_sent() -> None:
    answer = await answered_with(member(7, member(1, b"x/not.Known") + member(2, b"\xff")))
    assert json.loads(answer.body) == {"any": {"@type": "x/not.Known", "@value": "/w=="}}


async def test_grpc_status_whose_details_nest_without_end_is_told_without_them() -> None:
    nested = b""
    for _ in range(600):
        nested = member(1, b"x/google.protobuf.Any") + member(2, nested)
    status = status_pb2.Status(details=[any_pb2.Any.FromString(nested)]).SerializeToString()

    async def refuse(method: str, messages: list[Any], context: Any) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(grpc.StatusCode.INTERNAL, "no")

    async with serving(echo_descriptors(), refuse) as server, backend_of() as backend:
        answer = await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Say"], {})
    assert json.loads(answer.body)["code"] == "INTERNAL"


async def test_grpc_description_that_declares_a_well_known_type_in_another_way_fails_the_call_alone() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(echo_descriptors())
    (timestamp,) = (file for file in files.file if file.name.endswith("timestamp.proto"))
    for field in timestamp.message_type[0].field:
        field.name = field.json_name = f"other{field.number}"
    tool = tools_of(files.SerializeToString(), "grpc://a.example:1")["Echo_Say"]

    async def send(method: str, messages: list[Any], context: Any) -> list[bytes]:
        return [member(10, b"\x08\x01")]

    async with serving(echo_descriptors(), send) as server, backend_of() as backend:
        binding = tool.binding.model_copy(update={"target": server.target})
        tool = tool.model_copy(update={"binding": binding})
        with pytest.raises(BackendProtocolError, match=r"its answer is no echo\.v1\.Said"):
            await backend.prepare(tool)({}, context(tool))
