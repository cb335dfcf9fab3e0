"""The places at which replies bear their correlation id."""

import asyncio
import time
from typing import Any

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable, Unavailable
from stoa.infrastructure.documents.json_allowance import AllowanceExceeded
from stoa.infrastructure.kafka.binding import MessagePart, Registry, Reply
from stoa.infrastructure.kafka.codec import PartReader
from stoa.infrastructure.kafka.correlation import member_text
from stoa.infrastructure.kafka.part_codec import Undecodable
from stoa.infrastructure.kafka.registry import SchemaRegistries, learn
from stoa.infrastructure.kafka.replies import IdInValue, ReplyPlace

_REGISTRY_PAUSE_SECONDS = 5.0
_QUICKLY_DECODED_BYTES = 4 * 1024
"""More is decoded in a thread: others write to the topic, too."""


def place_of_id(
    reply: Reply, registries: SchemaRegistries, registry: Registry | None, tenant: TenantId | None
) -> ReplyPlace:
    """Place of the correlation id in a reply: the place that is named for replies, else that of the request."""
    pointer = reply.reply_pointer or (None if reply.reply_header else reply.correlation_pointer)
    if pointer is None:
        return reply.reply_header or reply.correlation_header
    return _IdAtPointer(reply.value, pointer, registries, registry, tenant)


class _IdAtPointer(IdInValue):
    """Reads the id at a JSON Pointer of the decoded value."""

    def __init__(
        self,
        part: MessagePart,
        pointer: str,
        registries: SchemaRegistries,
        registry: Registry | None,
        tenant: TenantId | None,
    ) -> None:
        self._reader = PartReader(part)
        self._pointer = pointer
        self._registries = registries
        self._registry = registry
        self._tenant = tenant
        self._identity = (part, pointer, registry, tenant)
        self._ask_from = 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdAtPointer) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    async def of(self, record: Any) -> bytes:
        if self._registry is not None and time.monotonic() >= self._ask_from:
            try:
                await learn(self._reader, [record.value], self._registries, self._registry, self._tenant)
            except (Unavailable, BackendUnavailable):  # replies of other schemas are not kept waiting for each record
                self._ask_from = time.monotonic() + _REGISTRY_PAUSE_SECONDS
        try:
            value = await self._value(record.value)
        except (Undecodable, AllowanceExceeded):
            return b""
        return member_text(value, self._pointer).encode("utf-8", "surrogatepass")

    async def _value(self, data: bytes | None) -> Any:
        if data is not None and len(data) > _QUICKLY_DECODED_BYTES:
            return await asyncio.to_thread(self._reader.read, data)
        return self._reader.read(data)
