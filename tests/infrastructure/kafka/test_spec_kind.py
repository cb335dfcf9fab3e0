"""ToolSets and Tools that name Kafka in their manifests: documents, live clusters and schema registries."""

import asyncio
import base64
import io
import json
from contextlib import asynccontextmanager

import fastavro
import pytest
from tests.infrastructure.kafka.brokers import deaf_broker, mock_cluster, records
from tests.infrastructure.kafka.peer import make_topics, produce
from tests.infrastructure.rest.loopback import answer, loopback

from stoa.application.gateway import Gateway
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import SpecPlace
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput, NotPermitted, Unavailable
from stoa.domain.operations.binding import Authentication, SecretReference
from stoa.infrastructure.graphql import GraphQlSpecKind
from stoa.infrastructure.kafka import KafkaBackend, KafkaSpecKind
from stoa.infrastructure.kafka.manifest import KafkaSource
from stoa.infrastructure.openapi import OpenApiSpecKind
from stoa.infrastructure.worker_process import ProcessExecutor

VIEWER = Principal.of("ann", roles=["viewer"])
ADMIN = Principal.of("ada", roles=["cpi-admin"])
ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "long"}, {"name": "where", "type": "shop.Address"}],
}
ADDRESS = {"type": "record", "name": "Address", "namespace": "shop", "fields": [{"name": "city", "type": "string"}]}
WHOLE = ORDER | {"fields": [ORDER["fields"][0], {"name": "where", "type": ADDRESS}]}
DOCUMENT = """
asyncapi: 3.0.0
info: {title: Orders, version: '1'}
servers: {main: {host: 'HOST', protocol: kafka}}
channels:
  orders:
    address: orders
    messages: {order: {payload: {type: object, required: [id], properties: {id: {type: integer}}}}}
operations:
  take: {action: receive, channel: {$ref: '#/channels/orders'}}
"""


def manifest(kind, **spec):
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "shop"}, "spec": spec}


def place(documents=None, **more):
    return SpecPlace("m.yaml", InMemorySpecSource(documents or {}).fetch, **more)


@asynccontextmanager
async def gateway_of(documents=None, executor=None, credentials=None):
    credentials = credentials or InMemoryCredentialSource()
    gateway = Gateway(
        backends=[KafkaBackend(credentials)],
        spec_kinds=[OpenApiSpecKind(), KafkaSpecKind(credentials)],
        specs=InMemorySpecSource(documents or {}),
        executor=executor,
    )
    try:
        yield gateway
    finally:
        await gateway.close()
        if executor is not None:
            await executor.close()


@asynccontextmanager
async def registry(schemas, password=None):
    """Confluent's HTTP API over these answers, by path."""

    def served(seen):
        proof = base64.b64encode(f"stoa:{password}".encode()).decode()
        if password is not None and ("Authorization", f"Basic {proof}") not in seen.headers:
            return answer(b'{"error_code":401,"message":"Unauthorized"}', status="401 Unauthorized")
        found = schemas.get(seen.target)
        if found is None:
            return answer(b'{"error_code":40401,"message":"Subject not found."}', status="404 Not Found")
        return answer(json.dumps(found).encode(), media_type="application/vnd.schemaregistry.v1+json")

    async with loopback(served) as server:
        yield server


def registered(number, schema, **more):
    return {"subject": "s", "version": 1, "id": number, "schema": json.dumps(schema), **more}


SCHEMAS = {
    "/subjects/orders-value/versions/latest": registered(
        7, ORDER, references=[{"name": "shop.Address", "subject": "addresses", "version": 2}]
    ),
    "/subjects/addresses/versions/2": registered(5, ADDRESS),
    "/subjects/events-value/versions/latest": registered(
        8, {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}, schemaType="JSON"
    ),
    "/subjects/odd-value/versions/latest": registered(9, "<a/>", schemaType="XML"),
    "/schemas/ids/11": {
        "schema": json.dumps({"type": "record", "name": "Old", "fields": [{"name": "a", "type": "int"}]})
    },
}


@pytest.mark.parametrize("is_in_worker_process", [False, True])
async def test_kafka_tool_set_of_a_document_serves_its_operations(is_in_worker_process):
    executor = ProcessExecutor() if is_in_worker_process else None
    with mock_cluster() as servers:
        make_topics(servers, "orders")
        documents = {"orders.yaml": DOCUMENT.replace("HOST", servers.split(",")[0])}
        async with gateway_of(documents, executor) as gateway:
            await gateway.add_manifest(manifest("ToolSet", kafka={"url": "orders.yaml"}))
            assert list(gateway.loader.findings) == []
            outcome = await gateway.invoke("produce_orders", {"value": {"id": 5}}, ADMIN)
            assert outcome.result.structured["topic"] == "orders"
            denied = await gateway.invoke("produce_orders", {"value": {"id": 5}}, VIEWER)
            assert isinstance(denied.error, NotPermitted)
            wrong = await gateway.invoke("produce_orders", {"value": {}}, ADMIN)
            assert wrong.error.code == "invalid_arguments"
        (record,) = await asyncio.to_thread(records, servers, "orders")
    assert json.loads(record.value) == {"id": 5}


async def test_kafka_tool_set_of_a_cluster_and_its_registry_reads_and_produces():
    with mock_cluster() as servers:
        make_topics(servers, "orders", "events", "plain", "odd")
        async with registry(SCHEMAS, password="geheim") as server, gateway_of(credentials=secrets()) as gateway:
            connection = {
                "bootstrapServers": servers.split(","),
                "schemaRegistry": {"url": server.url, "secretRef": {"name": "registry"}},
            }
            await gateway.add_manifest(manifest("ToolSet", kafka=connection))
            assert ["XML" in finding.message for finding in gateway.loader.findings] == [True]
            order = {"id": 1, "where": {"city": "Ulm"}}
            assert not (await gateway.invoke("produce_orders", {"value": order}, ADMIN)).result.is_error
            assert not (await gateway.invoke("produce_events", {"value": {"n": 1}}, ADMIN)).result.is_error
            assert (await gateway.invoke("produce_events", {"value": {}}, ADMIN)).error.code == "invalid_arguments"
            for topic, value in (("orders", order), ("events", {"n": 1})):
                read = (await gateway.invoke(f"read_{topic}", {}, VIEWER)).result.structured
                assert [record["value"] for record in read["records"]] == [value]

            old = io.BytesIO()
            fastavro.schemaless_writer(old, json.loads(SCHEMAS["/schemas/ids/11"]["schema"]), {"a": 4})
            produce(servers, "orders", [{"value": b"\0\0\0\0\x0b" + old.getvalue()}, {"value": b"\0\0\0\0\x63?"}])
            read = (await gateway.invoke("read_orders", {}, VIEWER)).result.structured["records"]
            assert {"a": 4} in [record.get("value") for record in read]
            assert sum("problem" in record for record in read) == 1
        (record,) = [each for each in await asyncio.to_thread(records, servers, "orders") if each.value[4] == 7]
    assert fastavro.schemaless_reader(io.BytesIO(record.value[5:]), fastavro.parse_schema(WHOLE), None) == order


def secrets():
    source = InMemoryCredentialSource()
    source.put(None, "registry", {"username": "stoa", "password": "geheim"})
    return source


async def test_kafka_registry_that_is_away_is_told_where_it_is_needed():
    with mock_cluster() as servers:
        make_topics(servers, "orders")
        produce(servers, "orders", [{"value": b"\0\0\0\0\x07x"}])
        value = {"format": "avro", "schema": WHOLE, "schemaId": 1}
        tool = manifest(
            "Tool",
            kafka={
                "bootstrapServers": servers.split(","),
                "action": "read",
                "topic": "orders",
                "value": value,
                "schemaRegistry": {"url": "http://127.0.0.1:1"},
            },
        )
        async with gateway_of() as gateway:
            await gateway.add_manifest(tool)
            outcome = await gateway.invoke("shop", {}, VIEWER)
        assert outcome.result.is_error
        assert "schema registry" in outcome.result.content[0].text


async def test_kafka_tool_by_hand_takes_its_arguments_from_its_parts():
    tool = manifest(
        "Tool",
        kafka={
            "bootstrapServers": ["a.example:9092"],
            "action": "request",
            "topic": "jobs.{team}",
            "value": {"schema": {"type": "object", "required": ["job"]}},
            "headers": False,
            "reply": {"topic": "jobs.{team}.done"},
        },
    )
    async with gateway_of() as gateway:
        await gateway.add_manifest(tool)
        made = gateway.registry.catalogue.tools[next(iter(gateway.registry.catalogue.tools))]
    assert sorted(made.input_schema["properties"]) == ["key", "parameters", "partition", "value"]
    assert made.input_schema["properties"]["value"]["required"] == ["job"]
    assert made.access == "stoa:write"


@pytest.mark.parametrize(
    ("kafka", "place_of_problem"),
    [
        ({"action": "request", "topic": "t"}, "reply"),
        ({"action": "read", "topic": "t", "reply": {"topic": "r"}}, "reply"),
        ({"action": "produce", "topic": "a b"}, "topic"),
        ({"action": "produce", "topic": "t", "bootstrapServers": ["nowhere"]}, "HOST:PORT"),
        ({"action": "produce", "topic": "t", "value": {"format": "avro", "schema": "Unknown"}}, "Avro"),
        ({"action": "request", "topic": "t", "reply": {"topic": "r.{x}"}}, "reply.topic"),
    ],
    ids=str,
)
async def test_kafka_manifest_that_cannot_work_is_refused_with_its_place(kafka, place_of_problem):
    async with gateway_of() as gateway:
        with pytest.raises(InvalidInput) as refused:
            await gateway.add_manifest(manifest("Tool", kafka={"bootstrapServers": ["a.example:1"], **kafka}))
    assert place_of_problem in refused.value.message


async def test_kafka_cluster_that_is_away_is_a_description_that_is_away():
    for servers in ("127.0.0.1:1", "nowhere.invalid:9092"):
        source = KafkaSource.model_validate({"bootstrapServers": [servers]})
        with pytest.raises(Unavailable, match=servers):
            await KafkaSpecKind().fetch(source, place())


async def test_kafka_cluster_is_not_asked_with_a_token_of_callers():
    grant = {"type": "clientCredentials", "token_url": "https://idp.example/token"}
    authentication = Authentication(type="oauth2", secret=SecretReference(name="s"), grant=grant)
    connection = {"bootstrapServers": ["a:1"], "securityProtocol": "SASL_SSL", "saslMechanism": "OAUTHBEARER"}
    with pytest.raises(InvalidInput, match="oauth2"):
        await KafkaSpecKind().fetch(KafkaSource.model_validate(connection), place(authentication=authentication))


async def test_kafka_description_of_a_cluster_that_is_deaf_can_be_cancelled():
    with deaf_broker() as deaf:
        fetching = asyncio.create_task(
            KafkaSpecKind().fetch(KafkaSource.model_validate({"bootstrapServers": [deaf.servers]}), place())
        )
        await asyncio.wait({fetching}, timeout=0.1)
        fetching.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await fetching


async def test_kafka_documents_and_addresses_are_recognised():
    with mock_cluster() as servers:
        make_topics(servers, "one", "two")
        kinds = SpecKinds(
            [OpenApiSpecKind(), GraphQlSpecKind(), KafkaSpecKind()], InMemorySpecSource({"a.yaml": DOCUMENT})
        )
        assert (await kinds.recognise("a.yaml")).kind.member == "kafka"
        live = await kinds.recognise(f"kafka://{servers}/two")
        assert live.kind.member == "kafka"
        assert (list(live.source.bootstrap_servers), list(live.source.topics)) == (servers.split(","), ["two"])


async def test_kafka_document_takes_avro_schemas_from_files_beside_it():
    document = DOCUMENT.replace(
        "{type: object, required: [id], properties: {id: {type: integer}}}",
        "{schemaFormat: 'application/vnd.apache.avro;version=1.9.0', schema: {$ref: './order.avsc'}}",
    ).replace("HOST", "a.example:1")
    assert "order.avsc" in document
    documents = {"api.yaml": document, "order.avsc": json.dumps(WHOLE)}
    async with gateway_of(documents) as gateway:
        await gateway.add_manifest(manifest("ToolSet", kafka={"url": "api.yaml"}))
        (tool,) = [tool for tool in gateway.registry.catalogue.tools.values() if tool.name == "produce_orders"]
    assert tool.input_schema["properties"]["value"]["properties"]["where"]["properties"] == {"city": {"type": "string"}}
    async with gateway_of({"api.yaml": document}) as gateway:
        await gateway.add_manifest(manifest("ToolSet", kafka={"url": "api.yaml"}))
        assert ["is not fetched" in finding.message for finding in gateway.loader.findings] == [True]
