"""The laws of SpecConverter, for every adapter and arbitrary descriptions of its kind."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.ports import ConversionOptions, SpecConverter, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Severity
from stoa.domain.schema.json_pointer import fragment_of
from stoa.infrastructure.graphql.converter import GraphQlConverter
from stoa.infrastructure.graphql.manifest import GraphQlSource
from stoa.infrastructure.grpc.converter import GrpcConverter
from stoa.infrastructure.grpc.manifest import GrpcSource
from stoa.infrastructure.kafka.converter import KafkaConverter
from stoa.infrastructure.kafka.manifest import KafkaSource
from stoa.infrastructure.mcp_upstream.converter import McpConverter
from stoa.infrastructure.mcp_upstream.manifest import McpSource
from stoa.infrastructure.openapi import OpenApiConverter

LOCATION = "specs/api.json"


class Kind(NamedTuple):
    """One adapter, and how to describe an API with these operations in its language."""

    converter: Callable[[], SpecConverter]
    describe: Callable[[list[tuple[str, str]]], dict[str, Any]]
    """(operation name, documentation) pairs to a document."""
    foreign: tuple[str, ...]
    """Texts that are not of this kind."""
    prefix: str = ""
    """Of every name: the service or the like that the operations are in."""


def _openapi(operations: list[tuple[str, str]]) -> dict[str, Any]:
    paths = {f"/{n}": {"get": {"operationId": name, "summary": text}} for n, (name, text) in enumerate(operations)}
    info = {"title": "API", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "servers": [{"url": "https://a.example"}], "paths": paths}


_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")


def _graphql(operations: list[tuple[str, str]]) -> dict[str, Any]:
    """Introspection; names that GraphQL does not allow, and those that occur twice, are replaced."""
    fields: dict[str, Any] = {}
    for number, (name, text) in enumerate(operations):
        is_legal = _NAME.fullmatch(name) and not name.startswith("__") and name not in fields
        key = name if is_legal else f"field_{number}_{len(name)}"
        text_type = {"kind": "SCALAR", "name": "String", "ofType": None}
        fields[key] = {"name": key, "description": text, "args": [], "type": text_type, "isDeprecated": False}
    query = {"kind": "OBJECT", "name": "Query", "fields": [*fields.values()], "interfaces": []}
    types = [query, {"kind": "SCALAR", "name": "String"}]
    return {"__schema": {"queryType": {"name": "Query"}, "types": types, "directives": []}}


def _grpc(operations: list[tuple[str, str]]) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="api.proto", package="p", syntax="proto3")
    file.message_type.add(name="M")
    service = file.service.add(name="S")
    for number, (name, text) in enumerate(operations):
        service.method.add(name=name, input_type=".p.M", output_type=".p.M")
        file.source_code_info.location.add(path=[6, 0, 2, number], leading_comments=text)
    data = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    return {"target": "grpc://a.example:1", "fileDescriptorSet": base64.b64encode(data).decode()}


def _kafka(operations: list[tuple[str, str]]) -> dict[str, Any]:
    """One channel for each operation, by the operation's name; a name that occurs twice is numbered."""
    channels: dict[str, Any] = {}
    every: dict[str, Any] = {}
    for number, (name, text) in enumerate(operations):
        key = name if name and name not in channels else f"{name}_{number}"
        channels[key] = {"address": f"t{number}", "messages": {"m": {"payload": {"type": "string"}}}}
        reference = {"$ref": f"#/channels{fragment_of([key])}"}
        every[f"operation{number}"] = {"action": "receive", "summary": text, "channel": reference}
    servers = {"main": {"host": "a.example:1", "protocol": "kafka"}}
    return {"asyncapi": "3.0.0", "servers": servers, "channels": channels, "operations": every}


def _mcp(operations: list[tuple[str, str]]) -> dict[str, Any]:
    tools = [{"name": name, "description": text, "inputSchema": {"type": "object"}} for name, text in operations]
    return {"mcp": {"server": {"name": "s"}}, "tools": tools}


KINDS = {
    "kafka": Kind(
        lambda: KafkaConverter(KafkaSource(inline="")),
        _kafka,
        ("", "text", "{", "[]", "{}", "openapi: 3.1.0", "type Query { a: Int }", "asyncapi: 1.2.0"),
        "produce_",
    ),
    "mcp": Kind(
        lambda: McpConverter(McpSource(url="https://a.example/mcp")),
        _mcp,
        ("", "text", "{", "[]", "{}", "openapi: 3.1.0", "type Query { a: Int }"),
    ),
    "grpc": Kind(
        lambda: GrpcConverter(GrpcSource(target="grpc://a.example:1")),
        _grpc,
        ("", "text", "{", "[]", "{}", '{"fileDescriptorSet": "////"}', "openapi: 3.1.0", "asyncapi: 3.0.0"),
        "S_",
    ),
    "openapi": Kind(
        OpenApiConverter, _openapi, ("", "text", "{", "[]", "{}", "type Query { a: Int }", "asyncapi: 3.0.0")
    ),
    "graphql": Kind(
        lambda: GraphQlConverter(GraphQlSource(inline="", endpoint="https://a.example/graphql")),
        _graphql,
        ("", "text", "{", "[]", "{}", "openapi: 3.0.0", "query A { a }"),
    ),
}


@pytest.fixture(scope="session", params=KINDS)
def kind(request):
    return KINDS[request.param]


def converted(kind: Kind, document: dict[str, Any], **options: Any):
    return kind.converter().convert(SpecDocument(LOCATION, json.dumps(document)), ConversionOptions(**options))


OPERATIONS = st.lists(st.tuples(st.text(max_size=70), st.text(max_size=50)), max_size=8)


@given(operations=OPERATIONS)
def test_equal_input_gives_equal_output(kind, operations):
    document = kind.describe(operations)
    assert converted(kind, document) == converted(kind, document)


@given(operations=OPERATIONS, prefix=st.text(max_size=60), suffix=st.text(max_size=60))
def test_names_are_unique_whatever_operations_and_prefix_are_called(kind, operations, prefix, suffix):
    tools = converted(kind, kind.describe(operations), name_prefix=prefix, name_suffix=suffix).tools
    assert len({tool.name for tool in tools}) == len(tools)


@given(operations=OPERATIONS)
def test_each_operation_yields_a_tool_or_an_error(kind, operations):
    conversion = converted(kind, kind.describe(operations))
    errors = [finding for finding in conversion.findings if finding.severity is Severity.ERROR]
    assert len(conversion.tools) + len(errors) == len(operations)


@given(names=st.permutations(["alpha", "beta", "gamma", "delta"]))
def test_tools_come_in_the_order_of_the_document(kind, names):
    tools = converted(kind, kind.describe([(name, "") for name in names])).tools
    assert [tool.name for tool in tools] == [f"{kind.prefix}{name}" for name in names]


def test_the_tools_of_a_tool_set_belong_to_its_tenant(kind):
    (tool,) = converted(kind, kind.describe([("a", "b")]), tenant="acme").tools
    assert tool.tenant == "acme"


def test_other_texts_are_refused_with_their_location(kind):
    for text in kind.foreign:
        with pytest.raises(InvalidInput) as caught:
            kind.converter().convert(SpecDocument(LOCATION, text), ConversionOptions())
        assert LOCATION in caught.value.message
        assert "line" in caught.value.message


@settings(max_examples=50)
@given(text=st.text(max_size=100))
def test_arbitrary_text_converts_or_is_refused(kind, text):
    try:
        kind.converter().convert(SpecDocument(LOCATION, text), ConversionOptions())
    except InvalidInput as refused:
        assert LOCATION in refused.message
