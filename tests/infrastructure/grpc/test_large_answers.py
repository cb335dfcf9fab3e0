"""Large answers of gRPC servers are decoded without keeping the event loop from other calls."""

import json
import time

from tests.infrastructure.grpc.loopback import echo_descriptors, serving, tools_of
from tests.infrastructure.grpc.test_calls import context

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.infrastructure.grpc import GrpcBackend

MORE = b"\x32\x00"
"""One more, empty message in the field `more`."""


async def test_grpc_answer_of_many_small_messages_is_decoded_beside_the_event_loop() -> None:
    answers = [b"", MORE * 300_000]

    async def many(method, messages, context):
        return [answers.pop(0)]

    backend = GrpcBackend(InMemoryCredentialSource())
    async with serving(echo_descriptors(), many) as server:
        tool = tools_of(echo_descriptors(), server.target)["Echo_Say"]
        call = backend.prepare(tool)
        await call({}, context(tool))  # imports and connects
        loop, process = time.thread_time(), time.process_time()
        answer = await call({}, context(tool))
        loop, process = time.thread_time() - loop, time.process_time() - process
    await backend.close()
    assert len(json.loads(answer.body)["more"]) == 300_000
    assert loop < process / 2
