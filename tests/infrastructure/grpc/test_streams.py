"""Streams of answers that break off in the middle: what came is kept, and why it ended is told."""

import asyncio
import json
from contextlib import asynccontextmanager

import grpc
import pytest
from tests.infrastructure.grpc.loopback import converted, echo_descriptors
from tests.infrastructure.grpc.test_calls import called, context

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import BackendProtocolError, BackendUnavailable
from stoa.infrastructure.grpc import GrpcBackend
from stoa.infrastructure.grpc.manifest import GrpcSource

SAID = b"\x0a\x05first"
"""`{"text": "first"}`"""
NONSENSE = b"\x0a\xff"


@asynccontextmanager
async def streaming(answered):
    """A server whose `Repeat` yields what `answered` yields. Yields its target and the server."""

    async def repeat(request, context):
        async for data in answered(context):
            yield data

    method = grpc.unary_stream_rpc_method_handler(repeat)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.v1.Echo", {"Repeat": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", server
    finally:
        await server.stop(None)


def tool_at(target, **stream):
    source = GrpcSource.model_validate({"target": target, "stream": stream})
    return next(
        tool for tool in converted(echo_descriptors(), target, source=source).tools if tool.name == "Echo_Repeat"
    )


@asynccontextmanager
async def backend_of(**options):
    backend = GrpcBackend(InMemoryCredentialSource(), **options)
    try:
        yield backend
    finally:
        await backend.close()


async def after_the_first(answered, **options):
    """The answer to a stream that begins with SAID."""

    async def both(context):
        yield SAID
        async for data in answered(context):
            yield data

    async with streaming(both) as (target, _), backend_of(**options) as backend:
        given = await called(backend, tool_at(target), {})
    content = json.loads(given.body)
    assert (content["messages"], content["end"], given.is_error) == ([{"text": "first"}], "error", True)
    return content["error"]


async def test_stream_that_ends_with_a_status_keeps_what_came():
    async def refuse(context):
        yield b""
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")

    async with streaming(refuse) as (target, _), backend_of() as backend:
        given = await called(backend, tool_at(target), {})
    status = {"code": "RESOURCE_EXHAUSTED", "message": "no more"}
    assert json.loads(given.body) == {"messages": [{}], "end": "error", "error": status}
    assert given.is_error


async def test_stream_that_turns_into_nonsense_keeps_what_came():
    async def nonsense(_):
        yield NONSENSE

    assert "its answer is no echo.v1.Said" in (await after_the_first(nonsense))["message"]
    async with streaming(nonsense) as (target, _), backend_of() as backend:
        with pytest.raises(BackendProtocolError, match=r"its answer is no echo\.v1\.Said"):
            await called(backend, tool_at(target), {})


async def test_stream_with_a_message_beyond_the_limit_keeps_what_came():
    async def large(_):
        yield b"\x0a\x80\x20" + b"x" * 4096

    error = await after_the_first(large, max_received_bytes=1024)
    assert "larger than the gateway reads" in error["message"]


async def test_stream_whose_server_dies_keeps_what_came():
    told = asyncio.Event()

    class Channel:
        async def progress(self, progress, total=None, message=None):
            told.set()

    async def stay(_):
        yield SAID
        await asyncio.get_running_loop().create_future()

    async with streaming(stay) as (target, server), backend_of() as backend:
        tool = tool_at(target)
        call = asyncio.create_task(backend.prepare(tool)({}, context(tool, channel=Channel())))
        async with asyncio.timeout(20):
            await told.wait()
            await server.stop(None)
            given = await call
        content = json.loads(given.body)
        assert (content["messages"], content["end"]) == ([{"text": "first"}], "error")
        with pytest.raises(BackendUnavailable):
            await called(backend, tool, {})


async def test_stream_that_stands_still_ends_at_its_duration_and_releases_its_server():
    released = asyncio.Event()

    async def stay(_):
        try:
            yield SAID
            await asyncio.get_running_loop().create_future()
        finally:
            released.set()

    async with streaming(stay) as (target, _), backend_of() as backend:
        given = await called(backend, tool_at(target, maxDuration="300ms"), {})
        async with asyncio.timeout(10):
            await released.wait()
    assert json.loads(given.body) == {"messages": [{"text": "first"}], "end": "maxDuration"}


async def test_stream_shows_an_unknown_enumeration_value_as_its_number():
    async def newer(_):
        yield b"\x20\x07"

    async with streaming(newer) as (target, _), backend_of() as backend:
        given = await called(backend, tool_at(target), {})
    assert json.loads(given.body) == {"messages": [{"colour": 7}], "end": "completed"}
