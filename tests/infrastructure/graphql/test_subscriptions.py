"""Subscriptions as bounded reads, over WebSockets and server-sent events."""

import asyncio
import json
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
from tests.infrastructure.graphql.peer import context_of
from tests.infrastructure.graphql.subscription_peer import PROTOCOL, ariadne_peer, backend_of, speaking, tools_at
from tests.infrastructure.rest.loopback import Last, answer, loopback

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import ConversionOptions, UpstreamAccess
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.domain.operations.access import Access
from stoa.domain.operations.tool import Authentication, SecretReference
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.infrastructure.http_client import PUBLIC_ONLY

PROTOCOLS = ["websocket", "sse"]


@pytest.fixture(scope="module")
def peer():
    with ariadne_peer() as running:
        yield running


def content(answer: Any) -> Any:
    assert isinstance(answer, RawAnswer)
    return json.loads(answer.body)


async def called(backend, tool, arguments=None, seconds=20, **parts):
    async with asyncio.timeout(seconds):
        return await backend.prepare(tool)(arguments or {}, context_of(tool, **parts))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_answers_its_messages_until_the_service_completes_it(peer, protocol):
    tool = tools_at(peer.url, subscriptionProtocol=protocol)["count"]
    async with backend_of() as backend:
        given = await called(backend, tool, {"to": 3})
    ticks = [{"data": {"count": {"number": number, "text": "x"}}} for number in (1, 2, 3)]
    assert content(given) == {"messages": ticks, "end": "completed"}
    assert not given.is_error
    jsonschema_rs.validator_for(tool.output_schema).validate(content(given))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("bounds", "end"), [({"maxMessages": 2}, "maxMessages"), ({"maxBytes": 200}, "maxBytes")])
async def test_subscription_ends_at_its_bounds(peer, protocol, bounds, end):
    tool = tools_at(peer.url, subscriptionProtocol=protocol, stream=bounds)["count"]
    async with backend_of() as backend:
        given = await called(backend, tool, {"to": 500})
    assert content(given)["end"] == end
    assert 1 <= len(content(given)["messages"]) < 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_without_end_ends_at_its_duration_and_is_given_up(peer, protocol):
    peer.released.clear()
    tool = tools_at(peer.url, subscriptionProtocol=protocol, stream={"maxDuration": "300ms"})["stay"]
    async with backend_of() as backend:
        given = await called(backend, tool)
        assert await asyncio.to_thread(peer.released.wait, 10)
    assert content(given) == {"messages": [{"data": {"stay": {"number": 1, "text": None}}}], "end": "maxDuration"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_ends_before_the_deadline_of_the_call(peer, protocol):
    options = ConversionOptions(timeout_seconds=0.5)
    tool = tools_at(peer.url, options, subscriptionProtocol=protocol)["stay"]
    async with backend_of() as backend, asyncio.timeout(5):
        assert content(await called(backend, tool))["end"] == "maxDuration"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_that_is_cancelled_releases_its_connection(peer, protocol):
    peer.released.clear()
    told = asyncio.Event()

    class Channel:
        async def progress(self, progress, total=None, message=None):
            told.set()

    tool = tools_at(peer.url, subscriptionProtocol=protocol)["stay"]
    async with backend_of() as backend:
        call = asyncio.create_task(called(backend, tool, channel=Channel()))
        async with asyncio.timeout(10):
            await told.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(peer.released.wait, 10)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_tells_each_message_as_progress(peer, protocol):
    told = []

    class Channel:
        async def progress(self, progress, total=None, message=None):
            told.append(progress)

    tool = tools_at(peer.url, subscriptionProtocol=protocol)["count"]
    async with backend_of() as backend:
        await called(backend, tool, {"to": 4}, channel=Channel())
    assert told == [1, 2, 3, 4]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_takes_the_fields_that_its_caller_selects(peer, protocol):
    tool = tools_at(peer.url, subscriptionProtocol=protocol)["count"]
    async with backend_of() as backend:
        given = await called(backend, tool, {"to": 1, "fields": "number"})
    assert content(given)["messages"] == [{"data": {"count": {"number": 1}}}]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_whose_source_fails_keeps_what_came(peer, protocol):
    tool = tools_at(peer.url, subscriptionProtocol=protocol)["fail"]
    async with backend_of() as backend:
        given = await called(backend, tool, {"after": 2})
    assert [message["data"]["fail"]["number"] for message in content(given)["messages"][:2]] == [0, 1]
    assert "out of ticks" in given.body.decode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_that_the_service_refuses_is_an_error_result(peer, protocol):
    tool = tools_at(peer.url, subscriptionProtocol=protocol)["count"]
    tool = tool.model_copy(
        update={"binding": tool.binding.model_copy(update={"document": "subscription count { nope }", "selection": ""})}
    )
    async with backend_of() as backend:
        given = await called(backend, tool, {"to": 1})
    text = given.body.decode() if isinstance(given, RawAnswer) else given.content[0].text
    assert given.is_error
    assert "Cannot query field 'nope'" in text


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_sends_the_credential_of_the_tool_and_the_trace(peer, protocol):
    credentials = InMemoryCredentialSource()
    credentials.put(TenantId("acme"), "ticks", {"token": "s3cr3t"})
    authentication = Authentication(type="bearer", secret=SecretReference(name="ticks"))
    options = ConversionOptions(tenant="acme", authentication=authentication)
    tool = tools_at(peer.url, options, subscriptionProtocol=protocol)["count"]
    async with backend_of(credentials) as backend:
        peer.payloads.clear()
        given = await called(backend, tool, {"to": 1}, trace=TraceContext("1" * 32, "2" * 16))
        preview = json.dumps(backend.prepare(tool).preview({"to": 1}))
    seen = peer.headers[-1]
    assert (seen["authorization"], seen["x-request-id"]) == ("Bearer s3cr3t", "request-1")
    assert seen["traceparent"].startswith(f"00-{'1' * 32}")
    assert peer.payloads == ([{"Authorization": "Bearer s3cr3t"}] if protocol == "websocket" else [])
    assert "s3cr3t" not in preview
    assert "s3cr3t" not in given.body.decode()
    assert '\\"to\\":1' in preview.replace('\\\\"', '\\"')


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_keeps_to_the_outbound_rules(peer, protocol):
    tool = tools_at(peer.url, subscriptionProtocol=protocol)["count"]
    async with backend_of(rules=PUBLIC_ONLY) as backend:
        with pytest.raises(BackendUnavailable, match="may not call"):
            await called(backend, tool, {"to": 1})


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_subscription_of_a_service_that_is_away_is_unavailable(protocol):
    async with loopback(lambda _: None) as server:
        pass
    async with backend_of() as backend:
        with pytest.raises(BackendUnavailable, match="nothing listens"):
            await called(backend, tools_at(f"{server.url}/g", subscriptionProtocol=protocol)["stay"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("status", "text"),
    [("401 Unauthorized", "401 Unauthorized"), ("404 Not Found", "404 Not Found"), ("302 Found", "not followed")],
)
async def test_subscription_refused_over_http_is_an_error_result_and_follows_no_redirect(protocol, status, text):
    redirect = "Location: /other\r\n"
    async with loopback(lambda _: answer(b"{}", status=status, more=redirect)) as server, backend_of() as backend:
        given = await called(backend, tools_at(f"{server.url}/g", subscriptionProtocol=protocol)["stay"])
        assert [seen.target for seen in server.seen] == ["/g"]
    assert isinstance(given, ToolResult)
    assert given.is_error
    assert text in given.content[0].text


class Tokens(UpstreamAccess):
    """Tokens in their order."""

    def __init__(self) -> None:
        self.current = 1

    async def token(self) -> str:
        return f"token-{self.current}"

    def refused(self, token: str) -> bool:
        self.current += 1
        return True


async def test_subscription_with_a_refused_access_token_is_sent_again_with_another():
    async def handled(socket):
        hello = await socket.receive_json()
        seen.append(hello["payload"]["Authorization"])
        if len(seen) == 1:
            await socket.close(code=4401, message=b"Unauthorized")
            return
        await socket.send_json({"type": "connection_ack"})
        await socket.receive_json()
        await socket.send_json({"id": "1", "type": "complete"})

    seen: list[str] = []
    async with speaking(handled) as url, backend_of() as backend:
        tool = tools_at(url, ConversionOptions(authentication=Authentication(type="oauth2")))["stay"]
        given = await called(backend, tool, upstream=Tokens())
    assert seen == ["Bearer token-1", "Bearer token-2"]
    assert content(given) == {"messages": [], "end": "completed"}


def test_subscription_reads_and_is_no_tool_until_it_is_asked_for():
    tools = tools_at("https://a.example/g", subscriptionEndpoint="wss://a.example/graphql")
    assert [*tools] == ["count", "stay", "fail"]
    tool = tools["count"]
    assert (tool.access, tool.hints.read_only_hint) == (Access.READ, True)
    assert tool.description == "Counts from one.\nAnswers with what comes within 10 s, at most 100 messages."
    assert (tool.binding.endpoint, tool.binding.origins) == ("https://a.example/graphql", {"https://a.example:443"})
    assert not tools_at("https://a.example", subscriptions=False)


def test_subscription_may_have_an_endpoint_of_its_own():
    tools = tools_at("https://a.example/graphql", queries=True, subscriptionEndpoint="wss://b.example/ws")
    assert tools["count"].binding.endpoint == "https://b.example/ws"
    assert tools["nothing"].binding.endpoint == "https://a.example/graphql"


ACK = {"type": "connection_ack"}
NEXT = {"id": "1", "type": "next", "payload": {"data": {"stay": None}}}


def saying(*messages: Any):
    """Acknowledges, reads the subscription, and says what is given: JSON, text, or bytes."""

    async def handled(socket):
        await socket.receive_json()
        await socket.send_json(ACK)
        await socket.receive_json()
        for message in messages:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_str(message if isinstance(message, str) else json.dumps(message))
        async for _ in socket:
            pass

    return handled


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        "{}",
        b"binary",
        {"id": "2", "type": "next", "payload": {"data": {}}},
        {"id": "1", "type": "next", "payload": {"neither": 1}},
        {"id": "1", "type": "next", "payload": 7},
        {"id": "1", "type": "error", "payload": "text"},
        {"id": "1", "type": "surprise"},
        ACK,
        "[" * 5000,
    ],
)
async def test_subscription_peer_that_sends_something_else_is_a_protocol_error(message):
    async with speaking(saying(message)) as url, backend_of() as backend:
        with pytest.raises(BackendProtocolError, match="no GraphQL subscription"):
            await called(backend, tools_at(url)["stay"])
    async with speaking(saying(NEXT, message)) as url, backend_of() as backend:
        given = await called(backend, tools_at(url)["stay"])
    assert given.is_error
    assert content(given)["messages"] == [{"data": {"stay": None}}]
    assert (content(given)["end"], "no GraphQL subscription" in content(given)["error"]["message"]) == ("error", True)


async def test_subscription_errors_show_message_path_and_code_alone():
    errors = [{"message": "no", "extensions": {"code": "GONE", "stacktrace": "s3cr3t"}}]
    event = {"id": "1", "type": "next", "payload": {"data": {"stay": None}, "errors": errors, "extensions": "s3cr3t"}}
    handled = saying(event, {"id": "1", "type": "error", "payload": errors})
    async with speaking(handled) as url, backend_of() as backend:
        given = await called(backend, tools_at(url)["stay"])
    shown = [{"message": "no", "code": "GONE"}]
    assert content(given) == {
        "messages": [{"data": {"stay": None}, "errors": shown}],
        "end": "error",
        "error": {"errors": shown},
    }


async def test_subscription_answers_pings_of_both_kinds():
    pongs: list[Any] = []

    async def handled(socket):
        await socket.receive_json()
        await socket.send_json({"type": "ping"})
        pongs.append(await socket.receive_json())
        await socket.send_json(ACK)
        await socket.receive_json()
        await socket.ping(b"x")
        pong = await socket.receive()
        pongs.append((pong.type, pong.data))
        await socket.send_json({"type": "pong"})
        await socket.send_json({"id": "1", "type": "complete"})

    async with speaking(handled) as url, backend_of() as backend:
        given = await called(backend, tools_at(url)["stay"])
    assert pongs == [{"type": "pong"}, (aiohttp.WSMsgType.PONG, b"x")]
    assert content(given)["end"] == "completed"


@pytest.mark.parametrize("flood", ["pings", "control frames", "one large message"])
async def test_subscription_peer_that_floods_is_ended_at_the_bytes_that_it_may_send(flood):
    async def handled(socket):
        await socket.receive_json()
        await socket.send_json(ACK)
        await socket.receive_json()
        sent = 0
        try:
            while not socket.closed:
                if flood == "pings":
                    await socket.send_json({"type": "ping"})
                elif flood == "control frames":
                    await socket.ping(b"x" * 100)
                else:
                    await socket.send_str("x" * 1_000_000)
                sent += 1
                if not sent % 100:
                    await asyncio.sleep(0)  # else it writes until the socket is full, before anything is read
        except (ConnectionError, aiohttp.ClientError):
            pass

    async with speaking(handled) as url, backend_of() as backend:
        options = ConversionOptions(timeout_seconds=300)  # so that no other bound is reached before, on no machine
        stream = {"maxBytes": 2_000, "maxDuration": "200s"}
        given = await called(backend, tools_at(url, options, stream=stream)["stay"], seconds=200)
    assert content(given) == {"messages": [], "end": "maxBytes"}


async def test_subscription_peer_that_pings_without_end_is_answered_a_few_times():
    pongs: list[Any] = []

    async def handled(socket):
        await socket.receive_json()
        await socket.send_json(ACK)
        await socket.receive_json()
        try:
            for _ in range(20_000):
                await socket.send_json({"type": "ping"})
        except (ConnectionError, aiohttp.ClientError):
            pass
        pongs.extend([message.data async for message in socket])

    async with speaking(handled) as url, backend_of() as backend:
        options = ConversionOptions(timeout_seconds=300)
        stream = {"maxBytes": 2_000, "maxDuration": "200s"}
        given = await called(backend, tools_at(url, options, stream=stream)["stay"], seconds=200)
    assert content(given) == {"messages": [], "end": "maxBytes"}
    assert len(pongs) <= 10


@pytest.mark.parametrize(
    ("code", "text"),
    [(4403, "403 Forbidden\nno such luck"), (4400, "WebSocket closed with 4400\nno such luck")],
)
async def test_subscription_that_is_closed_with_a_reason_is_an_error_result(code, text):
    async def handled(socket):
        await socket.receive_json()
        await socket.close(code=code, message=b"no such luck")

    async with speaking(handled) as url, backend_of() as backend:
        given = await called(backend, tools_at(url)["stay"])
    assert (given.is_error, given.content[0].text) == (True, text)


async def test_subscription_whose_connection_breaks_off_keeps_what_came():
    async def handled(socket):
        await socket.receive_json()
        await socket.send_json(ACK)
        await socket.receive_json()
        if count:
            await socket.send_json(NEXT)
        await socket.close(code=1011)

    async with speaking(handled) as url, backend_of() as backend:
        count = 1
        given = await called(backend, tools_at(url)["stay"])
        assert content(given)["end"] == "error"
        assert "the connection was lost" in content(given)["error"]["message"]
        count = 0
        with pytest.raises(BackendUnavailable, match="the connection was lost"):
            await called(backend, tools_at(url)["stay"])


async def test_subscription_that_is_never_acknowledged_has_timed_out():
    async def handled(socket):
        async for _ in socket:
            pass

    async with speaking(handled) as url, backend_of() as backend:
        tool = tools_at(url, ConversionOptions(timeout_seconds=0.3))["stay"]
        with pytest.raises(BackendTimedOut):
            await called(backend, tool)


async def test_subscription_service_of_another_subprotocol_is_a_protocol_error():
    async def handled(socket):
        async for _ in socket:
            pass

    async with speaking(handled, "graphql-ws") as url, backend_of() as backend:
        with pytest.raises(BackendProtocolError, match=f"does not speak {PROTOCOL}"):
            await called(backend, tools_at(url)["stay"])


def stream(body: bytes, more: str = "") -> bytes:
    return Last(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{more}\r\n".encode() + body)


@pytest.mark.parametrize(
    ("body", "messages", "end"),
    [
        (b'event: next\ndata: {"data":{}}\n\nevent: complete\n\n', 1, "completed"),
        (b'\xef\xbb\xbfdata:{"data":\rdata: {}}\r\r:comment\r\nevent: complete\r\ndata:\r\n\r\n', 1, "completed"),
        (b'event: next\ndata: {"data":{}}\n\n', 1, "completed"),
        (b'event: next\ndata: {"data":{}}\n', 0, "completed"),
        (b"event: other\ndata: no json\n\n", 0, "completed"),
        (b"data: " + b"x" * 30_000 + b"\n\n", 0, "maxBytes"),
        (b":" + b"x" * 30_000 + b"\n\n", 0, "maxBytes"),
        (b":\n" * 60_000, 0, "maxBytes"),
    ],
)
async def test_event_stream_is_read_as_html_says_and_within_bounds(body, messages, end):
    async with loopback(lambda _: stream(body)) as server, backend_of() as backend:
        tool = tools_at(f"{server.url}/g", subscriptionProtocol="sse", stream={"maxBytes": 20_000})["stay"]
        given = await called(backend, tool)
    assert (len(content(given)["messages"]), content(given)["end"]) == (messages, end)


async def test_event_stream_that_says_it_is_not_encoded_is_read():
    body = stream(b'event: next\ndata: {"data":{}}\n\nevent: complete\ndata:\n\n', "Content-Encoding: none\r\n")
    async with loopback(lambda _: body) as server, backend_of() as backend:
        given = await called(backend, tools_at(f"{server.url}/g", subscriptionProtocol="sse")["stay"])
    assert content(given) == {"messages": [{"data": {}}], "end": "completed"}


@pytest.mark.parametrize(
    "body", [stream(b"data: no json\n\n"), stream(b"data: {}\n\n"), stream(b"x", "Content-Encoding: gzip\r\n")]
)
async def test_event_stream_of_something_else_is_a_protocol_error(body):
    async with loopback(lambda _: body) as server, backend_of() as backend:
        with pytest.raises(BackendProtocolError, match="no GraphQL subscription"):
            await called(backend, tools_at(f"{server.url}/g", subscriptionProtocol="sse")["stay"])


async def test_event_stream_that_is_refused_with_graphql_errors_shows_them():
    refusal = answer(b'{"errors":[{"message":"not today"}]}', status="400 Bad Request")
    async with loopback(lambda _: refusal) as server, backend_of() as backend:
        given = await called(backend, tools_at(f"{server.url}/g", subscriptionProtocol="sse")["stay"])
    assert (given.is_error, given.content[0].text) == (True, "400 Bad Request: GraphQL errors\nnot today")
