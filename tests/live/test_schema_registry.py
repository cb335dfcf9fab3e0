"""Kafka tools on a real broker and a real schema registry: Avro, Protobuf and JSON Schema, with references."""

import asyncio
import io
import json
import secrets
from collections.abc import Iterator

import fastavro
import jsonschema_rs
import pytest
from tests.infrastructure.kafka.brokers import records
from tests.infrastructure.kafka.peer import produce
from tests.infrastructure.kafka.test_protobuf import MONEY, ORDER, VALUE, by_protobuf
from tests.infrastructure.kafka.test_spec_kind import ADDRESS, ADMIN, VIEWER, WHOLE, gateway_of, manifest
from tests.infrastructure.kafka.test_spec_kind import ORDER as AVRO_ORDER
from tests.live.servers import Apicurio, Kafka, make_topic, post, running

DRAFT = "http://json-schema.org/draft-07/schema#"
PLACE = {"$schema": DRAFT, "definitions": {"City": {"type": "string", "maxLength": 3}}}
PERSON = {
    "$schema": DRAFT,
    "type": "object",
    "required": ["home"],
    "properties": {"home": {"$ref": "place.json#/definitions/City"}},
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    with running(Apicurio, tmp_path_factory.mktemp("apicurio")) as server:
        assert isinstance(server, Apicurio)
        yield server


def register(registry: Apicurio, subject: str, schema: object, kind: str, *references: tuple[str, str]) -> int:
    """The schema's id. `references`: name and subject."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    content = {
        "schema": text,
        "schemaType": kind,
        "references": [{"name": name, "subject": other, "version": 1} for name, other in references],
    }
    return int(json.loads(post(f"{registry.registry}/subjects/{subject}/versions", content))["id"])


async def test_kafka_registry_of_apicurio_gives_the_schemas_of_what_is_produced_and_read(
    kafka: Kafka, registry: Apicurio
) -> None:
    mark = secrets.token_hex(4)
    protobuf, avro, text = (f"{kind}-{mark}" for kind in ("protobuf", "avro", "text"))
    for topic in (protobuf, avro, text):
        make_topic(kafka.servers, topic)
    register(registry, f"money-{mark}", MONEY, "PROTOBUF")
    order_id = register(registry, f"{protobuf}-value", ORDER, "PROTOBUF", ("shop/money.proto", f"money-{mark}"))
    register(registry, f"address-{mark}", ADDRESS, "AVRO")
    avro_id = register(registry, f"{avro}-value", AVRO_ORDER, "AVRO", ("shop.Address", f"address-{mark}"))
    register(registry, f"place-{mark}", PLACE, "JSON")
    person_id = register(registry, f"{text}-value", PERSON, "JSON", ("place.json", f"place-{mark}"))
    note_id = register(registry, f"note-{mark}", 'syntax = "proto3"; message Old { string text = 1; }', "PROTOBUF")

    connection = {
        "bootstrapServers": [kafka.servers],
        "schemaRegistry": {"url": registry.registry},
        "topics": [protobuf, avro, text],
    }
    values = {protobuf: VALUE, avro: {"id": 1, "where": {"city": "Ulm"}}, text: {"home": "Ulm"}}
    async with gateway_of() as gateway:
        await gateway.add_manifest(manifest("ToolSet", kafka=connection))
        assert list(gateway.loader.findings) == []
        tools = {tool.name: tool for tool in gateway.registry.catalogue.tools.values()}
        for topic, value in values.items():
            assert jsonschema_rs.is_valid(tools[f"produce_{topic}"].input_schema, {"value": value})
            sent = await gateway.invoke(f"produce_{topic}", {"value": value}, ADMIN)
            assert not sent.result.is_error
        refused = await gateway.invoke(f"produce_{text}", {"value": {"home": "Berlin"}}, ADMIN)
        assert refused.error.code == "invalid_arguments"
        produce(kafka.servers, protobuf, [{"value": b"\0" + note_id.to_bytes(4, "big") + b"\0\x0a\x02hi"}])
        for topic, value in values.items():
            read = (await gateway.invoke(f"read_{topic}", {}, VIEWER)).result.structured["records"]
            assert value in [record["value"] for record in read]
            assert all("problem" not in record for record in read)
            if topic == protobuf:  # written by another schema than the topic's newest
                assert {"text": "hi"} in [record["value"] for record in read]

    def written(topic: str, number: int) -> bytes:
        start = b"\0" + number.to_bytes(4, "big")
        return next(each.value for each in records(kafka.servers, topic) if each.value.startswith(start))[5:]

    order = await asyncio.to_thread(written, protobuf, order_id)
    assert by_protobuf("shop.Order", order[2:]) == VALUE
    parsed = fastavro.parse_schema(WHOLE)
    found = fastavro.schemaless_reader(io.BytesIO(await asyncio.to_thread(written, avro, avro_id)), parsed, None)
    assert found == values[avro]
    assert json.loads(await asyncio.to_thread(written, text, person_id)) == values[text]
