"""A hostile schema registry leaves its own topics without schemas, and harms nothing else."""

import json

import pytest
from tests.infrastructure.kafka.brokers import mock_cluster
from tests.infrastructure.kafka.peer import make_topics, produce
from tests.infrastructure.kafka.test_spec_kind import ADMIN, VIEWER, gateway_of, manifest, registered, registry

from stoa.infrastructure.kafka.registry import MAX_ANSWER_BYTES, MAX_SCHEMA_CHARACTERS

LONG = "x" * MAX_SCHEMA_CHARACTERS
ENDLESS = {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A", "default": {}}]}
GOOD = {"type": "record", "name": "Good", "fields": [{"name": "n", "type": "int"}]}


@pytest.mark.parametrize(
    ("schemas", "words"),
    [
        ({"/subjects/bad-value/versions/latest": registered(1, {"type": "string", "doc": LONG})}, "longer than"),
        ({"/subjects/bad-value/versions/latest": registered(1, ENDLESS)}, "has no end"),
        (
            {
                "/subjects/bad-value/versions/latest": registered(
                    1, GOOD, references=[{"name": f"r{n}", "subject": f"r{n}", "version": 1} for n in range(3)]
                ),
                **{f"/subjects/r{n}/versions/1": registered(2, LONG[: MAX_SCHEMA_CHARACTERS // 2]) for n in range(3)},
            },
            "longer than",
        ),
        ({"/subjects/bad-value/versions/latest": registered("7", GOOD)}, "names no id"),
    ],
    ids=["long", "no end", "references", "no id"],
)
async def test_kafka_registry_schema_that_cannot_be_used_leaves_its_topic_alone(schemas, words):
    schemas["/subjects/good-value/versions/latest"] = registered(3, GOOD)
    with mock_cluster() as servers:
        make_topics(servers, "bad", "good")
        async with registry(schemas) as server, gateway_of() as gateway:
            kafka = {"bootstrapServers": servers.split(","), "schemaRegistry": {"url": server.url}}
            await gateway.add_manifest(manifest("ToolSet", kafka=kafka))
            assert [finding.message for finding in gateway.loader.findings if words in finding.message]
            written = await gateway.invoke("produce_good", {"value": {"n": 1}}, ADMIN)
            assert not written.result.is_error


async def test_kafka_registry_that_answers_without_end_is_unavailable():
    schemas = {"/schemas/ids/7": {"schema": "x" * (MAX_ANSWER_BYTES + 1)}}
    with mock_cluster() as servers:
        make_topics(servers, "orders")
        produce(servers, "orders", [{"value": b"\0\0\0\0\x07x"}])
        async with registry(schemas) as server, gateway_of() as gateway:
            kafka = {
                "bootstrapServers": servers.split(","),
                "action": "read",
                "topic": "orders",
                "value": {"format": "avro", "schema": json.dumps(GOOD), "schemaId": 1},
                "schemaRegistry": {"url": server.url},
            }
            await gateway.add_manifest(manifest("Tool", kafka=kafka))
            outcome = await gateway.invoke("shop", {}, VIEWER)
    assert outcome.result.is_error
    assert "schema registry" in outcome.result.content[0].text
