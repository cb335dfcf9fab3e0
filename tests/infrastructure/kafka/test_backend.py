"""KafkaBackend against librdkafka's mock cluster and clients: produce, read and request, and their failures."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator

import fastavro
import pydantic_core
import pytest
from confluent_kafka import Producer
from tests.infrastructure.kafka.brokers import SILENT, Record, deaf_broker, mock_cluster, records
from tests.infrastructure.kafka.peer import (
    CORRELATION,
    REPLY_TO,
    context,
    echo,
    kafka_tool,
    make_topics,
    produce,
    responding,
)

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.errors import BackendUnavailable, InvalidArguments, InvalidInput
from stoa.domain.operations.access import Access
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import RawAnswer, ToolResult, shape
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client import PUBLIC_ONLY
from stoa.infrastructure.kafka import KafkaBackend

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": None}],
}
AVRO = {"format": "avro", "definition": json.dumps(ORDER)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with mock_cluster() as servers:
        yield servers


@pytest.fixture
def topic(cluster: str, request: pytest.FixtureRequest) -> str:
    name = request.node.name[:200].replace("[", "-").replace("]", "")
    make_topics(cluster, name, f"{name}-replies")
    return name


@pytest.fixture
async def backend() -> AsyncIterator[KafkaBackend]:
    made = KafkaBackend(InMemoryCredentialSource())
    yield made
    await made.close()


async def called(backend: KafkaBackend, tool: Tool, arguments: JsonObject, **more: object) -> ToolResult:
    async with asyncio.timeout(20):
        answer = await backend.prepare(tool)(arguments, context(tool, **more))
    return shape(answer) if isinstance(answer, RawAnswer) else answer


async def written(cluster: str, topic: str) -> list[Record]:
    return await asyncio.to_thread(records, cluster, topic)


def asked(cluster: str, topic: str, **binding: object) -> Tool:
    return kafka_tool(cluster, "request", topic, reply={"topic": f"{topic}-replies"}, **binding)


async def test_kafka_produce_writes_key_value_and_headers_as_other_clients_read_them(cluster, topic, backend):
    tool = kafka_tool(cluster, "produce", topic)
    arguments = {"key": "k-1", "value": {"n": 1, "ü": [True, None]}, "headers": {"a": "ä"}}
    trace = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", is_sampled=True)

    result = await called(backend, tool, arguments, trace=trace)

    (record,) = await written(cluster, topic)
    assert (record.key, json.loads(record.value)) == (b"k-1", arguments["value"])
    assert record.headers["a"].decode() == "ä"
    assert record.headers["traceparent"].decode() == trace.traceparent
    assert result.structured["topic"] == topic
    assert (result.structured["partition"], result.structured["offset"]) == (record.partition, 0)
    assert isinstance(result.structured["timestamp"], int)


async def test_kafka_produce_writes_each_of_many_concurrent_records_once_and_in_order(cluster, topic, backend):
    tool = kafka_tool(cluster, "produce", topic)
    results = await asyncio.gather(*(called(backend, tool, {"key": "k", "value": number}) for number in range(300)))

    found = await written(cluster, topic)
    assert sorted(json.loads(record.value) for record in found) == list(range(300))
    for result in results:
        place = result.structured["offset"]
        assert json.loads(found[place].value) == results.index(result)


async def test_kafka_produce_chooses_the_partition_that_javas_and_librdkafkas_clients_choose(cluster, topic, backend):
    tool = kafka_tool(cluster, "produce", topic)
    for number in range(40):
        await called(backend, tool, {"key": f"key-{number}", "value": "gateway"})
        other = {"key": f"key-{number}".encode(), "value": b'"librdkafka"'}
        produce(cluster, topic, [other], partitioner="murmur2_random")

    places: dict[bytes, set[int]] = {}
    for record in await written(cluster, topic):
        places.setdefault(record.key, set()).add(record.partition)
    assert {len(partitions) for partitions in places.values()} == {1}
    assert len(set.union(*places.values())) > 1


async def test_kafka_produce_writes_to_the_partition_that_is_asked_for(cluster, topic, backend):
    tool = kafka_tool(cluster, "produce", topic)
    assert (await called(backend, tool, {"value": 1, "partition": 2})).structured["partition"] == 2
    refused = await called(backend, tool, {"value": 1, "partition": 99})
    assert refused.is_error
    assert "UNKNOWN_TOPIC_OR_PARTITION" in refused.content[0].text


async def test_kafka_produce_encodes_avro_as_fastavro_decodes_it(cluster, topic, backend):
    tool = kafka_tool(cluster, "produce", topic, value=AVRO, key={"format": "bytes"})
    await called(backend, tool, {"key": "AAE=", "value": {"id": 2**40, "note": "x"}})
    (record,) = await written(cluster, topic)
    assert record.key == b"\0\1"
    decoded = fastavro.schemaless_reader(io.BytesIO(record.value), fastavro.parse_schema(ORDER), None)
    assert decoded == {"id": 2**40, "note": "x"}


async def test_kafka_produce_begins_a_registered_value_with_its_schemas_id(cluster, topic, backend):
    tool = kafka_tool(cluster, "produce", topic, value=AVRO | {"schema_id": 7})
    await called(backend, tool, {"value": {"id": 1}})
    (record,) = await written(cluster, topic)
    assert record.value[:5] == b"\0\0\0\0\7"
    assert fastavro.schemaless_reader(io.BytesIO(record.value[5:]), fastavro.parse_schema(ORDER), None)["id"] == 1


async def test_kafka_produce_writes_null_as_a_record_without_content(cluster, topic, backend):
    await called(backend, kafka_tool(cluster, "produce", topic), {"key": "gone", "value": None})
    (record,) = await written(cluster, topic)
    assert (record.key, record.value) == (b"gone", None)


async def test_kafka_produce_fills_the_topics_parameters_in(cluster, topic, backend):
    make_topics(cluster, f"{topic}-b1")
    tool = kafka_tool(cluster, "produce", f"{topic}-{{lamp}}")
    result = await called(backend, tool, {"value": 1, "parameters": {"lamp": "b1"}})
    assert result.structured["topic"] == f"{topic}-b1"


@pytest.mark.parametrize("name", ["traceparent", "Tracestate", CORRELATION, REPLY_TO.upper()])
async def test_kafka_headers_that_the_gateway_sets_cannot_be_set_by_callers(cluster, topic, backend, name):
    with pytest.raises(InvalidArguments):
        await called(backend, asked(cluster, topic), {"value": 1, "headers": {name: "x"}})


async def test_kafka_read_shows_the_last_records_by_default_and_all_of_them_by_offsets(cluster, topic, backend):
    produce(
        cluster,
        topic,
        [{"key": b"k", "value": str(n).encode(), "partition": n % 3, "timestamp": 1000 + n} for n in range(30)],
    )
    tool = kafka_tool(cluster, "read", topic)

    last = (await called(backend, tool, {"limit": 4})).structured
    assert [record["value"] for record in last["records"]] == [26, 27, 28, 29]
    assert last["end"] == "maxMessages"

    seen: list[int] = []
    offsets = {"0": 0, "1": 0, "2": 0}
    while True:
        page = (await called(backend, tool, {"limit": 7, "offsets": offsets})).structured
        seen += [record["value"] for record in page["records"]]
        offsets = page["nextOffsets"]
        if page["end"] == "completed":
            break
    assert sorted(seen) == list(range(30))
    assert page["records"] == [] or page["records"][-1]["value"] == 29


async def test_kafka_read_finds_a_key_far_back(cluster, topic, backend):
    wanted = [{"key": b"rare", "value": b'"found"', "partition": 0}]
    noise = [{"key": b"k", "value": b"1", "partition": 0}] * 3000
    produce(cluster, topic, [*wanted, *noise])
    tool = kafka_tool(cluster, "read", topic)
    result = (await called(backend, tool, {"key": "rare", "limit": 2})).structured
    assert [(record["value"], record["offset"]) for record in result["records"]] == [("found", 0)]
    assert result["end"] == "completed"


async def test_kafka_read_shows_headers_tombstones_and_what_it_cannot_decode(cluster, topic, backend):
    produce(
        cluster,
        topic,
        [
            {"key": b"\xff", "value": None, "partition": 0, "headers": {"t": b"x", "b": b"\xff"}},
            {"key": b"k", "value": b"{no json", "partition": 0},
        ],
    )
    first, second = (await called(backend, kafka_tool(cluster, "read", topic), {})).structured["records"]
    assert first["value"] is None
    assert base64.b64decode(first["keyBase64"]) == b"\xff"
    assert first["headers"] == {"t": "x", "b": {"base64": "/w=="}}
    assert base64.b64decode(second["valueBase64"]) == b"{no json"
    assert "value" in second["problem"]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_kafka_read_unpacks_what_producers_compressed(cluster, topic, backend, codec):
    produce(cluster, topic, [{"value": b'"%d"' % n, "partition": 1} for n in range(50)], **{"compression.type": codec})
    result = (await called(backend, kafka_tool(cluster, "read", topic), {"limit": 50})).structured
    assert [record["value"] for record in result["records"]] == [str(n) for n in range(50)]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
async def test_kafka_read_does_not_unpack_a_bomb(cluster, topic, backend, codec):
    bomb = b"0" * 40_000_000
    options = {"compression.type": codec, "message.max.bytes": 100_000_000}
    produce(cluster, topic, [{"value": bomb, "partition": 1}], **options)
    with pytest.raises(Exception, match="unpacked") as refused:
        await called(backend, kafka_tool(cluster, "read", topic), {})
    assert refused.value.code == "backend_protocol_error"


async def test_kafka_read_ends_at_its_bytes_with_the_newest_records(cluster, topic, backend):
    produce(cluster, topic, [{"value": b'"%s"' % (b"x" * 400), "partition": 0}] * 10)
    tool = kafka_tool(cluster, "read", topic, read={"max_bytes": 1000})
    result = (await called(backend, tool, {})).structured
    assert [record["offset"] for record in result["records"]] == [8, 9]
    assert result["end"] == "maxBytes"


async def test_kafka_read_waits_for_a_new_record_when_asked_to(cluster, topic, backend):
    produce(cluster, topic, [{"value": b'"old"', "partition": 0}])
    tool = kafka_tool(cluster, "read", topic)
    assert (await called(backend, tool, {"waitSeconds": 0.01})).structured["records"] == []
    waiting = asyncio.create_task(called(backend, tool, {"waitSeconds": 8}))
    other = Producer({"bootstrap.servers": cluster}, logger=SILENT)
    while not waiting.done():
        other.produce(topic, b'"new"')
        await asyncio.to_thread(other.flush, 10)
        await asyncio.wait({waiting}, timeout=0.05)
    assert waiting.result().structured["records"][0]["value"] == "new"


async def test_kafka_read_leaves_no_consumer_group_behind(cluster, topic, backend):
    from confluent_kafka.admin import AdminClient

    await called(backend, kafka_tool(cluster, "read", topic), {})
    admin = AdminClient({"bootstrap.servers": cluster}, logger=SILENT)
    assert [group.group_id for group in admin.list_consumer_groups().result(10).valid] == []


async def test_kafka_request_gets_the_reply_with_its_correlation_id(cluster, topic, backend):
    with responding(cluster, topic, echo) as responder:
        result = await called(backend, asked(cluster, topic), {"value": {"n": 1}, "headers": {"who": "me"}})
    assert result.structured["value"] == {"n": 1}
    headers = dict(responder.received[0].headers())
    assert headers["who"] == b"me"
    assert headers[REPLY_TO].decode() == f"{topic}-replies"
    assert backend.replies == {"answered": 1, "duplicate": 0, "late": 0}
    assert backend.open_requests == 0


async def test_kafka_requests_of_many_callers_and_replicas_each_get_their_own_reply(cluster, topic, backend):
    replica = KafkaBackend(InMemoryCredentialSource())
    with responding(cluster, topic, echo):
        results = await asyncio.gather(
            *(
                called(each, asked(cluster, topic), {"value": [name, n]})
                for n in range(40)
                for name, each in (("one", backend), ("two", replica))
            )
        )
    await replica.close()
    assert [result.structured["value"] for result in results] == [
        [name, n] for n in range(40) for name in ("one", "two")
    ]
    assert backend.replies["answered"] == replica.replies["answered"] == 40


@pytest.mark.parametrize("form", ["json", "avro"])
async def test_kafka_correlation_id_in_the_payload_is_set_and_read_by_the_gateway(cluster, topic, backend, form):
    """A responder that knows no headers, and puts the id elsewhere in its reply."""
    schema = {
        "type": "record",
        "name": "Asked",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "n", "type": "int"},
            {
                "name": "inner",
                "type": ["null", {"type": "record", "name": "In", "fields": [{"name": "id", "type": "string"}]}],
            },
        ],
    }
    part = {"format": form, **({"definition": json.dumps(schema)} if form == "avro" else {})}
    parsed = fastavro.parse_schema(schema)

    def read(data):
        return json.loads(data) if form == "json" else fastavro.schemaless_reader(io.BytesIO(data), parsed, None)

    def written(value):
        if form == "json":
            return json.dumps(value).encode()
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        return out.getvalue()

    def answer(message):
        asked_for = read(message.value())
        yield f"{topic}-replies", b"no value of the schema", {}
        for _ in range(2):  # the second one is a duplicate
            inner = {"id": asked_for["id"]}
            yield f"{topic}-replies", written({"id": "other", "n": asked_for["n"], "inner": inner}), {}

    reply = {
        "topic": f"{topic}-replies",
        "topic_header": None,
        "correlation_pointer": "/id",
        "reply_pointer": "/inner/id",
        "value": part,
    }
    make_topics(cluster, f"{topic}-replies")
    tool = kafka_tool(cluster, "request", topic, value=part, reply=reply)
    with responding(cluster, topic, answer) as responder:
        calls = [called(backend, tool, {"value": {"n": number}}) for number in range(20)]
        results = await asyncio.gather(*calls)
        again = kafka_tool(cluster, "request", topic, value=part, reply=reply, fixed_headers=(("a", "b"),))
        assert (await called(backend, again, {"value": {"n": 50}})).structured["value"]["n"] == 50
    assert [result.structured["value"]["n"] for result in results] == [*range(20)]
    assert len({read(message.value())["id"] for message in responder.received}) == 21
    assert backend.replies["answered"] == 21
    assert all(message.headers() in (None, [("a", b"b")]) for message in responder.received)


async def test_kafka_reply_that_comes_twice_counts_once(cluster, topic, backend):
    def twice(message):
        yield from echo(message)
        yield from echo(message)

    with responding(cluster, topic, twice):
        tool = asked(cluster, topic)
        for number in range(3):
            assert (await called(backend, tool, {"value": number})).structured["value"] == number
        async with asyncio.timeout(20):
            while backend.replies["duplicate"] < 2:  # the last one's may still be on its way
                await called(backend, tool, {"value": "again"})


async def test_kafka_reply_that_comes_late_is_counted_and_given_to_nobody(cluster, topic, backend):
    held: list = []

    def late(message):
        if message.value() == b'"slow"':
            held.append(message)
            return
        for each in held:
            yield from echo(each)
        held.clear()
        yield from echo(message)

    with responding(cluster, topic, late) as responder:
        tool = asked(cluster, topic)
        slow = asyncio.create_task(called(backend, tool, {"value": "slow"}))
        async with asyncio.timeout(20):
            await asyncio.to_thread(responder.came.wait, 20)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            while backend.replies["late"] < 1:
                assert (await called(backend, tool, {"value": "next"})).structured["value"] == "next"
    assert backend.open_requests == 0


async def test_kafka_reply_with_a_foreign_or_no_correlation_id_is_not_taken(cluster, topic, backend):
    def confused(message):
        reply_to = dict(message.headers())[REPLY_TO].decode()
        yield reply_to, b'"forged"', {CORRELATION: b"00000000-0000-4000-8000-000000000000"}
        yield reply_to, b'"none"', {}
        yield reply_to, b'"other header"', {"x": dict(message.headers())[CORRELATION]}
        yield from echo(message)

    with responding(cluster, topic, confused):
        assert (await called(backend, asked(cluster, topic), {"value": "mine"})).structured["value"] == "mine"


async def test_kafka_topic_that_is_missing_is_an_answer_and_is_not_made(cluster, backend):
    for action, arguments in (("produce", {"value": 1}), ("read", {})):
        result = await called(backend, kafka_tool(cluster, action, "not-there"), arguments)
        assert result.is_error
        assert "UNKNOWN_TOPIC_OR_PARTITION" in result.content[0].text
    producer = Producer({"bootstrap.servers": cluster}, logger=SILENT)
    assert "not-there" not in producer.list_topics(timeout=10).topics


async def test_kafka_broker_that_is_away_is_told_once(backend):
    for action, arguments in (("produce", {"value": 1}), ("read", {}), ("request", {"value": 1})):
        reply = {"reply": {"topic": "r"}} if action == "request" else {}
        with pytest.raises(BackendUnavailable, match="nothing listens"):
            await called(backend, kafka_tool("127.0.0.1:1", action, "t", **reply), arguments)


async def test_kafka_broker_in_a_network_that_is_not_allowed_is_not_called(cluster, topic):
    backend = KafkaBackend(InMemoryCredentialSource(), rules=PUBLIC_ONLY)
    with pytest.raises(BackendUnavailable, match="network that the gateway may not call"):
        await called(backend, kafka_tool(cluster, "produce", topic), {"value": 1})
    await backend.close()


async def test_kafka_call_that_is_cancelled_at_a_deaf_broker_ends_at_once(backend):
    with deaf_broker() as deaf:
        call = asyncio.create_task(called(backend, kafka_tool(deaf.servers, "produce", "t"), {"value": 1}))
        await asyncio.wait({call}, timeout=0.2)
        call.cancel()
        async with asyncio.timeout(2):
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_kafka_preview_shows_the_record_and_no_secret(cluster, backend):
    credentials = InMemoryCredentialSource()
    backend = KafkaBackend(credentials)
    tool = kafka_tool(
        cluster,
        "produce",
        "t-{lamp}",
        security={"protocol": "SASL_SSL"},
        tool={"authentication": {"type": "basic", "secret": {"name": "kafka"}}},
    )
    shown = backend.prepare(tool).preview({"value": {"a": 1}, "key": "k", "parameters": {"lamp": "b"}})
    assert (shown["topic"], shown["key"], shown["value"]) == ("t-b", "k", '{"a":1}')
    assert shown["authentication"] == "basic"


@pytest.mark.parametrize(
    ("security", "authentication", "words"),
    [
        ({"protocol": "SASL_SSL"}, {}, "basic"),
        ({}, {"type": "bearer", "secret": {"name": "s"}}, "SASL"),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"},
            {"type": "basic", "secret": {"name": "s"}},
            "OAUTHBEARER",
        ),
        ({"protocol": "SASL_SSL"}, {"type": "apiKey", "secret": {"name": "s"}}, "apiKey"),
    ],
    ids=str,
)
def test_kafka_credential_that_cannot_work_is_refused_at_registration(security, authentication, words):
    tool = kafka_tool("a.example:1", "produce", "t", security=security, tool={"authentication": authentication})
    with pytest.raises(InvalidInput, match=words):
        KafkaBackend(InMemoryCredentialSource()).prepare(tool)


def test_kafka_actions_need_the_scope_of_what_they_do():
    assert kafka_tool("a.example:1", "read", "t").access is Access.READ
    assert kafka_tool("a.example:1", "produce", "t").access is Access.WRITE
    assert kafka_tool("a.example:1", "request", "t", reply={"topic": "r"}).access is Access.WRITE


def test_kafka_binding_survives_json() -> None:
    tool = kafka_tool("a.example:1", "request", "t", reply={"topic": "r"}, value=AVRO)
    assert Tool.model_validate(pydantic_core.from_json(tool.model_dump_json())) == tool
