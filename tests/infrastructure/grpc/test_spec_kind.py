"""Where descriptions of gRPC services come from: reflection, descriptor sets, .proto files; and a gateway with them."""

import base64
import json

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tests.application.upstream import Tokens, oauth_tool
from tests.infrastructure.grpc.loopback import ECHO_PROTO, echo_descriptors, health_server, place_of, serving

from stoa.application.gateway import Gateway
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ConversionOptions, SpecPlace
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput, NotPermitted, Unavailable
from stoa.domain.operations.binding import Authentication, SecretReference
from stoa.infrastructure.files.specs.files import FileSpecSource
from stoa.infrastructure.grpc import GrpcBackend, GrpcSpecKind
from stoa.infrastructure.grpc.manifest import GrpcSource
from stoa.infrastructure.http_client import ANYWHERE
from stoa.infrastructure.worker_process import ProcessExecutor
from stoa.testing.clock import ManualClock

ANN = Principal.of("ann", roles=["viewer"])
NO_PLACE = SpecPlace("tools.yaml", FileSpecSource().fetch)


def kind_of(credentials=None):
    return GrpcSpecKind(credentials or InMemoryCredentialSource(), rules=ANYWHERE)


def gateway_of(**parts):
    credentials = InMemoryCredentialSource()
    return Gateway(backends=[GrpcBackend(credentials)], spec_kinds=[kind_of(credentials)], **parts)


def manifest(kind, **spec):
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "health"}, "spec": spec}


async def fetched(source, place=NO_PLACE, kind=None):
    kind = kind or kind_of()
    return await kind.fetch(GrpcSource.model_validate(source), place)


@pytest.mark.parametrize("is_in_worker_process", [False, True])
async def test_tool_set_of_a_live_server_comes_by_reflection_and_its_tools_are_called(is_in_worker_process):
    executor = ProcessExecutor() if is_in_worker_process else None
    async with health_server() as target:
        gateway = gateway_of(executor=executor)
        assert await gateway.add_manifest(manifest("ToolSet", grpc={"target": target})) == []
        outcome = await gateway.invoke("Health_Check", {"service": "pets"}, ANN)
        assert outcome.result.structured == {"status": "SERVING"}
        outcome = await gateway.invoke("Health_Check", {"service": "none"}, ANN)
        assert outcome.result.is_error
        assert '"code":"NOT_FOUND"' in outcome.result.content[0].text
        names = [tool.name for tool in gateway.registry.catalogue.view(None) if tool.kind == "tool"]
        assert sorted(names) == ["Health_Check", "Health_List", "Health_Watch"]
        await gateway.close()
    if executor is not None:
        await executor.close()


async def test_tool_by_hand_is_called_and_its_writing_method_needs_the_scope():
    async def echo(method, messages, context):
        return messages

    async with serving(echo_descriptors(), echo) as server:
        gateway = gateway_of()
        content = {"target": server.target, "descriptorSet": base64.b64encode(echo_descriptors()).decode()}
        await gateway.add_manifest(manifest("Tool", grpc=content | {"method": "echo.v1.Echo/Say"}))
        outcome = await gateway.invoke("health", {"text": "x"}, ANN)
        assert outcome.result.structured == {"text": "x"}
        writing = manifest("Tool", grpc=content | {"method": "echo.v1.Echo/Store"})
        writing["metadata"] = {"name": "store"}
        await gateway.add_manifest(writing)
        assert isinstance((await gateway.invoke("store", {}, ANN)).error, NotPermitted)
        await gateway.close()


async def test_reflection_gives_an_equal_text_for_an_unchanged_server():
    async with health_server() as target:
        first, second = await fetched({"target": target}), await fetched({"target": target})
    assert first == second
    assert json.loads(first.text)["target"] == target


async def test_server_without_reflection_is_told_with_what_to_set():
    async with health_server(reflects=False) as target:
        with pytest.raises(InvalidInput, match="the server has no reflection; set descriptorSet or protos"):
            await fetched({"target": target})


async def test_server_that_is_away_is_unavailable():
    async with health_server() as target:
        pass
    with pytest.raises(Unavailable, match="no answer to reflection"):
        await fetched({"target": target})


async def test_reflection_does_not_reach_private_networks_that_are_not_named():
    async with health_server() as target:
        with pytest.raises(Unavailable, match="a network that the gateway may not call"):
            await fetched({"target": target}, kind=GrpcSpecKind(InMemoryCredentialSource()))


async def test_reflection_shows_the_credential_of_the_tool_set():
    seen = []

    async def guarded(messages, context):
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        if seen[-1] is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")
        async for question in messages:
            yield _answer_of(question)

    credentials = InMemoryCredentialSource()
    credentials.put("acme", "api", {"token": "t0ken"})
    authentication = Authentication(type="bearer", secret=SecretReference(name="api"))
    place = SpecPlace("tools.yaml", FileSpecSource().fetch, "acme", authentication)
    async with reflecting(guarded) as target:
        await fetched({"target": target}, place, kind_of(credentials))
        with pytest.raises(InvalidInput, match="reflection is not allowed"):
            await fetched({"target": target})
    assert list(dict.fromkeys(seen)) == ["Bearer t0ken", None]  # one refused at once may be tried again


async def test_reflection_shows_an_access_token_and_a_new_one_where_that_is_refused():
    at, tool, seen = Tokens(), oauth_tool(), []
    access = at.tokens.own_access(tool.authentication, tool.tenant)
    first = await access.token()
    at.clock.advance(60)  # so old that another one may fare better

    async def guarded(messages, context):
        seen.append(dict(context.invocation_metadata())["authorization"])
        if seen[-1] == f"Bearer {first}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "too old")
        async for question in messages:
            yield _answer_of(question)

    place = SpecPlace("tools.yaml", FileSpecSource().fetch, tool.tenant, tool.authentication, access)
    async with reflecting(guarded) as target:
        await fetched({"target": target}, place)
    tokens = list(
        dict.fromkeys(seen)
    )  # a stream that is refused at once may look like one that broke: it is tried again
    assert tokens == [f"Bearer {first}", f"Bearer {await access.token()}"]


async def test_reflection_in_the_name_of_callers_is_refused():
    tool = oauth_tool(type="tokenExchange", audience="pets")
    place = SpecPlace("tools.yaml", FileSpecSource().fetch, tool.tenant, tool.authentication)
    with pytest.raises(InvalidInput, match=r"use clientCredentials, or give a file \(spec\.grpc\.descriptorSet\)"):
        await fetched({"target": "grpc://127.0.0.1:1"}, place)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [(b"\xff\xff", "is no ServerReflectionResponse"), (b"\x22\x03\x0a\x01\xff", "is no FileDescriptorProto")],
)
async def test_reflection_that_answers_nonsense_is_told(answer, problem):
    async def nonsense(messages, context):
        async for question in messages:
            is_first = question.WhichOneof("message_request") == "list_services"
            yield _answer_of(question) if is_first and answer[0] == 0x22 else answer

    async with reflecting(nonsense) as target:
        with pytest.raises(InvalidInput, match=problem):
            await fetched({"target": target})


def _answer_of(question):
    response = reflection_pb2.ServerReflectionResponse()
    if question.WhichOneof("message_request") == "list_services":
        response.list_services_response.service.add(name="echo.v1.Echo")
    else:
        files = descriptor_pb2.FileDescriptorSet.FromString(echo_descriptors()).file
        data = [file.SerializeToString() for file in files]
        response.file_descriptor_response.file_descriptor_proto.extend(data)
    return response.SerializeToString()


class reflecting:  # noqa: N801  # a context manager
    """A server whose reflection is this handler."""

    def __init__(self, handler):
        self.handler = handler

    async def __aenter__(self):
        self.server = grpc.aio.server()
        decode = reflection_pb2.ServerReflectionRequest.FromString
        method = grpc.stream_stream_rpc_method_handler(self.handler, decode, None)
        name = "grpc.reflection.v1.ServerReflection"
        handler = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        self.server.add_generic_rpc_handlers((handler,))
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return f"grpc://127.0.0.1:{port}"

    async def __aexit__(self, *_):
        await self.server.stop(None)


async def test_descriptor_set_is_read_from_a_file(tmp_path):
    (tmp_path / "echo.binpb").write_bytes(echo_descriptors())
    document = await fetched({"target": "grpc://a.example:1", "descriptorSet": "echo.binpb"}, place_of(tmp_path))
    content = json.loads(document.text)
    assert base64.b64decode(content["fileDescriptorSet"]) == echo_descriptors()
    assert (document.location, content["target"]) == ("echo.binpb", "grpc://a.example:1")


async def test_descriptor_set_under_another_name_is_refused(tmp_path):
    (tmp_path / "echo.txt").write_text("text")
    with pytest.raises(InvalidInput, match=r"is no binary descriptor set; its name ends in \.binpb"):
        await fetched({"descriptorSet": "echo.txt"}, place_of(tmp_path))


async def test_protos_find_their_imports_in_includes_and_in_the_folders_around_them(tmp_path):
    (tmp_path / "api/shared/v1").mkdir(parents=True)
    (tmp_path / "vendor/other").mkdir(parents=True)
    (tmp_path / "api/shared/v1/m.proto").write_text('syntax = "proto3"; package s; message M {}')
    (tmp_path / "vendor/other/n.proto").write_text('syntax = "proto3"; package n; message N {}')
    service = 'import "shared/v1/m.proto"; import "other/n.proto"; import "google/api/annotations.proto";'
    text = f'syntax = "proto3"; package p; {service} service S {{ rpc Do(s.M) returns (n.N); }}'
    (tmp_path / "api/shared/v1/s.proto").write_text(text)
    source = {"protos": ["api/shared/v1/s.proto"], "includes": ["vendor"], "target": "grpc://a.example:1"}
    document = await fetched(source, place_of(tmp_path))
    conversion = kind_of().converter(GrpcSource.model_validate(source)).convert(document, ConversionOptions())
    assert [tool.name for tool in conversion.tools] == ["S_Do"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('syntax = "proto3"; message {', r"protoc: bad\.proto:1:28: Expected message name"),
        ('syntax = "proto3"; import "no/such.proto";', 'import "no/such.proto" is in none of the folders'),
        ('syntax = "proto3"; import "../outside.proto";', r"protoc: \.\./outside\.proto"),
    ],
)
async def test_protos_that_do_not_compile_are_told_with_their_line(tmp_path, text, problem):
    (tmp_path / "bad.proto").write_text(text)
    with pytest.raises(InvalidInput, match=problem) as refused:
        await fetched({"protos": ["bad.proto"]}, place_of(tmp_path))
    assert "/tmp" not in refused.value.message


@pytest.mark.parametrize(
    ("location", "member"), [("grpc://a.example:1", "target"), ("a.proto", "protos"), ("a.binpb", "descriptor_set")]
)
def test_description_is_recognised_by_its_address(location, member):
    kind = kind_of()
    assert kind.accepts(location, None)
    assert getattr(kind.source_at(location), member) in (location, (location,))
    assert not kind.accepts("pets.yaml", "openapi: 3.1.0")


async def test_description_at_an_address_is_fetched_and_converted_without_a_manifest(tmp_path):
    (tmp_path / "echo.proto").write_text(ECHO_PROTO)
    kinds = SpecKinds([kind_of()], FileSpecSource(tmp_path))
    found = await kinds.recognise("echo.proto")
    document = await found.kind.fetch(found.source, place_of(tmp_path))
    conversion = found.kind.converter(found.source).convert(document, ConversionOptions(base_url="http://a.b"))
    assert len(conversion.tools) == 7


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({}, "target: this field is required"),
        ({"target": "http://a.example"}, "String should match pattern"),
        ({"target": "grpc://a.example:1", "includes": ["x"]}, "includes is for protos"),
        ({"protos": ["a"], "descriptorSet": "b"}, "set only one of descriptorSet and protos"),
        ({"target": "grpc://a.example:1", "metadata": {"grpc-x": "1"}}, "are not for text"),
    ],
)
def test_source_that_cannot_work_is_refused(source, problem):
    with pytest.raises(ValueError, match=problem):
        GrpcSource.model_validate(source)


async def test_live_description_stays_in_use_when_its_server_goes_away():
    clock = ManualClock()
    async with health_server() as target:
        gateway = gateway_of(clock=clock)
        await gateway.add_manifest(manifest("ToolSet", grpc={"target": target, "refreshInterval": "1s"}))
        assert gateway.registry.find(None, "Health_Check", "tool") is not None
    clock.advance(2)  # the description is due, and nothing listens there any more
    findings = await gateway.loader.execute()
    assert "no answer to reflection" in str(findings[-1])
    assert gateway.registry.find(None, "Health_Check", "tool") is not None
    await gateway.close()
