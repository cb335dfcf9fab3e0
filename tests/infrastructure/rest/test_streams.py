"""Streamed answers of REST back ends: read up to a bound, over a loopback socket."""

import asyncio
import gzip
import json
from collections.abc import Sequence

import pytest
from tests.infrastructure.rest.loopback import Last, Seen, answer, context_of, loopback, rest_backend, rest_tool

from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendProtocolError
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import RawAnswer, shape
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.rest import RestBackend
from stoa.testing.client_channel import InMemoryClientChannel

EVENTS = "text/event-stream; charset=utf-8"


def head(media_type: str, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n{more}Transfer-Encoding: chunked\r\n\r\n".encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def endless(media_type: str, *contents: bytes) -> bytes:
    """A stream that stays open after these contents."""
    return head(media_type) + b"".join(chunk(content) for content in contents)


def ended(media_type: str, *contents: bytes, more: str = "") -> bytes:
    return head(media_type, more) + b"".join(chunk(content) for content in contents) + b"0\r\n\r\n"


def streaming(url: str, *, timeout_seconds: float = 30, **bounds: object) -> Tool:
    return rest_tool(url, tool={"answer": {"stream": bounds}, "timeout_seconds": timeout_seconds})


async def read(backend: RestBackend, tool: Tool, channel: InMemoryClientChannel | None = None) -> RawAnswer:
    context = context_of(tool)
    context.channel = channel
    async with asyncio.timeout(20):
        given = await backend.prepare(tool)({}, context)
    assert isinstance(given, RawAnswer)
    return given


async def structured(given: bytes, **bounds: object) -> JsonObject:
    async with loopback(lambda _: given) as server, rest_backend() as backend:
        result = shape(await read(backend, streaming(server.url, **bounds)))
    return result.structured


async def test_stream_of_events_that_never_ends_gives_the_events_so_far():
    given = endless(EVENTS, b'id: 7\nevent: tick\ndata: {"n":1}\n\n', b"data: two\ndata: lines\n\n", b": quiet\n\n")

    content = await structured(given, max_seconds=1)

    assert content == {
        "messages": [{"event": "tick", "id": "7", "data": {"n": 1}}, {"id": "7", "data": "two\nlines"}],
        "end": "maxDuration",
    }


async def test_stream_that_ends_is_complete_and_its_connection_is_kept():
    given = ended(EVENTS, b"data: 1\n\nda", b"ta: 2\n\n", b"data: [DONE]")  # the last one lacks its empty line
    async with loopback(lambda _: given) as server, rest_backend() as backend:
        first, second = [shape(await read(backend, streaming(server.url))).structured for _ in range(2)]

    assert first == second == {"messages": [{"data": 1}, {"data": 2}, {"data": "[DONE]"}], "end": "completed"}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("media_type", "sent", "messages"),
    [
        ("application/x-ndjson", [b'{"a":1}\n{"b"', b':2}\r\n\n"c"'], [{"a": 1}, {"b": 2}, "c"]),
        ("application/jsonl; charset=utf-8", [b"1\nnot json\n"], [1, "not json"]),
        ("Application/JSON-Seq", [b'\x1e{"a":\n1}\n\x1e[2]\n'], [{"a": 1}, [2]]),
        ("application/geo+json-seq", [b"\x1e1\n", b"\x1e2"], [1, 2]),
        ("application/stream+json", [b'{"a":1}\n'], [{"a": 1}]),
    ],
)
async def test_lines_and_sequences_of_json_are_messages(media_type: str, sent: Sequence[bytes], messages: list[object]):
    assert await structured(ended(media_type, *sent)) == {"messages": messages, "end": "completed"}


async def test_stream_with_a_length_is_read_as_one_too():
    content = await structured(answer(b'{"a":1}\n{"a":2}\n', media_type="application/ndjson"))

    assert content == {"messages": [{"a": 1}, {"a": 2}], "end": "completed"}


async def test_stream_ends_at_the_bound_on_messages_and_the_server_is_told():
    given = endless(EVENTS, b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
    async with loopback(lambda _: given) as server, rest_backend() as backend:
        content = shape(await read(backend, streaming(server.url, max_messages=2))).structured
        async with asyncio.timeout(10):
            await server.all_closed.wait()

    assert content == {"messages": [{"data": 1}, {"data": 2}], "end": "maxMessages"}


@pytest.mark.parametrize(
    "flood",
    [b"data: " + b"x" * 400 + b"\n\n", b"data: " + b"y" * 9000, b": nothing but comments\n" * 6000],
    ids=["events", "one event", "comments"],
)
async def test_stream_ends_at_the_bound_on_bytes(flood: bytes):
    content = await structured(endless(EVENTS, b"data: 1\n\n", flood * 20), max_bytes=1000)

    assert content["end"] == "maxBytes"
    assert content["messages"][0] == {"data": 1}
    assert len(json.dumps(content)) < 1500


async def test_stream_ends_before_the_deadline_of_the_tool():
    async with loopback(lambda _: endless(EVENTS, b"data: 1\n\n")) as server, rest_backend() as backend:
        tool = streaming(server.url, timeout_seconds=2, max_seconds=300)
        content = shape(await read(backend, tool)).structured

    assert content == {"messages": [{"data": 1}], "end": "maxDuration"}


async def test_stream_tells_each_message_as_progress():
    channel = InMemoryClientChannel(ClientCapabilities(), lambda _, __: None)
    async with loopback(lambda _: ended(EVENTS, b"data: 1\n\ndata: 2\n\n")) as server, rest_backend() as backend:
        await read(backend, streaming(server.url), channel)

    assert [report[0] for report in channel.progressed] == [1, 2]


async def test_stream_that_breaks_off_keeps_what_came_and_is_an_error():
    broken = Last(head(EVENTS) + chunk(b"data: 1\n\n") + b"9\r\ndata")
    async with loopback(lambda _: broken) as server, rest_backend() as backend:
        given = await read(backend, streaming(server.url))

    assert given.is_error
    content = json.loads(given.body)
    assert (content["messages"], content["end"]) == ([{"data": 1}], "error")
    assert "cut short" in content["error"]["message"]


async def test_stream_that_breaks_off_before_its_first_message_is_a_failure():
    async with loopback(lambda _: head(EVENTS) + b"no chunk\r\n") as server, rest_backend() as backend:
        with pytest.raises(BackendProtocolError):
            await read(backend, streaming(server.url))


async def test_packed_stream_is_unpacked_as_it_comes_and_no_further_than_the_bound():
    packed = gzip.compress(b'data: {"a":1}\n\n' + b": zeros" + b"0" * 50_000_000 + b"\n\n", mtime=0)
    content = await structured(ended(EVENTS, packed, more="Content-Encoding: gzip\r\n"), max_bytes=1000)

    assert content == {"messages": [{"data": {"a": 1}}], "end": "maxBytes"}


async def test_stream_that_is_wrongly_packed_is_an_error():
    given = ended(EVENTS, b"data: 1\n\n", more="Content-Encoding: gzip\r\n")
    async with loopback(lambda _: given) as server, rest_backend() as backend:
        result = await read(backend, streaming(server.url))

    assert result.is_error
    assert json.loads(result.body)["error"] == {"message": "The stream is wrongly encoded"}


async def test_refusal_with_the_type_of_a_stream_is_read_as_a_whole():
    def refused(_: Seen) -> bytes:
        return answer(b'{"detail":"no"}\n', status="403 Forbidden", media_type="application/x-ndjson")

    async with loopback(refused) as server, rest_backend() as backend:
        result = shape(await read(backend, streaming(server.url)))

    assert result.is_error
    assert result.content[0].text == '403 Forbidden\n{"detail":"no"}\n'  # type: ignore[union-attr]
