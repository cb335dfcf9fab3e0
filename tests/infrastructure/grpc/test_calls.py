"""Calls of gRPC methods, against servers on loopback whose messages are decoded by others."""

import asyncio
import json

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from tests.infrastructure.grpc.loopback import converted, echo_descriptors, serving, tools_of

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import CallContext
from stoa.domain.access.identity import Principal
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    InvalidArguments,
    InvalidInput,
)
from stoa.domain.operations.binding import Authentication, SecretReference
from stoa.domain.policy.decision import Permit
from stoa.infrastructure.grpc import GrpcBackend
from stoa.infrastructure.grpc.manifest import GrpcSource
from stoa.infrastructure.http_client import PUBLIC_ONLY

ARGUMENTS = {
    "text": "hélas",
    "big": "9007199254740993",
    "blob": "AP8=",
    "colour": "GREEN",
    "byNumber": {"-7": {"text": "inner"}},
    "more": [{"left": "l"}, {"right": "18446744073709551615"}],
    "flag": False,
    "at": "2026-01-02T03:04:05.000000678Z",
    "lasts": "1.500s",
    "mask": "a.bC,d",
    "bag": {"a": [1, None, {"b": "c"}]},
    "wrapped": "0",
    "anything": {"@type": "type.googleapis.com/echo.v1.Said", "text": "any"},
    "number": "NaN",
    "single": 0.1,
    "flags": {"true": "RED"},
    "value": [1, "x"],
}


async def echo(method, messages, context):
    if method == "Refuse":
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    if method == "Wait":
        await asyncio.get_running_loop().create_future()
    if method == "Repeat":
        return messages * 5
    return messages


@pytest.fixture
async def backend():
    backend = GrpcBackend(InMemoryCredentialSource())
    yield backend
    await backend.close()


def context(tool, **parts):
    return CallContext(Permit(tool.key, ()), Principal.of("ann"), "request-1", **parts)


async def called(backend, tool, arguments, **parts):
    async with asyncio.timeout(20):
        return await backend.prepare(tool)(arguments, context(tool, **parts))


def content(answer):
    return json.loads(answer.body)


async def test_unary_call_carries_every_kind_of_value_there_and_back(backend):
    async with serving(echo_descriptors(), echo) as server:
        tool = tools_of(echo_descriptors(), server.target)["Echo_Say"]
        answer = await called(backend, tool, ARGUMENTS)
    assert server.seen[0].messages == [ARGUMENTS]
    assert content(answer) == ARGUMENTS
    assert not answer.is_error


async def test_status_of_the_server_is_an_answer_with_its_code(backend):
    async with serving(echo_descriptors(), echo) as server:
        answer = await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Refuse"], {})
    assert (answer.is_error, answer.status) == (True, "NOT_FOUND")
    assert content(answer) == {"code": "NOT_FOUND", "message": "no such thing"}


async def test_status_details_of_google_rpc_are_decoded(backend):
    async def refuse(method, messages, context):
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field="text", description="too short")
        packed = any_pb2.Any()
        packed.Pack(bad)
        unknown = any_pb2.Any(type_url="type.googleapis.com/not.Known", value=b"\xff")
        status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="no", details=[packed, unknown])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    async with serving(echo_descriptors(), refuse) as server:
        answer = await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Say"], {})
    assert content(answer)["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "text", "description": "too short"}],
        },
        {"@type": "type.googleapis.com/not.Known"},
    ]


async def test_stream_of_answers_is_a_list_and_ends_with_the_server(backend):
    async with serving(echo_descriptors(), echo) as server:
        answer = await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Repeat"], {"text": "x"})
    assert content(answer) == {"messages": [{"text": "x"}] * 5, "end": "completed"}


@pytest.mark.parametrize(
    ("bounds", "end", "count"),
    [({"maxMessages": 2}, "maxMessages", 2), ({"maxBytes": 7}, "maxBytes", 2)],
)
async def test_stream_of_answers_ends_at_its_bounds(backend, bounds, end, count):
    async with serving(echo_descriptors(), echo) as server:
        source = GrpcSource.model_validate({"target": server.target, "stream": bounds})
        tools = converted(echo_descriptors(), server.target, source=source).tools
        tool = next(tool for tool in tools if tool.name == "Echo_Repeat")
        answer = await called(backend, tool, {"text": "x"})
    assert content(answer) == {"messages": [{"text": "x"}] * count, "end": end}


async def test_stream_without_end_ends_at_its_duration(backend):
    async with serving(echo_descriptors(), echo) as server:
        source = GrpcSource.model_validate({"target": server.target, "stream": {"maxDuration": "100ms"}})
        tools = converted(echo_descriptors(), server.target, source=source).tools

        async def wait(method, messages, context):
            await asyncio.get_running_loop().create_future()

    async with serving(echo_descriptors(), wait) as server:
        tool = next(tool for tool in tools if tool.name == "Echo_Repeat")
        tool = tool.model_copy(update={"binding": tool.binding.model_copy(update={"target": server.target})})
        answer = await called(backend, tool, {})
        async with asyncio.timeout(10):
            await server.released.wait()
    assert content(answer) == {"messages": [], "end": "maxDuration"}


async def test_stream_tells_each_message_as_progress(backend):
    told = []

    class Channel:
        async def progress(self, progress, total=None, message=None):
            told.append(progress)

    async with serving(echo_descriptors(), echo) as server:
        await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Repeat"], {}, channel=Channel())
    assert told == [1, 2, 3, 4, 5]


async def test_list_of_messages_is_sent_as_a_stream(backend):
    async with serving(echo_descriptors(), echo) as server:
        tools = tools_of(echo_descriptors(), server.target)
        collected = await called(backend, tools["Echo_Collect"], {"messages": [{"text": "a"}, {"text": "b"}]})
        chatted = await called(backend, tools["Echo_Chat"], {"messages": [{"text": "a"}, {"text": "b"}]})
    assert [len(seen.messages) for seen in server.seen] == [2, 2]
    assert content(collected) == {"text": "a"}
    assert content(chatted) == {"messages": [{"text": "a"}, {"text": "b"}], "end": "completed"}


@pytest.mark.parametrize(
    ("kind", "secret", "sent"),
    [
        ("bearer", {"token": "t0ken"}, ("authorization", "Bearer t0ken")),
        ("basic", {"username": "u", "password": "p"}, ("authorization", "Basic dTpw")),
        ("apiKey", {"apiKey": "k3y"}, ("x-api-key", "k3y")),
    ],
)
async def test_credential_is_metadata_of_the_call(kind, secret, sent):
    credentials = InMemoryCredentialSource()
    credentials.put(None, "api", secret)
    backend = GrpcBackend(credentials)
    authentication = Authentication(type=kind, secret=SecretReference(name="api"))
    async with serving(echo_descriptors(), echo) as server:
        tool = tools_of(echo_descriptors(), server.target, authentication=authentication)["Echo_Say"]
        call = backend.prepare(tool)
        await call({}, context(tool))
        await backend.close()
    assert server.seen[0].metadata[sent[0]] == sent[1]
    assert server.seen[0].metadata["x-request-id"] == "request-1"
    assert sent[1] not in json.dumps(call.preview({}))


async def test_oauth2_token_that_is_refused_is_renewed_for_a_call_that_may_be_repeated(backend):
    class Access:
        def __init__(self):
            self.tokens = ["old", "new"]

        async def token(self):
            return self.tokens[0]

        def refused(self, token):
            self.tokens.remove(token)
            return True

    async def guarded(method, messages, context):
        if dict(context.invocation_metadata())["authorization"] != "Bearer new":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")
        return messages

    authentication = Authentication(type="oauth2", secret=SecretReference(name="api"))
    async with serving(echo_descriptors(), guarded) as server:
        tools = tools_of(echo_descriptors(), server.target, authentication=authentication)
        answer = await called(backend, tools["Echo_Say"], {"text": "x"}, upstream=Access())
        assert content(answer) == {"text": "x"}
        answer = await called(backend, tools["Echo_Refuse"], {}, upstream=Access())
    assert answer.status == "UNAUTHENTICATED"
    assert len(server.seen) == 3


async def test_server_that_is_away_is_unavailable_and_its_address_is_not_told(backend):
    async with serving(echo_descriptors(), echo) as server:
        tool = tools_of(echo_descriptors(), server.target)["Echo_Say"]
    with pytest.raises(BackendUnavailable, match="nothing listens at its address") as refused:
        await called(backend, tool, {})
    assert "127.0.0.1" not in refused.value.message
    assert refused.value.nothing_was_sent


async def test_server_that_only_says_that_something_is_away_received_the_call(backend):
    async def refuse(method, messages, context):
        await context.abort(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")

    async with serving(echo_descriptors(), refuse) as server:
        tool = tools_of(echo_descriptors(), server.target)["Echo_Say"]
        with pytest.raises(BackendUnavailable) as refused:
            await called(backend, tool, {})
    assert not refused.value.nothing_was_sent


async def test_server_that_goes_away_in_the_middle_of_a_call_may_have_done_it(backend):
    async with serving(echo_descriptors(), echo) as server:
        tool = tools_of(echo_descriptors(), server.target)["Echo_Wait"]
        waiting = asyncio.create_task(called(backend, tool, {}))
        async with asyncio.timeout(20):
            await server.reached.wait()
    with pytest.raises(BackendUnavailable) as lost:
        await waiting
    assert not lost.value.nothing_was_sent


async def test_server_that_comes_back_is_called_again(backend):
    async with serving(echo_descriptors(), echo) as server:
        tool = tools_of(echo_descriptors(), server.target)["Echo_Say"]
        call = backend.prepare(tool)
        assert content(await call({"text": "1"}, context(tool))) == {"text": "1"}
    with pytest.raises(BackendUnavailable):
        await call({"text": "2"}, context(tool))
    async with serving(echo_descriptors(), echo, port=int(server.target.rpartition(":")[2])):
        async with asyncio.timeout(30):  # grpc waits about a second before it connects anew
            while True:
                try:
                    answer = await call({"text": "3"}, context(tool))
                    break
                except BackendUnavailable:
                    await asyncio.sleep(0.05)
        assert content(answer) == {"text": "3"}


async def test_deadline_travels_to_the_server_and_is_a_timeout(backend):
    async with serving(echo_descriptors(), echo) as server:
        tool = tools_of(echo_descriptors(), server.target, timeout_seconds=0.2)["Echo_Wait"]
        with pytest.raises(BackendTimedOut):
            await called(backend, tool, {})
        async with asyncio.timeout(10):
            await server.released.wait()


async def test_answer_larger_than_the_limit_is_refused():
    async def large(method, messages, context):
        return [{"text": "x" * 5000}]

    backend = GrpcBackend(InMemoryCredentialSource(), max_received_bytes=1000)
    async with serving(echo_descriptors(), large) as server:
        with pytest.raises(BackendProtocolError, match="larger than the gateway reads"):
            await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Say"], {})
        await backend.close()


async def test_server_of_another_protocol_is_a_protocol_error_or_unavailable(backend):
    async def talk(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = f"grpc://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        tool = tools_of(echo_descriptors(), target, timeout_seconds=5)["Echo_Say"]
        with pytest.raises((BackendProtocolError, BackendUnavailable)) as refused:
            await called(backend, tool, {})
    assert "127.0.0.1" not in refused.value.message


async def test_private_network_is_not_called_unless_it_is_named():
    backend = GrpcBackend(InMemoryCredentialSource(), rules=PUBLIC_ONLY)
    async with serving(echo_descriptors(), echo) as server:
        with pytest.raises(BackendUnavailable, match="a network that the gateway may not call"):
            await called(backend, tools_of(echo_descriptors(), server.target)["Echo_Say"], {})
        await backend.close()
    assert server.seen == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"left": "a", "right": "1"}, "oneof"),
        ({"big": "9223372036854775808"}, "big"),
        ({"at": "yesterday"}, "at"),
        ({"anything": {"@type": "type.googleapis.com/no.Such"}}, "anything"),
    ],
)
async def test_value_that_the_message_cannot_hold_is_an_invalid_argument(backend, arguments, words):
    tool = tools_of(echo_descriptors(), "grpc://127.0.0.1:1")["Echo_Say"]
    with pytest.raises(InvalidArguments, match=words):
        backend.prepare(tool).preview(arguments)


async def test_preview_shows_target_method_and_message(backend):
    tool = tools_of(echo_descriptors(), "grpc://127.0.0.1:1")["Echo_Say"]
    assert backend.prepare(tool).preview({"text": "x"}) == {
        "target": "grpc://127.0.0.1:1",
        "method": "/echo.v1.Echo/Say",
        "metadata": {},
        "message": {"text": "x"},
        "authentication": "none",
    }


async def test_authentication_that_metadata_cannot_carry_is_refused_at_registration(backend):
    authentication = Authentication(type="apiKey", secret=SecretReference(name="api"), location="query")
    tool = tools_of(echo_descriptors(), "grpc://127.0.0.1:1", authentication=authentication)["Echo_Say"]
    with pytest.raises(InvalidInput, match="apiKey for gRPC goes into metadata"):
        backend.prepare(tool)
