"""KafkaConverter: AsyncAPI documents of others and small ones, and what a live cluster said, as tools and findings."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.application.ports import Conversion, ConversionOptions, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Authentication, SecretReference
from stoa.infrastructure.kafka.codec import PartReader, PartWriter
from stoa.infrastructure.kafka.converter import KafkaConverter
from stoa.infrastructure.kafka.manifest import KafkaSource

SPECS = Path(__file__).parents[4] / "shared" / "specs" / "asyncapi"
DOCUMENTS = [*sorted(SPECS.rglob("*.yml")), *sorted(SPECS.rglob("*.json"))]
AVRO = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}


def converted(document: Any, location: str = "api.yaml", **more: Any) -> Conversion:
    options = more.pop("options", {})
    text = document if isinstance(document, str) else json.dumps(document)
    source = KafkaSource.model_validate({"inline": "", **more})
    return KafkaConverter(source).convert(SpecDocument(location, text), ConversionOptions(**options))


def v3(**more: Any) -> dict[str, Any]:
    """A document with one operation: an application that receives orders."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Orders", "version": "1"},
        "servers": {"main": {"host": "kafka.example:9093", "protocol": "kafka"}},
        "channels": {
            "orders": {"address": "shop.orders", "messages": {"order": {"$ref": "#/components/messages/order"}}},
            "replies": {"address": "shop.replies", "messages": {"done": {"payload": {"type": "string"}}}},
        },
        "operations": {"take": {"action": "receive", "channel": {"$ref": "#/channels/orders"}}},
        "components": {
            "messages": {"order": {"payload": {"type": "object", "properties": {"id": {"type": "integer"}}}}}
        },
        **more,
    }


def v2(**operation: Any) -> dict[str, Any]:
    return {
        "asyncapi": "2.6.0",
        "info": {"title": "Orders", "version": "1"},
        "servers": {
            "main": {"url": "{host}:9092", "protocol": "kafka", "variables": {"host": {"default": "k.example"}}}
        },
        "channels": {"shop.orders": operation},
    }


def messages(conversion: Conversion) -> str:
    return "\n".join(str(finding) for finding in conversion.findings)


@pytest.mark.parametrize("path", DOCUMENTS or [None], ids=lambda path: path.name if path else "none")
@pytest.mark.parametrize("perspective", ["client", "application"])
def test_kafka_converts_every_real_document_or_says_what_is_left_out(path, perspective):
    if path is None:
        pytest.skip("the documents are not on this machine")
    text = path.read_text(encoding="utf-8")
    if "slack" in str(path):  # AsyncAPI 1.2
        with pytest.raises(InvalidInput, match=r"AsyncAPI 1\.2\.0; versions 2 and 3 are read"):
            converted(text)
        return
    conversion = converted(text, perspective=perspective)
    root = json.loads(text) if path.suffix == ".json" else None
    left_out = messages(conversion)
    for operation in root["operations"] if root else ():
        assert any(tool.api.operation_id == operation for tool in conversion.tools) or operation in left_out
    assert conversion.tools or "is not fetched" in left_out
    for tool in conversion.tools:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **tool.input_schema})
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **tool.output_schema})
        PartWriter(tool.binding.value, "value")


def test_kafka_perspective_decides_who_produces():
    (client,) = converted(v3()).tools
    (application,) = converted(v3(), perspective="application").tools
    assert (client.name, client.binding.action, client.binding.topic) == ("produce_orders", "produce", "shop.orders")
    assert (application.name, application.binding.action) == ("read_orders", "read")
    assert client.input_schema["properties"]["value"]["properties"] == {"id": {"type": "integer"}}
    assert client.binding.bootstrap_servers == ("kafka.example:9093",)


def test_kafka_version_2_says_what_clients_do():
    publish = {"operationId": "order", "message": {"payload": {"type": "string"}}}
    conversion = converted(v2(publish=publish, subscribe={"message": {"payload": {"type": "integer"}}}))
    assert [(tool.name, tool.binding.action) for tool in conversion.tools] == [
        ("produce_shop_orders", "produce"),
        ("read_shop_orders", "read"),
    ]
    assert conversion.tools[0].api.operation_id == "order"
    assert conversion.tools[0].binding.bootstrap_servers == ("k.example:9092",)


@pytest.mark.parametrize(
    ("protocol", "scheme", "security"),
    [
        ("kafka", None, ("PLAINTEXT", "PLAIN")),
        ("kafka-secure", None, ("SSL", "PLAIN")),
        ("kafka", {"type": "plain"}, ("SASL_PLAINTEXT", "PLAIN")),
        ("kafka", {"type": "plain", "x-security.protocol": "SASL_SSL"}, ("SASL_SSL", "PLAIN")),
        ("kafka-secure", {"type": "scramSha512"}, ("SASL_SSL", "SCRAM-SHA-512")),
        ("kafka-secure", {"type": "oauth2"}, ("SASL_SSL", "OAUTHBEARER")),
        ("kafka-secure", {"type": "X509"}, ("SSL", "PLAIN")),
    ],
    ids=str,
)
def test_kafka_security_is_that_of_the_server(protocol, scheme, security):
    server = {"host": "k.example", "protocol": protocol, **({"security": [scheme]} if scheme else {})}
    (tool,) = converted(v3(servers={"main": server})).tools
    assert (tool.binding.security.protocol, tool.binding.security.mechanism) == security
    assert tool.binding.bootstrap_servers == ("k.example:9092",)


def test_kafka_security_that_is_not_offered_leaves_the_tools_out_with_the_reason():
    server = {"host": "k.example", "protocol": "kafka-secure", "security": [{"type": "gssapi"}]}
    conversion = converted(v3(servers={"main": server}))
    assert conversion.tools == ()
    assert "gssapi" in messages(conversion)


def test_kafka_operations_of_other_protocols_are_left_out_with_the_reason():
    conversion = converted(v3(servers={"ws": {"host": "a.example", "protocol": "wss"}}))
    assert conversion.tools == ()
    assert "no server of its channel speaks Kafka" in messages(conversion)


def test_kafka_description_from_elsewhere_does_not_choose_who_gets_the_credential():
    secret = Authentication(type="basic", secret=SecretReference(name="s"))
    conversion = converted(v3(), "https://specs.example/api.yaml", options={"authentication": secret})
    assert conversion.tools == ()
    assert conversion.withheld_origins == {"kafka://kafka.example:9093"}
    chosen = converted(
        v3(),
        "https://specs.example/api.yaml",
        options={"authentication": secret},
        bootstrapServers=["mine.example:1"],
        securityProtocol="SASL_SSL",
    )
    assert chosen.tools[0].binding.bootstrap_servers == ("mine.example:1",)


def test_kafka_each_message_that_can_be_produced_is_a_tool_and_all_are_read_by_one():
    document = v3()
    document["channels"]["orders"]["messages"]["cancel"] = {"name": "shop.Cancel", "payload": {"type": "integer"}}
    assert [tool.name for tool in converted(document).tools] == ["produce_orders_order", "produce_orders_Cancel"]
    (reading,) = converted(document, perspective="application").tools
    values = reading.output_schema["properties"]["records"]["items"]["properties"]["value"]
    assert len(values["anyOf"][0]["anyOf"]) == 2


def test_kafka_channel_parameters_are_arguments_that_cannot_leave_their_part_of_the_name():
    document = v3()
    document["channels"]["orders"] |= {
        "address": "shop.{env}.orders.{region}",
        "parameters": {"env": {"enum": ["dev", "prod"], "default": "dev"}, "region": {"description": "Where"}},
    }
    (tool,) = converted(document).tools
    check = jsonschema_rs.validator_for(tool.input_schema).is_valid
    assert check({"value": {}, "parameters": {"region": "eu-1"}})
    for wrong in ({"region": "eu.secret"}, {"region": ""}, {"env": "dev"}, {"region": "a", "env": "test"}):
        assert not check({"value": {}, "parameters": wrong})


def test_kafka_request_takes_reply_topic_and_headers_from_the_document():
    document = v3()
    header = {"correlationId": {"location": "$message.header#/REQUEST_ID"}}
    properties = {"REQUEST_ID": {"type": "string"}, "REPLY_TOPIC": {"type": "string"}, "WHO": {"type": "string"}}
    document["components"]["messages"]["order"] |= {
        **header,
        "headers": {"type": "object", "properties": properties, "required": ["REQUEST_ID", "WHO"]},
    }
    document["channels"]["replies"]["messages"]["done"] |= {"correlationId": {"location": "$message.header#/CAUSE"}}
    reply = {"channel": {"$ref": "#/channels/replies"}, "address": {"location": "$message.header#/REPLY_TOPIC"}}
    document["operations"]["take"]["reply"] = reply
    (tool,) = converted(document).tools
    found = tool.binding.reply
    assert (tool.binding.action, found.topic) == ("request", "shop.replies")
    assert (found.correlation_header, found.reply_header, found.topic_header) == ("REQUEST_ID", "CAUSE", "REPLY_TOPIC")
    headers = tool.input_schema["properties"]["headers"]
    assert (list(headers["properties"]), headers["required"]) == (["WHO"], ["WHO"])

    document["channels"]["replies"]["address"] = None
    assert "replyTopic" in messages(converted(document))
    assert converted(document, replyTopic="mine").tools[0].binding.reply.topic == "mine"

    del document["components"]["messages"]["order"]["correlationId"]
    assert "correlationId" in messages(converted(document, replyTopic="mine"))


def test_kafka_correlation_id_in_the_payload_is_no_argument():
    document = v3()
    order = {"type": "object", "required": ["id", "meta"], "properties": {"item": {"type": "string"}}}
    order["properties"] |= {"id": {"type": "string", "format": "uuid"}, "meta": {"$ref": "#/components/schemas/Meta"}}
    meta = {"type": "object", "required": ["cause"], "properties": {"cause": {"type": "string"}}}
    document["components"]["schemas"] = {**document["components"].get("schemas", {}), "Meta": meta}
    document["components"]["messages"]["order"] |= {"payload": order}
    document["operations"]["take"]["reply"] = {"channel": {"$ref": "#/channels/replies"}}
    for place, left, reply in (
        ("$message.payload#/id", ["item", "meta"], "$message.payload#/meta/cause"),
        ("$message.payload#/meta/cause", ["id", "item", "meta"], "$message.header#/CAUSE"),
    ):
        document["components"]["messages"]["order"]["correlationId"] = {"location": place}
        document["channels"]["replies"]["messages"]["done"]["correlationId"] = {"location": reply}
        (tool,) = converted(document).tools
        value = tool.input_schema["properties"]["value"]
        assert sorted(value["properties"]) == left
        is_nested = place.endswith("cause")
        check = jsonschema_rs.validator_for(tool.input_schema).is_valid
        assert check({"value": {"id": "x", "item": "pen"} if is_nested else {"item": "pen", "meta": {"cause": "x"}}})
        found = tool.binding.reply
        assert found.correlation_pointer == place.partition("#")[2]
        assert (found.reply_header, found.reply_pointer) == (("CAUSE", None) if is_nested else (None, "/meta/cause"))

    for schema in ({"type": "integer"}, {"type": "string", "maxLength": 8}, {"type": "string", "format": "date-time"}):
        order["properties"]["id"] = schema
        document["components"]["messages"]["order"]["correlationId"] = {"location": "$message.payload#/id"}
        assert "/id of the payload" in messages(converted(document))
    document["components"]["messages"]["order"]["correlationId"] = {"location": "$message.payload#/missing"}
    assert "/missing of the payload" in messages(converted(document))


def test_kafka_avro_in_schema_format_is_described_and_written():
    document = v3()
    form = "application/vnd.apache.avro;version=1.9.0"
    document["components"]["messages"]["order"] = {"payload": {"schemaFormat": form, "schema": AVRO}}
    (tool,) = converted(document).tools
    assert tool.binding.value.format == "avro"
    assert tool.input_schema["properties"]["value"]["properties"]["id"]["type"] == "integer"
    old = v2(publish={"message": {"schemaFormat": form, "payload": AVRO}})
    assert converted(old).tools[0].binding.value == tool.binding.value


def test_kafka_payloads_that_cannot_be_read_are_left_out_with_the_reason():
    document = v3()
    for payload, reason in (
        ({"schemaFormat": "application/vnd.google.protobuf;version=3", "schema": "message A {}"}, "Protobuf"),
        ({"schemaFormat": "application/raml+yaml", "schema": {}}, "is not read"),
        ({"$ref": "https://elsewhere.example/x.json"}, "is not fetched"),
        ({"$ref": "#/components/schemas/missing"}, "is not in the document"),
        ({"type": 5}, "no valid JSON Schema"),
        ({"description": "x" * 60_000}, "larger than"),
    ):
        document["components"]["messages"]["order"]["payload"] = payload
        conversion = converted(document)
        assert conversion.tools == ()
        assert reason in messages(conversion)


def test_kafka_schemas_of_draft_7_become_2020_12_and_may_recur():
    document = v3()
    document["components"]["schemas"] = {
        "tree": {
            "type": "object",
            "properties": {"below": {"type": "array", "items": {"$ref": "#/components/schemas/tree"}}},
        }
    }
    document["components"]["messages"]["order"]["payload"] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "pair": {"items": [{"type": "integer"}, {"type": "string"}], "additionalItems": False},
            "tree": {"$ref": "#/components/schemas/tree"},
        },
        "dependencies": {"pair": ["tree"]},
    }
    (tool,) = converted(document).tools
    check = jsonschema_rs.validator_for(tool.input_schema).is_valid
    assert check({"value": {"pair": [1, "a"], "tree": {"below": [{"below": []}]}}})
    assert not check({"value": {"pair": [1, 2], "tree": {}}})
    assert not check({"value": {"pair": [1, "a"]}})


def test_kafka_subtypes_and_the_base_that_names_them_can_be_satisfied():
    """As Java's generators write them: each would demand the other."""
    document = v3()
    base, electric, gasoline = (f"#/components/schemas/{name}" for name in ("Vehicle", "Electric", "Gasoline"))
    document["components"]["schemas"] = {
        "Vehicle": {
            "type": "object",
            "discriminator": "kind",
            "required": ["kind"],
            "properties": {"kind": {"type": "string"}},
            "oneOf": [{"$ref": electric}, {"$ref": gasoline}],
        },
        "Electric": {"allOf": [{"$ref": base}, {"type": "object", "properties": {"charge": {"type": "integer"}}}]},
        "Gasoline": {"allOf": [{"$ref": base}, {"type": "object", "properties": {"fuel": {"type": "integer"}}}]},
    }
    for reference in (base, electric):
        document["components"]["messages"]["order"]["payload"] = {"$ref": reference}
        (tool,) = converted(document).tools
        check = jsonschema_rs.validator_for(tool.input_schema).is_valid
        assert check({"value": {"kind": "e", "charge": 5}})
        for wrong in ({"charge": 5}, {"kind": 5}):
            assert not check({"value": wrong})
        assert not check({"value": {"kind": "e", "charge": "x", "fuel": "x"}})


def test_kafka_headers_with_one_value_are_set_by_the_gateway():
    document = v3()
    document["components"]["messages"]["order"]["headers"] = {
        "type": "object",
        "properties": {"__TypeId__": {"type": "string", "enum": ["shop.Order"]}, "n": {"type": "integer"}},
    }
    (tool,) = converted(document).tools
    assert tool.binding.fixed_headers == (("__TypeId__", "shop.Order"),)
    assert list(tool.input_schema["properties"]["headers"]["properties"]) == ["n"]


def test_kafka_selectors_and_naming_apply():
    document = v3()
    document["operations"]["give"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/replies"},
        "tags": [{"name": "out"}],
    }
    for options, names in (
        ({"include_tags": frozenset({"out"})}, ["read_replies"]),
        ({"operation_ids": frozenset({"take"})}, ["produce_orders"]),
        ({"methods": frozenset({"READ"})}, ["read_replies"]),
        ({"path_prefix": "shop.o"}, ["produce_orders"]),
        ({"name_prefix": "k_", "use_operation_id": False}, ["k_produce_shop_orders", "k_read_shop_replies"]),
    ):
        assert [tool.name for tool in converted(document, options=options).tools] == names
    assert [tool.name for tool in converted(document, topics=["shop.orders"]).tools] == ["produce_orders"]


def test_kafka_live_description_gives_a_tool_to_read_and_one_to_produce():
    text = {
        "kafka": {
            "bootstrapServers": ["a.example:1"],
            "topics": [
                {"name": "orders", "value": {"format": "avro", "definition": json.dumps(AVRO), "schema_id": 3}},
                {"name": "plain"},
                {"name": "odd", "problems": ["the schema of its value: PROTOBUF"]},
            ],
        }
    }
    conversion = converted(text)
    assert [tool.name for tool in conversion.tools] == ["read_orders", "produce_orders", "read_plain", "produce_plain"]
    assert conversion.tools[1].binding.value.schema_id == 3
    assert "PROTOBUF" in messages(conversion)


@given(value=st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=8))
def test_kafka_json_values_come_back_as_they_went(value):
    (tool,) = converted({"kafka": {"bootstrapServers": ["a:1"], "topics": [{"name": "t"}]}}).tools[1:]
    data = PartWriter(tool.binding.value, "value").write(value)
    assert PartReader(tool.binding.value).read(data) == value
    assert data is None or json.loads(data) == value


def test_kafka_operation_whose_topic_kafka_does_not_have_is_left_out_alone_and_told_why() -> None:
    message = {"correlationId": {"location": "$message.header#/id"}, "payload": {"type": "string"}}
    bad = {"type": "object", "properties": {"n": {"type": "integer", "minimum": "0"}}}
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": "t", "version": "1"},
        "servers": {"k": {"host": "k.example:9092", "protocol": "kafka"}},
        "channels": {
            "good": {"address": "good", "messages": {"m": message}},
            "path": {"address": "a/b", "messages": {"m": message}},
            "bad": {"address": "bad", "messages": {"m": {"payload": bad}}},
        },
        "operations": {
            "one": {"action": "receive", "channel": {"$ref": "#/channels/good"}},
            "two": {"action": "receive", "channel": {"$ref": "#/channels/path"}},
            "three": {
                "action": "receive",
                "channel": {"$ref": "#/channels/good"},
                "reply": {"channel": {"$ref": "#/channels/path"}},
            },
            "four": {"action": "receive", "channel": {"$ref": "#/channels/bad"}},
        },
    }
    made = converted(json.dumps(document))
    assert [tool.name for tool in made.tools] == ["produce_good"]
    words = {finding.where.rpartition(" ")[2]: finding.message for finding in made.findings}
    assert "a topic has letters, digits" in words["two"]
    assert "a topic has letters, digits" in words["three"]
    assert "/properties/n/minimum" in words["four"]
