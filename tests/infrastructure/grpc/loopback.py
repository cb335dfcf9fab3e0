"""gRPC servers on loopback: grpcio's own health and reflection services, and any service of a descriptor set."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from stoa.application.ports import ConversionOptions, SpecDocument, SpecPlace
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.files.specs.files import FileSpecSource
from stoa.infrastructure.grpc.converter import GrpcConverter
from stoa.infrastructure.grpc.manifest import GrpcSource
from stoa.infrastructure.protobuf.protos import descriptor_set_of

ECHO_PROTO = """
syntax = "proto3";
package echo.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; /* like grass */ GREEN = 2; }

// What is said.
message Said {
  string text = 1;
  int64 big = 2;
  bytes blob = 3;
  Colour colour = 4;
  map<int32, Said> by_number = 5;
  repeated Said more = 6;
  optional bool flag = 7;
  oneof choice { string left = 8; uint64 right = 9; }
  google.protobuf.Timestamp at = 10;
  google.protobuf.Duration lasts = 11;
  google.protobuf.FieldMask mask = 12;
  google.protobuf.Struct bag = 13;
  google.protobuf.Int64Value wrapped = 14;
  google.protobuf.Any anything = 15;
  double number = 16;
  float single = 17;
  map<bool, Colour> flags = 18;
  google.protobuf.Value value = 19;
}

// Says it again.
service Echo {
  // Repeats what is said.
  rpc Say(Said) returns (Said) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Store(Said) returns (Said) { option idempotency_level = IDEMPOTENT; }
  rpc Refuse(Said) returns (Said);
  rpc Wait(Said) returns (Said);
  rpc Repeat(Said) returns (stream Said);
  rpc Collect(stream Said) returns (Said);
  rpc Chat(stream Said) returns (stream Said);
}
"""


async def compiled(text: str, name: str = "echo.proto") -> bytes:
    async def read(location: str) -> SpecDocument:
        return SpecDocument(location, text)

    return await descriptor_set_of((name,), (), read)


@cache
def echo_descriptors() -> bytes:
    return compiled_at_once(ECHO_PROTO)


def compiled_at_once(text: str) -> bytes:
    """For callers inside and outside of event loops."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(compiled(text))).result()


def described(descriptors: bytes, target: str | None = None) -> str:
    content = {"fileDescriptorSet": base64.b64encode(descriptors).decode()}
    return json.dumps(content | ({"target": target} if target else {}))


def converted(descriptors: bytes, target: str = "grpc://a.example:50051", source=None, **options: Any):
    document = SpecDocument("api.proto", described(descriptors, target))
    return GrpcConverter(source or GrpcSource(target=target)).convert(document, ConversionOptions(**options))


def tools_of(descriptors: bytes, target: str, **options: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in converted(descriptors, target, **options).tools}


@dataclass
class Seen:
    """One call as the server saw it, decoded by json_format from the whole descriptor set."""

    method: str
    messages: list[Any]
    metadata: dict[str, str]


Answer = Callable[[str, list[Any], Any], Awaitable[list[dict[str, Any]]]]


@dataclass
class GenericServer:
    """Any service of a descriptor set. Law: it decodes with the whole set, not with what a tool carries."""

    target: str
    seen: list[Seen] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def serving(
    descriptors: bytes,
    answer: Answer,
    *,
    tls: grpc.ServerCredentials | None = None,
    port: int = 0,
) -> AsyncIterator[GenericServer]:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    server = grpc.aio.server()
    running = GenericServer("")
    for file in files.file:
        for service in file.service:
            name = f"{file.package}.{service.name}" if file.package else service.name
            handlers = {
                method.name: _handler(pool, pool.FindMethodByName(f"{name}.{method.name}"), answer, running)
                for method in service.method
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    address = f"127.0.0.1:{port}"
    port = server.add_secure_port(address, tls) if tls else server.add_insecure_port(address)
    await server.start()
    running.target = f"grpc{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield running
    finally:
        await server.stop(None)


def _handler(pool, method, answer: Answer, running: GenericServer):
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)

    async def handled(messages: list[Any], context) -> AsyncIterator[bytes]:
        decoded = [json_format.MessageToDict(message, descriptor_pool=pool) for message in messages]
        running.seen.append(Seen(method.name, decoded, dict(context.invocation_metadata())))
        running.reached.set()
        try:
            answers = await answer(method.name, decoded, context)
        except asyncio.CancelledError:
            running.released.set()
            raise
        for content in answers:
            if isinstance(content, bytes):
                yield content
            else:
                yield json_format.ParseDict(content, response(), descriptor_pool=pool).SerializeToString()

    async def unary(message, context):
        return await anext(handled([message], context))

    async def stream(message, context):
        async for data in handled([message], context):
            yield data

    async def collect(messages, context):
        return await anext(handled([message async for message in messages], context))

    async def chat(messages, context):
        async for data in handled([message async for message in messages], context):
            yield data

    kind = {
        (False, False): (grpc.unary_unary_rpc_method_handler, unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, collect),
        (True, True): (grpc.stream_stream_rpc_method_handler, chat),
    }[method.client_streaming, method.server_streaming]
    return kind[0](kind[1], request_deserializer=request.FromString, response_serializer=None)


@asynccontextmanager
async def health_server(*, reflects: bool = True) -> AsyncIterator[str]:
    """grpcio's own health service, with its reflection. Yields the target."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("pets", health_pb2.HealthCheckResponse.SERVING)
    if reflects:
        names = (health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def place_of(folder: Path) -> SpecPlace:
    return SpecPlace("tools.yaml", FileSpecSource(folder).fetch)
