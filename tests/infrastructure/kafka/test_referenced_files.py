"""Documents whose schemas stand in other files, and .proto files: in documents, beside them and in registries."""

import asyncio
import base64
import json
from pathlib import Path

import jsonschema_rs
import pytest
from tests.infrastructure.kafka.brokers import mock_cluster, records
from tests.infrastructure.kafka.peer import make_topics, produce
from tests.infrastructure.kafka.test_protobuf import FILES, MONEY, ORDER, SET, VALUE, by_protobuf
from tests.infrastructure.kafka.test_spec_kind import ADMIN, VIEWER, gateway_of, manifest, place, registered, registry

from stoa.application.ports import ConversionOptions, SpecPlace
from stoa.domain.origin import NamedOrigin
from stoa.infrastructure.files.specs import FileSpecSource
from stoa.infrastructure.kafka import KafkaSpecKind
from stoa.infrastructure.kafka.manifest import KafkaSource
from stoa.infrastructure.worker_process import ProcessExecutor

PROTOBUF = "application/vnd.google.protobuf;version=3"


def document(payload, servers="a.example:9092", **message):
    return json.dumps(
        {
            "asyncapi": "3.0.0",
            "info": {"title": "Orders", "version": "1"},
            "servers": {"main": {"host": servers.split(",")[0], "protocol": "kafka"}},
            "channels": {
                "orders": {"address": "orders", "messages": {"Order": {"name": "Order", "payload": payload, **message}}}
            },
            "operations": {
                "take": {"action": "receive", "channel": {"$ref": "#/channels/orders"}},
                "give": {"action": "send", "channel": {"$ref": "#/channels/orders"}},
            },
        }
    )


async def converted(files, url="api.json", spec_place=None):
    kind = KafkaSpecKind()
    source = KafkaSource(url=url)
    fetched = await kind.fetch(source, spec_place or place(files))
    return kind.converter(source).convert(fetched, ConversionOptions())


SIMPLE = 'syntax = "proto3"; message Order { string item = 1; int32 count = 2; }'


@pytest.mark.parametrize(
    ("payload", "files"),
    [
        ({"schemaFormat": PROTOBUF, "schema": ORDER}, {"shop/money.proto": MONEY}),
        ({"schemaFormat": PROTOBUF, "schema": {"$ref": "./protos/order.proto"}}, {}),
        ({"schemaFormat": PROTOBUF, "schema": {"$ref": "protos/order.proto#/shop.Order"}}, {}),
    ],
    ids=["inline", "file", "message of a file"],
)
async def test_kafka_protobuf_of_a_document_is_produced_and_read(payload, files):
    executor = ProcessExecutor()
    with mock_cluster() as servers:
        make_topics(servers, "orders")
        files = {
            "api.json": document(payload, servers),
            "protos/order.proto": ORDER,
            "protos/shop/money.proto": MONEY,
            **files,
        }
        async with gateway_of(files, executor) as gateway:
            await gateway.add_manifest(manifest("ToolSet", kafka={"url": "api.json"}))
            assert list(gateway.loader.findings) == []
            assert not (await gateway.invoke("produce_orders", {"value": VALUE}, ADMIN)).result.is_error
            wrong = await gateway.invoke("produce_orders", {"value": {"customer": 5}}, ADMIN)
            assert wrong.error.code == "invalid_arguments"
            read = (await gateway.invoke("read_orders", {}, VIEWER)).result.structured["records"]
            assert [record["value"] for record in read] == [VALUE]
        (record,) = await asyncio.to_thread(records, servers, "orders")
    assert by_protobuf("shop.Order", record.value) == VALUE


async def test_kafka_protobuf_of_version_2_and_of_components_and_of_keys():
    old = json.loads(document({}))
    old = {
        "asyncapi": "2.6.0",
        "info": old["info"],
        "servers": {"main": {"url": "a.example:9092", "protocol": "kafka"}},
        "components": {"schemas": {"order": SIMPLE}},
        "channels": {
            "orders": {
                "publish": {"message": {"schemaFormat": PROTOBUF, "payload": {"$ref": "#/components/schemas/order"}}}
            }
        },
    }
    (tool,) = (await converted({"api.json": json.dumps(old)})).tools
    assert sorted(tool.input_schema["properties"]["value"]["properties"]) == ["count", "item"]

    key = {"schemaFormat": PROTOBUF, "schema": 'syntax = "proto3"; message Id { int64 id = 1; }'}
    keyed = document({"type": "object"}, bindings={"kafka": {"key": key}})
    conversion = await converted({"api.json": keyed})
    assert conversion.findings == ()
    for tool in conversion.tools:
        assert tool.input_schema["properties"]["key"]["properties"]["id"]["type"] == "string"
        assert tool.binding.key.message_type == "Id"


async def test_kafka_protobuf_descriptor_set_beside_the_document(tmp_path: Path):
    (tmp_path / "order.binpb").write_bytes(base64.b64decode(SET))
    payload = {"schemaFormat": PROTOBUF, "schema": {"$ref": "order.binpb#/shop.Order"}}
    (tmp_path / "api.json").write_text(document(payload))
    conversion = await converted({}, str(tmp_path / "api.json"), local_place(tmp_path))
    assert [tool.binding.value.message_type for tool in conversion.tools] == ["shop.Order"] * 2


def local_place(folder: Path) -> SpecPlace:
    return SpecPlace(NamedOrigin("m.yaml"), FileSpecSource().fetch)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("message A { string a = ; }", "protoc"),
        ('syntax = "proto3"; import "missing.proto"; message A {}', "missing.proto"),
        ('syntax = "proto3"; import "../secret.proto"; message A { Secret s = 1; }', "secret.proto"),
    ],
)
async def test_kafka_protobuf_that_does_not_compile_is_left_out_with_the_reason(source, reason):
    files = {"api.json": document({"schemaFormat": PROTOBUF, "schema": source}), "../secret.proto": "message Secret {}"}
    conversion = await converted(files)
    assert conversion.tools == ()
    assert all(reason in finding.message for finding in conversion.findings)


async def test_kafka_references_are_followed_from_file_to_file_relative_to_each():
    files = {
        "spec/api.json": document({"$ref": "./schemas/order.json"}),
        "spec/schemas/order.json": json.dumps(
            {
                "type": "object",
                "required": ["who"],
                "properties": {
                    "who": {"$ref": "people/person.yaml#/Person"},
                    "again": {"$ref": "#/definitions/n"},
                    "parent": {"$ref": "order.json"},
                },
                "definitions": {"n": {"type": "integer"}},
            }
        ),
        "spec/schemas/people/person.yaml": "Person: {type: object, properties: {home: {$ref: '../place.json'}}}",
        "spec/schemas/place.json": '{"type": "string", "maxLength": 3}',
    }
    conversion = await converted(files, "spec/api.json")
    assert conversion.findings == ()
    check = jsonschema_rs.validator_for(conversion.tools[0].input_schema).is_valid
    good = {"who": {"home": "Ulm"}, "again": 1, "parent": {"who": {}}}
    assert check({"value": good})
    for wrong in ({"who": {"home": "Köln"}}, {"who": {}, "again": "x"}, {"who": {}, "parent": {}}, {}):
        assert not check({"value": wrong})


async def test_kafka_channels_and_messages_may_stand_in_other_files():
    whole = json.loads(document({"type": "object"}))
    whole["channels"] = {"orders": {"$ref": "channels.json#/orders"}}
    channels = {
        "orders": {"address": "shop.orders", "messages": {"m": {"$ref": "#/messages/m"}}},
        "messages": {"m": {"payload": {"type": "string"}, "contentType": "application/json"}},
    }
    files = {"api.json": json.dumps(whole), "channels.json": json.dumps(channels)}
    conversion = await converted(files)
    assert {tool.binding.topic for tool in conversion.tools} == {"shop.orders"}


@pytest.mark.parametrize(
    "reference", ["../secret.json", "/etc/secret.json", "file:///etc/secret.json", "a/../../x.json"]
)
async def test_kafka_references_out_of_the_documents_folder_are_not_read(reference):
    asked = []

    async def read(location):
        asked.append(location)
        return await place({"spec/api.json": document({"$ref": reference})}).read(location)

    conversion = await converted({}, "spec/api.json", SpecPlace(NamedOrigin("m.yaml"), read))
    assert asked == ["spec/api.json"]
    assert all("is not fetched" in finding.message for finding in conversion.findings)


REGISTERED = {
    "/subjects/orders-value/versions/latest": {
        **registered(7, ""),
        "schema": ORDER,
        "schemaType": "PROTOBUF",
        "references": [{"name": "shop/money.proto", "subject": "money", "version": 1}],
    },
    "/subjects/money/versions/1": {**registered(3, ""), "schema": MONEY, "schemaType": "PROTOBUF"},
    "/schemas/ids/7": {
        "schema": ORDER,
        "schemaType": "PROTOBUF",
        "references": [{"name": "shop/money.proto", "subject": "money", "version": 1}],
    },
    "/schemas/ids/9": {"schema": 'syntax = "proto3"; message Old { string text = 1; }', "schemaType": "PROTOBUF"},
    "/subjects/people-value/versions/latest": {
        **registered(
            8,
            {
                "type": "object",
                "required": ["home"],
                "properties": {"home": {"$ref": "place.json#/definitions/City"}, "other": {"$ref": "place.json"}},
            },
        ),
        "schemaType": "JSON",
        "references": [{"name": "place.json", "subject": "places", "version": 4}],
    },
    "/subjects/places/versions/4": {
        **registered(2, {"definitions": {"City": {"type": "string", "maxLength": 3}}, "type": "integer"}),
        "schemaType": "JSON",
    },
}


async def test_kafka_registry_gives_protobuf_and_json_schemas_with_those_that_they_refer_to():
    with mock_cluster() as servers:
        make_topics(servers, "orders", "people")
        async with registry(REGISTERED) as server, gateway_of() as gateway:
            kafka = {"bootstrapServers": servers.split(","), "schemaRegistry": {"url": server.url}}
            await gateway.add_manifest(manifest("ToolSet", kafka=kafka))
            assert list(gateway.loader.findings) == []
            tools = {tool.name: tool for tool in gateway.registry.catalogue.tools.values()}
            value = tools["produce_orders"].input_schema["properties"]["value"]
            assert value["properties"]["customer"]["description"] == "Who orders."
            assert not (await gateway.invoke("produce_orders", {"value": VALUE}, ADMIN)).result.is_error
            produce(servers, "orders", [{"value": b"\0\0\0\0\x09\0\x0a\x02hi"}])
            read = (await gateway.invoke("read_orders", {}, VIEWER)).result.structured["records"]
            assert sorted((record["value"] for record in read), key=len) == [{"text": "hi"}, VALUE]
            assert not (await gateway.invoke("produce_people", {"value": {"home": "Ulm"}}, ADMIN)).result.is_error
            for wrong in ({"home": "Köln"}, {"home": "Ulm", "other": "x"}):
                refused = await gateway.invoke("produce_people", {"value": wrong}, ADMIN)
                assert refused.error.code == "invalid_arguments"
        values = [record.value for record in await asyncio.to_thread(records, servers, "orders")]
    (ours,) = [value for value in values if value[4] == 7]
    assert ours[:7] == b"\0\0\0\0\x07\x02\x02"  # the file's second message
    assert by_protobuf("shop.Order", ours[7:]) == VALUE


async def test_kafka_tool_by_hand_takes_a_descriptor_set():
    with mock_cluster() as servers:
        make_topics(servers, "orders")
        part = {"format": "protobuf", "schema": SET, "messageType": "shop.Order", "schemaId": 7}
        kafka = {"bootstrapServers": servers.split(","), "action": "produce", "topic": "orders", "value": part}
        executor = ProcessExecutor()
        async with gateway_of(executor=executor) as gateway:
            await gateway.add_manifest(manifest("Tool", kafka=kafka))
            (tool,) = gateway.registry.catalogue.tools.values()
            assert tool.input_schema["properties"]["value"]["description"] == "An order of a customer."
            assert not (await gateway.invoke("shop", {"value": VALUE}, ADMIN)).result.is_error
        (record,) = await asyncio.to_thread(records, servers, "orders")
    assert by_protobuf("shop.Order", record.value[7:]) == VALUE
    assert sorted(FILES) == ["order.proto", "shop/money.proto"]
