"""Failures of Kafka calls say whether a broker may have received anything of the call; if not, the call is free."""

import struct
from collections.abc import Callable, Mapping

import pytest
from tests.infrastructure.kafka.peer import context, kafka_tool
from tests.infrastructure.kafka.test_hostile_broker import METADATA, broker, metadata

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import BackendTimedOut, BackendUnavailable
from stoa.infrastructure.http_client import ANYWHERE, PUBLIC_ONLY, OutboundRules
from stoa.infrastructure.kafka import KafkaBackend

FETCH, OFFSETS, PRODUCER_ID = 1, 2, 22


async def failure(servers: str, action: str, rules: OutboundRules = ANYWHERE) -> BackendUnavailable | BackendTimedOut:
    backend = KafkaBackend(InMemoryCredentialSource(), rules=rules)
    reply = {"reply": {"topic": "t"}} if action == "request" else {}
    tool = kafka_tool(servers, action, "t", **reply)
    try:
        with pytest.raises((BackendUnavailable, BackendTimedOut)) as failed:
            await backend.prepare(tool)({} if action == "read" else {"value": 1}, context(tool))
    finally:
        await backend.close()
    return failed.value


def offsets() -> bytes:
    """The body of ListOffsetsResponse v1: partition 0 of the topic `t` holds the records 0 to 9."""
    return struct.pack(">ih", 1, 1) + b"t" + struct.pack(">iihqq", 1, 0, 0, -1, 10)


def until(last: int, bodies: Mapping[int, bytes] | None = None) -> Callable[[int, int], bytes | None]:
    """Answers metadata and `bodies`, and hangs up at requests of the kind `last`."""

    def answered(key: int, number: int) -> bytes | None:  # the same for each
        return None if key == last else {METADATA: metadata("127.0.0.1", answered.port), **(bodies or {})}[key]

    answered.port = 0
    return answered


@pytest.mark.parametrize("action", ["produce", "read", "request"])
async def test_kafka_call_is_unsent_where_no_broker_can_be_reached(action: str) -> None:
    assert (await failure("127.0.0.1:1", action)).nothing_was_sent
    assert (await failure("127.0.0.1:1", action, PUBLIC_ONLY)).nothing_was_sent


@pytest.mark.parametrize(
    ("action", "last", "is_unsent"),
    [
        *((action, METADATA, True) for action in ("produce", "read", "request")),
        ("produce", PRODUCER_ID, True),
        ("request", OFFSETS, True),
        ("read", OFFSETS, False),
        ("read", FETCH, False),
    ],
)
async def test_kafka_call_is_unsent_until_its_own_first_request(action: str, last: int, is_unsent: bool) -> None:
    answered = until(last, {OFFSETS: offsets()})
    async with broker(answered) as servers:
        answered.port = int(servers.rpartition(":")[2])
        assert (await failure(servers, action)).nothing_was_sent == is_unsent
