"""What a broker may do to the gateway: nothing but fail the call that asked it."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.kafka.peer import context, kafka_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import BackendProtocolError, BackendUnavailable, StoaError
from stoa.infrastructure.http_client import ANYWHERE, OutboundRules
from stoa.infrastructure.kafka import KafkaBackend
from stoa.infrastructure.kafka.problems import WrongAnswer
from stoa.infrastructure.kafka.records import FetchedRecords

API_VERSIONS, METADATA = 18, 3
VERSIONS = {0: (3, 3), 1: (4, 4), 2: (1, 1), METADATA: (1, 4), 17: (0, 1), API_VERSIONS: (0, 0), 22: (0, 0)}


def versions() -> bytes:
    """The body of ApiVersionsResponse v0."""
    rows = b"".join(struct.pack(">hhh", key, low, high) for key, (low, high) in VERSIONS.items())
    return struct.pack(">hi", 0, len(VERSIONS)) + rows


def metadata(host: str, port: int) -> bytes:
    """The body of MetadataResponse v4 with one broker that leads partition 0 of the topic `t`."""
    broker = struct.pack(">ih", 1, len(host)) + host.encode() + struct.pack(">ih", port, -1)
    partition = struct.pack(">hiiiiii", 0, 0, 1, 1, 1, 1, 1)
    topic = struct.pack(">hh", 0, 1) + b"t" + b"\0" + struct.pack(">i", 1) + partition
    head, tail = struct.pack(">ii", 0, 1), struct.pack(">hi", -1, 1) + struct.pack(">i", 1)
    return head + broker + tail + topic


@asynccontextmanager
async def broker(answered: Callable[[int, int], bytes | None]) -> AsyncIterator[str]:
    """Speaks Kafka's framing. `answered`: the body for an API key and the number of the request; None: hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                key, _, correlation = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
                body = versions() if key == API_VERSIONS else answered(key, number)
                number += key != API_VERSIONS
                if body is None:
                    break
                if not body.startswith(b"RAW"):
                    body = struct.pack(">ii", len(body) + 4, correlation) + body
                writer.write(body.removeprefix(b"RAW"))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def called(servers: str, action: str = "produce", rules: OutboundRules = ANYWHERE) -> StoaError:
    backend = KafkaBackend(InMemoryCredentialSource(), rules=rules)
    tool = kafka_tool(servers, action, "t")
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StoaError) as failed:
                await backend.prepare(tool)({"value": 1} if action == "produce" else {}, context(tool))
    finally:
        await backend.close()
    return failed.value


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"RAW" + struct.pack(">i", 2**31 - 1), BackendUnavailable),
        (b"RAW" + struct.pack(">i", -5), BackendUnavailable),
        (b"RAW" + struct.pack(">ii", 8, 4711) + b"\0\0\0\0", BackendProtocolError),
        (b"\xff" * 40, BackendProtocolError),
        (b"", BackendUnavailable),
        (None, BackendUnavailable),
    ],
    ids=["huge", "negative", "another correlation id", "garbage", "empty", "hangs up"],
)
async def test_kafka_broker_that_answers_nonsense_fails_the_call_alone(body, kind):
    async with broker(lambda key, number: body) as servers:
        assert isinstance(await called(servers), kind)
        assert isinstance(await called(servers, "read"), kind)


async def test_kafka_server_that_is_no_broker_fails_the_call_alone():
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as server:
        error = await called(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert isinstance(error, BackendUnavailable)
    assert "HTTP" not in error.message


async def test_kafka_cluster_that_names_a_broker_in_a_forbidden_network_is_not_followed():
    rules = OutboundRules.parse(["127.0.0.1/32"])
    async with broker(lambda key, number: metadata("169.254.169.254", 80)) as servers:
        error = await called(servers, rules=rules)
    assert isinstance(error, BackendUnavailable)
    assert "network that the gateway may not call" in error.message


async def test_kafka_cluster_that_names_a_broker_that_does_not_exist_is_told():
    async with broker(lambda key, number: metadata("nowhere.invalid", 9092)) as servers:
        assert "does not resolve" in (await called(servers)).message


@settings(max_examples=200)
@given(data=st.binary(max_size=300), codec=st.integers(0, 7))
def test_kafka_record_batches_of_arbitrary_bytes_are_read_or_refused(data, codec):
    head = struct.pack(">qiibIh", 0, len(data) + 49, 0, 2, 0, codec)
    batch = head + b"\0" * (61 - len(head)) + data
    for content in (data, batch):
        with suppress(WrongAnswer):
            list(FetchedRecords("t", 0, content, 0, None))
