"""The laws of ToolBackend and BackendCall, for every adapter.

To add a back end, write a context manager that yields a Bench and put its name into ADAPTERS.
"""

import asyncio
import atexit
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import grpc
import pydantic_core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.grpc.loopback import compiled_at_once, tools_of
from tests.infrastructure.grpc.loopback import serving as grpc_server
from tests.infrastructure.kafka.brokers import mock_cluster
from tests.infrastructure.kafka.peer import echo, kafka_tool, make_topics, responding
from tests.infrastructure.mcp_upstream.peers import stoa_server
from tests.infrastructure.rest.loopback import Loopback, Seen, answer, loopback, rest_tool

from stoa.application.backends.local_backend import LocalBackend
from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CallContext, ToolBackend
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import LocalBinding, RestBinding, Tool
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import RawAnswer, TextContent, ToolResult, shape
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql import GraphQlBackend
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.grpc import GrpcBackend
from stoa.infrastructure.kafka import KafkaBackend
from stoa.infrastructure.mcp_upstream import McpBackend, McpUpstreams
from stoa.infrastructure.mcp_upstream.binding import McpBinding, McpServer
from stoa.infrastructure.rest import RestBackend


@dataclass
class Bench:
    """One back end with tools of known behaviour, all called with the arguments `{"text": ...}`, below `asked_in`."""

    backend: ToolBackend
    echo: Tool
    """Answers `{"text": <what it was given>}`."""
    refusing: Tool
    """Answers that it will not."""
    waiting: Tool
    """Sets `reached`, then waits for ever; sets `released` when the caller has gone."""
    of_another_kind: Tool
    received: Callable[[], int]
    """How many calls arrived."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    answers_in: tuple[str, ...] = ()
    """Members of the structured answer that its protocol puts around what the tool answers."""
    asked_in: tuple[str, ...] = ()
    """Arguments that its protocol puts around what the tool is given."""

    def arguments(self, text: str) -> JsonObject:
        arguments: JsonObject = {"text": text}
        for name in reversed(self.asked_in):
            arguments = {name: arguments}
        return arguments


OpenBench = Callable[[], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def _rest() -> AsyncIterator[Bench]:
    reached = asyncio.Event()

    async def wait(_: Seen) -> bytes:
        reached.set()
        return await asyncio.get_running_loop().create_future()

    def served(seen: Seen):
        if seen.target == "/wait":
            return wait(seen)
        return answer(b"no", status="403 Forbidden") if seen.target == "/refuse" else answer(seen.body)

    async with loopback(served) as server:
        backend = RestBackend(InMemoryCredentialSource())
        try:
            yield Bench(
                backend,
                *(_posting(server, path) for path in ("/echo", "/refuse", "/wait")),
                Tool(name="local", binding=LocalBinding(function="f")),
                lambda: len(server.seen),
                reached,
                server.all_closed,
            )
        finally:
            await backend.close()


def _posting(server: Loopback, path: str) -> Tool:
    body = {"media_type": "application/json", "fields": {"text": "text"}}
    return rest_tool(server.url, method="POST", path=path, body=body, tool={"name": path[1:]})


@asynccontextmanager
async def _local() -> AsyncIterator[Bench]:
    reached, released, calls = asyncio.Event(), asyncio.Event(), 0

    async def echo(text: str) -> dict[str, str]:
        nonlocal calls
        calls += 1
        return {"text": text}

    async def refuse(text: str) -> ToolResult:
        nonlocal calls
        calls += 1
        return ToolResult.error("no")

    async def wait(text: str) -> None:
        nonlocal calls
        calls += 1
        reached.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            released.set()

    backend = LocalBackend()
    tools: list[Tool] = []
    for function in (echo, refuse, wait):
        schema = backend.add(function.__name__, function)
        binding = LocalBinding(function=function.__name__)
        tools.append(Tool(name=function.__name__, input_schema=schema, binding=binding))
    other = Tool(name="rest", binding=RestBinding(method="GET", base_url="http://upstream.invalid", path="/"))
    try:
        yield Bench(backend, *tools, other, lambda: calls, reached, released)
    finally:
        await backend.close()


@asynccontextmanager
async def _graphql() -> AsyncIterator[Bench]:
    reached = asyncio.Event()

    async def wait(_: Seen) -> bytes:
        reached.set()
        return await asyncio.get_running_loop().create_future()

    def served(seen: Seen):
        asked = pydantic_core.from_json(seen.body)
        if asked["operationName"] == "wait":
            return wait(seen)
        if asked["operationName"] == "refuse":
            return answer(b'{"data":null,"errors":[{"message":"no"}]}')
        return answer(pydantic_core.to_json({"data": {"text": asked["variables"]["text"]}}))

    async with loopback(served) as server:
        backend = GraphQlBackend(InMemoryCredentialSource())
        try:
            yield Bench(
                backend,
                *(_asking(server, name) for name in ("echo", "refuse", "wait")),
                Tool(name="local", binding=LocalBinding(function="f")),
                lambda: len(server.seen),
                reached,
                server.all_closed,
                answers_in=("data",),
            )
        finally:
            await backend.close()


_GRPC = """
syntax = "proto3";
package bench;
message Text { optional string text = 1; }
service Bench { rpc Echo(Text) returns (Text); rpc Refuse(Text) returns (Text); rpc Wait(Text) returns (Text); }
"""


@asynccontextmanager
async def _grpc() -> AsyncIterator[Bench]:
    async def served(method, messages, context):
        if method == "Refuse":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        if method == "Wait":
            await asyncio.get_running_loop().create_future()
        return messages

    descriptors = await asyncio.to_thread(_grpc_descriptors)
    async with grpc_server(descriptors, served) as server:
        backend = GrpcBackend(InMemoryCredentialSource())
        try:
            yield Bench(
                backend,
                *(tool for tool in tools_of(descriptors, server.target).values()),
                Tool(name="local", binding=LocalBinding(function="f")),
                lambda: len(server.seen),
                server.reached,
                server.released,
            )
        finally:
            await backend.close()


class _WhenNothingWaits(asyncio.Event):
    """Is set when the back end waits for no reply; the other side of a topic cannot see that."""

    def __init__(self, backend: KafkaBackend) -> None:
        super().__init__()
        self._backend = backend

    async def wait(self) -> Literal[True]:
        assert self._backend.open_requests == 0
        return True


@asynccontextmanager
async def _kafka() -> AsyncIterator[Bench]:
    loop, reached = asyncio.get_running_loop(), asyncio.Event()
    servers, topic = _kafka_cluster(), f"bench-{secrets.token_hex(8)}"

    def unanswered(message):
        loop.call_soon_threadsafe(reached.set)
        return ()

    with ExitStack() as peers:
        make_topics(servers, f"{topic}-replies")
        echoing = peers.enter_context(responding(servers, topic, echo))
        peers.enter_context(responding(servers, f"{topic}-wait", unanswered))
        backend = KafkaBackend(InMemoryCredentialSource())
        tools = [
            kafka_tool(servers, "request", name, tool={"name": f"tool{number}"}, reply={"topic": f"{topic}-replies"})
            for number, name in enumerate((topic, "not-there", f"{topic}-wait"))
        ]
        try:
            yield Bench(
                backend,
                *tools,
                Tool(name="local", binding=LocalBinding(function="f")),
                lambda: len(echoing.received),
                reached,
                _WhenNothingWaits(backend),
                answers_in=("value",),
                asked_in=("value",),
            )
        finally:
            await backend.close()


@cache
def _kafka_cluster() -> str:
    """Runs until the process ends."""
    return _CLUSTERS.enter_context(mock_cluster())


_CLUSTERS = ExitStack()
atexit.register(_CLUSTERS.close)


def _asking(server: Loopback, name: str) -> Tool:
    document = f"query {name}($text: String!) {{ text(text: $text) }}"
    binding = GraphQlBinding(endpoint=server.url, operation="query", operation_name=name, document=document)
    return Tool(name=name, binding=binding)


@cache
def _grpc_descriptors() -> bytes:
    return compiled_at_once(_GRPC)


@asynccontextmanager
async def _mcp() -> AsyncIterator[Bench]:
    reached, released, calls = asyncio.Event(), asyncio.Event(), 0
    upstream = Gateway()

    async def echo(text: str) -> dict[str, str]:
        nonlocal calls
        calls += 1
        return {"text": text}

    async def refuse(text: str) -> ToolResult:
        return ToolResult.error("no")

    async def wait(text: str) -> None:
        reached.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            released.set()

    for function in (echo, refuse, wait):
        upstream.tool(function)
    async with stoa_server(upstream) as url:
        backend = McpBackend(McpUpstreams(InMemoryCredentialSource()))
        try:
            yield Bench(
                backend,
                *(
                    Tool(name=name, binding=McpBinding(server=McpServer(url=url), name=name))
                    for name in ("echo", "refuse", "wait")
                ),
                Tool(name="local", binding=LocalBinding(function="f")),
                lambda: calls,
                reached,
                released,
            )
        finally:
            await backend.close()


ADAPTERS = [_rest, _local, _graphql, _grpc, _kafka, _mcp]


@pytest.fixture(scope="session", params=ADAPTERS, ids=lambda adapter: adapter.__name__)
def open_bench(request: pytest.FixtureRequest) -> OpenBench:
    return request.param


def context(tool: Tool) -> CallContext:
    return CallContext(Permit(tool.key, ()), Principal.of("ann", roles=["viewer"]), "request-1")


async def outcome(bench: Bench, tool: Tool, arguments: JsonObject) -> ToolResult:
    async with asyncio.timeout(20):
        given_back = await bench.backend.prepare(tool)(arguments, context(tool))
    result = shape(given_back) if isinstance(given_back, RawAnswer) else given_back
    if not result.is_error:
        for member in bench.answers_in:
            content = result.structured[member]
            result = replace(
                result, structured=content, content=(TextContent(pydantic_core.to_json(content).decode()),)
            )
    return result


async def test_a_back_end_prepares_tools_of_its_own_kind_only(open_bench):
    async with open_bench() as bench:
        assert bench.backend.kind == bench.echo.binding.kind

        with pytest.raises(InvalidInput):
            bench.backend.prepare(bench.of_another_kind)


@settings(max_examples=20)
@given(st.text())
def test_arguments_reach_the_back_end_as_they_are(open_bench, text):
    async def echoed() -> ToolResult:
        async with open_bench() as bench:
            return await outcome(bench, bench.echo, bench.arguments(text))

    result = asyncio.run(echoed())
    assert not result.is_error
    assert result.structured == {"text": text}
    assert pydantic_core.from_json(result.content[0].text) == {"text": text}


async def test_concurrent_calls_do_not_mix_their_answers(open_bench):
    async with open_bench() as bench:
        texts = [str(number) for number in range(30)]

        results = await asyncio.gather(*(outcome(bench, bench.echo, bench.arguments(text)) for text in texts))

        assert [result.structured["text"] for result in results] == texts


async def test_a_prepared_call_can_be_made_again(open_bench):
    async with open_bench() as bench:
        call = bench.backend.prepare(bench.echo)
        for _ in range(3):
            await call(bench.arguments("x"), context(bench.echo))

        assert bench.received() == 3


async def test_a_refusal_is_a_value_and_not_an_exception(open_bench):
    async with open_bench() as bench:
        assert (await outcome(bench, bench.refusing, bench.arguments("x"))).is_error


async def test_a_cancelled_call_lets_go_of_the_back_end(open_bench):
    async with open_bench() as bench:
        arguments = bench.arguments("x")
        call = asyncio.ensure_future(bench.backend.prepare(bench.waiting)(arguments, context(bench.waiting)))
        async with asyncio.timeout(10):
            await bench.reached.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await bench.released.wait()

        assert (await outcome(bench, bench.echo, bench.arguments("next"))).structured == {"text": "next"}


async def test_closing_twice_is_harmless(open_bench):
    async with open_bench() as bench:
        await outcome(bench, bench.echo, bench.arguments("x"))
        await bench.backend.close()
        await bench.backend.close()


def test_a_binding_names_the_kind_of_its_back_end():
    assert RestBinding.model_fields["kind"].default == RestBackend.kind
    assert GraphQlBinding.model_fields["kind"].default == GraphQlBackend.kind
    assert McpBinding.model_fields["kind"].default == McpBackend.kind
