"""Upstreams that send more than anyone can use: what they cost the gateway ends at a bound, whatever the machine."""

import asyncio

import pytest
from tests.infrastructure.mcp_upstream.peers import (
    ALL,
    call,
    events,
    gateway_with,
    handshake,
    message,
    result,
    text_of,
    tool_set,
)
from tests.infrastructure.mcp_upstream.test_calls import answering
from tests.infrastructure.mcp_upstream.test_spec_kind import place
from tests.infrastructure.rest.loopback import answer, loopback

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.metering.event import Status
from stoa.infrastructure.http_client.backend_answers import MAX_VALUES
from stoa.infrastructure.mcp_upstream import McpSpecKind, McpUpstreams
from stoa.infrastructure.mcp_upstream.client_requests import MAX_SAMPLED_TEXT, MAX_TEXT, read_request
from stoa.infrastructure.mcp_upstream.http import MAX_STREAM_LINES
from stoa.infrastructure.mcp_upstream.manifest import McpSource
from stoa.infrastructure.mcp_upstream.messages import UpstreamFault
from stoa.infrastructure.mcp_upstream.spec_kind import MAX_LOOKS
from stoa.testing.client_channel import InMemoryClientChannel

LOGGED = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}


def served(told):
    def answered(seen):
        known = handshake(seen)
        return told(seen) if known is None else known

    return answered


@pytest.mark.parametrize(
    "flood",
    [
        answer(b":\n" * (MAX_STREAM_LINES + 1), media_type="text/event-stream"),
        events(*[LOGGED] * (MAX_STREAM_LINES // 3 + 1)),
    ],
    ids=["comments", "notifications"],
)
async def test_flood_on_the_stream_of_a_call_ends_the_call_at_a_number_of_lines(flood):
    channel = InMemoryClientChannel(ALL, answering)
    async with loopback(served(lambda _: flood)) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        outcome = await call(gateway, "echo", channel=channel)
    assert outcome.status is Status.ERROR
    assert "it floods the gateway with messages [backend_protocol_error]" in text_of(outcome)
    assert len(channel.logged) <= 10_000


async def test_answer_of_very_many_values_is_not_read():
    many = b'{"jsonrpc":"2.0","id":%d,"result":{"structuredContent":[' + b"1," * MAX_VALUES + b"1,1]}}"

    def told(seen):
        return answer(many % message(seen)["id"])

    async with loopback(served(told)) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        outcome = await call(gateway, "echo")
    assert f"answered more than {MAX_VALUES} values [backend_protocol_error]" in text_of(outcome)


def test_sampling_request_of_very_much_text_is_refused():
    content = [{"type": "text", "text": "x" * MAX_TEXT}] * (MAX_SAMPLED_TEXT // MAX_TEXT)
    params = {"maxTokens": 1, "messages": [{"role": "user", "content": content}]}
    read_request("sampling/createMessage", params)
    params["messages"].append({"role": "user", "content": {"type": "text", "text": "x"}})
    with pytest.raises(UpstreamFault, match="characters of text"):
        read_request("sampling/createMessage", params)


async def test_server_that_announces_changes_without_end_is_not_asked_without_end():
    announcements = 2000
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}

    def answered(seen):
        match message(seen).get("method"):
            case "server/discover":
                capabilities = {"tools": {"listChanged": True}}
                return result(seen, supportedVersions=["2026-07-28"], capabilities=capabilities)
            case "tools/list":
                return result(seen, tools=[])
            case _:
                return events(*[changed] * announcements)

    upstreams = McpUpstreams(InMemoryCredentialSource())
    kind = McpSpecKind(upstreams)
    looks = 0

    async def look() -> None:
        nonlocal looks
        async for _ in kind.changed_places():
            looks += 1

    async with loopback(answered) as server:
        source = McpSource.model_validate({"url": f"{server.url}/mcp"})
        await kind.fetch(source, place())
        looking = asyncio.create_task(look())
        while sum(b"subscriptions/listen" in seen.body for seen in server.seen) < 2:
            await asyncio.sleep(0.01)  # the second time: all of the first has been read
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await upstreams.close()
    assert MAX_LOOKS <= looks < 200
