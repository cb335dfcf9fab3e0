"""HTTP framing over raw sockets, both doors: one response for each request, and a closed connection when in doubt."""

import json

import pytest
from tests.interfaces.doors import World
from tests.interfaces.http.listening import Client, Listening, listening

from stoa.domain.metering.event import Status
from stoa.interfaces.http.connections import Bounds

TOKEN = b"Authorization: Bearer alpha-admin\r\n"
HOST = b"Host: localhost\r\n"
CALL = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 2, "b": 40}}}
).encode()
INVOKE = b'{"arguments": {"a": 2, "b": 40}}'
MCP, REST = (b"/mcp", CALL), (b"/mcp/v1/tools/add/invoke", INVOKE)
DOORS = pytest.mark.parametrize(("path", "body"), [MCP, REST], ids=["mcp", "rest"])
TYPE = b"Content-Type: application/json\r\nAccept: application/json\r\n"


def request(
    path: bytes, body: bytes, *fields: bytes, host: bytes = HOST, version: bytes = b"1.1", token: bytes = TOKEN
) -> bytes:
    """A POST whose framing fields are the test's own."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST %b HTTP/%b\r\n%b%b%b%b\r\n%b" % (path, version, host, token, TYPE, lines, body)


def sized(path: bytes, body: bytes, *fields: bytes, **rest: bytes) -> bytes:
    return request(path, body, b"Content-Length: %d" % len(body), *fields, **rest)


def chunk(body: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body)


async def _answers(server: Listening, sent: bytes, *more: bytes) -> list[int]:
    client = await server.connect()
    await client.send(sent)
    for part in more:
        await client.send(part)
    return [one.status for one in await client.all()]


async def _is_served(client: Client) -> bool:
    one = await client.response()
    return one is not None and one.status == 200 and b"42" in one.body


def _calls(world: World) -> int:
    return len([event for event in world.events if event.status is Status.SUCCESS])


@DOORS
async def test_an_upgrade_to_h2c_is_ignored_and_the_request_served_with_its_body(
    world: World, path: bytes, body: bytes
) -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(path, body, *offer))
        assert await _is_served(client)
        await client.send(request(path, chunk(body) + b"0\r\n\r\n", b"Transfer-Encoding: chunked", *offer))
        assert await _is_served(client)
        whole = sized(path, body, *offer)
        for cut in range(1, len(whole), 7):
            await client.send(whole[:cut])
            await client.send(whole[cut:])
            assert await _is_served(client), "wherever the packets end"
    assert _calls(world) == len(world.events)


@DOORS
async def test_an_upgrade_whose_body_comes_later_does_not_make_the_body_a_request(
    world: World, path: bytes, body: bytes
) -> None:
    smuggled = b"POST /mcp/v1/tools/wipe/invoke HTTP/1.1\r\n" + HOST + TOKEN + b"Content-Length: 2\r\n\r\n{}"
    padded = body + b" " * 10 + b"\r\n"
    async with listening(world) as server:
        client = await server.connect()
        offer = (b"Connection: keep-alive, upgrade", b"Upgrade: websocket", b"Content-Length: %d" % len(smuggled))
        await client.send(request(path, b"", *offer))
        await server.settle(lambda: server.tasks)
        await client.send(smuggled)
        first = await client.response()
        assert first is not None
        assert first.status == 400
        await client.send(sized(path, padded))
        assert await _is_served(client)
    assert not any(event.tool == "wipe" for event in world.events)


UNCLEAR = {
    "length and chunked": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunked and length": (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "the same length twice": (b"Content-Length: 5", b"Content-Length: 5"),
    "a list of lengths": (b"Content-Length: 5, 5",),
    "a signed length": (b"Content-Length: +5",),
    "a hexadecimal length": (b"Content-Length: 0x5",),
    "a negative length": (b"Content-Length: -1",),
    "an empty length": (b"Content-Length:",),
    "a length beyond 64 bits": (b"Content-Length: 99999999999999999999",),
    "gzip, chunked": (b"Transfer-Encoding: gzip, chunked",),
    "chunked twice in one": (b"Transfer-Encoding: chunked, chunked",),
    "chunked twice": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "identity": (b"Transfer-Encoding: identity",),
    "gzip": (b"Transfer-Encoding: gzip",),
    "nearly chunked": (b"Transfer-Encoding: xchunked",),
    "chunked with a tab": (b"Transfer-Encoding: \x0bchunked",),
    "a space before the colon": (b"Transfer-Encoding : chunked",),
    "a folded coding": (b"Transfer-Encoding:\r\n chunked",),
    "a folded field": (b"X-A: b\r\n c", b"Content-Length: 5"),
    "a bare line feed": (b"X-A: b\nContent-Length: 5",),
    "a bare carriage return": (b"X-A: b\rContent-Length: 5",),
    "NUL in a value": (b"X-A: \x00", b"Content-Length: 5"),
    "NUL in a name": (b"X\x00A: b", b"Content-Length: 5"),
    "no colon": (b"X-A", b"Content-Length: 5"),
    "two hosts": (b"Host: evil.example", b"Content-Length: 5"),
    "two tokens": (b"Authorization: Bearer beta-admin", b"Content-Length: 5"),
    "two media types": (b"Content-Type: text/plain", b"Content-Length: 5"),
    "another expectation": (b"Expect: a-miracle", b"Content-Length: 5"),
}


@DOORS
@pytest.mark.parametrize("fields", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_framing_that_has_two_meanings_is_refused_once_and_the_connection_closed(
    world: World, path: bytes, body: bytes, fields: tuple[bytes, ...]
) -> None:
    rest = b"0\r\n\r\n" + sized(*REST)
    async with listening(world) as server:
        answers = await _answers(server, request(path, rest, *fields))
        assert len(answers) == 1
        assert 400 <= answers[0] < 600
        assert server.refusals == ["framing"]
    assert not world.events, "nothing of it was executed"
    assert body


LINES = {
    "no host": (b"POST %b HTTP/1.1\r\n" + TOKEN + b"\r\n", 400),
    "HTTP/0.9": (b"POST %b\r\n\r\n", 505),
    "HTTP/2.0": (b"POST %b HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.2": (b"POST %b HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "another authority": (b"POST http://evil.example%b HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "user information": (b"POST http://localhost@evil.example%b HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "another scheme": (b"POST ftp://localhost%b HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "two slashes": (b"POST //localhost%b HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "a fragment": (b"POST %b#x HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "a control character": (b"POST %b\x01 HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "a space": (b"POST %b x HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "bytes beyond ASCII": (b"POST %b\xc3\xa4 HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n", 400),
    "line feeds alone": (b"POST %b HTTP/1.1\nHost: localhost\n\n", 400),
    "an unknown method": (b"FROB %b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "chunked in HTTP/1.0": (b"POST %b HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
}


@DOORS
@pytest.mark.parametrize(("head", "status"), LINES.values(), ids=LINES.keys())
async def test_a_request_line_or_target_that_is_not_clear_is_refused(
    world: World, path: bytes, body: bytes, head: bytes, status: int
) -> None:
    async with listening(world) as server:
        assert await _answers(server, head % path + sized(path, body)) == [status]
    assert not world.events


@pytest.mark.parametrize("target", [b"*", b"localhost:80"])
async def test_a_target_that_is_no_path_is_refused(world: World, target: bytes) -> None:
    async with listening(world) as server:
        for method in (b"OPTIONS", b"CONNECT"):
            assert await _answers(server, b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, HOST)) == [400]


async def test_the_preface_of_http2_is_refused(world: World) -> None:
    async with listening(world) as server:
        assert await _answers(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == [400]


@DOORS
async def test_an_absolute_target_that_agrees_with_host_is_served(world: World, path: bytes, body: bytes) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(b"http://LOCALHOST" + path, body))
        assert await _is_served(client)


@DOORS
async def test_a_chunked_body_is_served_with_its_extensions_and_trailers_ignored(
    world: World, path: bytes, body: bytes
) -> None:
    trailers = b"0;last\r\nAuthorization: Bearer beta-admin\r\nHost: evil.example\r\n\r\n"
    whole = request(path, chunk(body[:9], b";a=b") + chunk(body[9:]) + trailers, b"Transfer-Encoding: chunked")
    async with listening(world) as server:
        client = await server.connect()
        for _ in range(2):
            await client.send(whole)
            assert await _is_served(client)
        single = request(
            path, b"".join(chunk(bytes([byte])) for byte in body) + b"0\r\n\r\n", b"Transfer-Encoding: chunked"
        )
        await client.send(single)
        assert await _is_served(client)
    assert {event.tenant for event in world.events} == {"alpha"}


@DOORS
@pytest.mark.parametrize(
    "broken", [b"5\r\nabcdeX", b"5;\n", b"fffffffffffffffff\r\n", b"5 \r\n", b"g\r\n", b"-1\r\n", b"5\n"]
)
async def test_a_body_that_breaks_off_in_its_framing_is_never_executed(
    world: World, path: bytes, body: bytes, broken: bytes
) -> None:
    async with listening(world) as server:
        assert await _answers(
            server, request(path, chunk(body), b"Transfer-Encoding: chunked"), broken + b"\r\n" + sized(path, body)
        ) == [400]
    assert not world.events


@DOORS
async def test_a_body_whose_client_goes_away_is_never_executed(world: World, path: bytes, body: bytes) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(request(path, chunk(body), b"Transfer-Encoding: chunked"))
        await server.settle(lambda: server.tasks)
        client.close()
        await server.settle(lambda: not server.protocols and not server.tasks)
    assert not world.events


@DOORS
async def test_pipelined_requests_are_answered_each_once_and_in_order(world: World, path: bytes, body: bytes) -> None:
    async with listening(world) as server:
        client = await server.connect()
        numbered = [body.replace(b"40", b"%d" % number) for number in range(40, 48)]
        await client.send(b"".join(sized(path, one) for one in numbered))
        for number in range(42, 50):
            one = await client.response()
            assert one is not None
            assert b"%d" % number in one.body
    assert _calls(world) == 8


@DOORS
async def test_a_bad_request_behind_a_good_one_takes_no_other_answers_place(
    world: World, path: bytes, body: bytes
) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(path, body) + b"NO\x00SENSE\r\n\r\n")
        assert await _is_served(client)
        assert await client.response() is None
    assert _calls(world) == 1


async def test_requests_that_wait_on_one_connection_are_bounded(world: World) -> None:
    async with listening(world, Bounds(pipelined=3)) as server:
        assert await _answers(server, sized(*REST) * 50) == [200]
    assert _calls(world) == 1


@DOORS
async def test_nothing_after_a_request_that_closes_is_executed(world: World, path: bytes, body: bytes) -> None:
    async with listening(world) as server:
        assert await _answers(server, sized(path, body, b"Connection: close") + sized(path, body)) == [200]
        assert await _answers(server, sized(path, body, version=b"1.0") + sized(path, body)) == [200]
        keep = sized(path, body, b"Connection: keep-alive", version=b"1.0")
        assert await _answers(server, keep + sized(path, body)) == [200]
    assert _calls(world) == 3


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"HEAD"])
@pytest.mark.parametrize("path", [b"/mcp", b"/mcp/v1/tools/add", b"/health"])
async def test_a_body_that_is_not_expected_is_not_the_next_request(world: World, method: bytes, path: bytes) -> None:
    smuggled = sized(*REST)
    head = b"%b %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (method, path, HOST, TOKEN, len(smuggled))
    async with listening(world) as server:
        client = await server.connect()
        await client.send(head + smuggled + sized(*REST, b"Connection: close"))
        assert await client.response(has_body=method != b"HEAD") is not None
        assert [one.status for one in await client.all()] == [200]
    assert _calls(world) == 1


@DOORS
async def test_expect_100_continue_asks_for_the_body_of_known_callers_only(
    world: World, path: bytes, body: bytes
) -> None:
    large = body + b" " * 20_000
    fields = (b"Content-Length: %d" % len(large), b"Expect: 100-continue")
    async with listening(world) as server:
        client = await server.connect()
        await client.send(request(path, b"", *fields))
        first = await client.response()
        assert first is not None
        assert first.status == 100
        await client.send(large)
        assert await _is_served(client)
        assert await _answers(server, request(path, b"", *fields, token=b"")) == [401]


@DOORS
async def test_a_request_head_in_any_pieces_is_the_same_request(world: World, path: bytes, body: bytes) -> None:
    async with listening(world) as server:
        client = await server.connect()
        for byte in sized(path, body):
            await client.send(bytes([byte]))
        assert await _is_served(client)
