"""Responses whose body is read as it comes."""

import asyncio

import pytest
from tests.infrastructure.http_client.http1.peer import OK, Peer, Wire, answering, client, in_turn, peer

from stoa.infrastructure.http_client.failures import (
    ConnectionLost,
    InvalidResponse,
    NotConnected,
    ResponseCutShort,
    ResponseTooLong,
)
from stoa.infrastructure.http_client.http1 import Http1Client, OpenResponse
from stoa.infrastructure.http_client.http1.connection import MAX_BUFFERED_BYTES, PIECE_BYTES
from stoa.infrastructure.http_client.http1.pool import Origin

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def opened(http: Http1Client, server: Peer, method: str = "GET", body: bytes | None = None) -> OpenResponse:
    async with asyncio.timeout(20):
        return await http.request(server.origin, method, "/", {}, body, None)


async def read(response: OpenResponse) -> bytes:
    async with asyncio.timeout(20):
        pieces = [piece async for piece in pieces_of(response)]
    return b"".join(pieces)


async def pieces_of(response: OpenResponse):  # type: ignore[no-untyped-def]
    while piece := await response.piece():
        yield piece


async def test_stream_hands_over_each_piece_when_it_has_come() -> None:
    goes_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"one"))
        await goes_on.wait()
        await wire.send(chunk(b"two") + END)
        await wire.ends()

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        assert response.status == 200
        assert await response.piece() == b"one"  # the peer has not sent more
        goes_on.set()
        assert await read(response) == b"two"
        assert await response.piece() == b""


async def test_stream_that_was_read_leaves_its_connection_to_the_next_request() -> None:
    async with peer(answering(CHUNKED + chunk(b"x") + END, OK)) as server, client() as http:
        async with await opened(http, server) as response:
            await read(response)
        async with await opened(http, server, "POST", b"{}") as response:
            assert await response.read(2) == b"{}"
        assert server.connections == 1


async def test_stream_that_is_left_before_its_end_closes_the_connection() -> None:
    left = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"one"))
        await wire.ends()
        left.set()

    async with peer(script) as server, client() as http:
        async with await opened(http, server) as response:
            await response.piece()
        async with asyncio.timeout(20):
            await left.wait()


async def test_stream_closed_while_it_is_read_ends_the_reading() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        await wire.ends()

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        reading = asyncio.create_task(response.piece())
        await asyncio.sleep(0)
        response.close()
        with pytest.raises(ResponseCutShort):
            await reading


async def test_stream_makes_the_peer_wait_while_it_is_not_read() -> None:
    size = 64 * MAX_BUFFERED_BYTES
    is_sent = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        is_sent.set()
        await wire.ends()

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        for _ in range(1000):  # far more turns than the peer needs for what one socket takes
            await asyncio.sleep(0)
        assert not is_sent.is_set()
        longest = total = 0
        async for piece in pieces_of(response):
            longest, total = max(longest, len(piece)), total + len(piece)
        assert total == size
        assert longest == PIECE_BYTES


async def test_stream_that_comes_faster_than_it_is_read_leaves_others_their_turns() -> None:
    count = 20
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * PIECE_BYTES)
    turns = 0

    async def neighbour() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    faster = answering(response + bytes(count * PIECE_BYTES))
    async with peer(faster) as server, client() as http, await opened(http, server) as stream:
        beside = asyncio.create_task(neighbour())
        seen = [turns async for _ in pieces_of(stream)]
        beside.cancel()
    assert len(seen) >= count
    assert seen == sorted({*seen})  # the neighbour had a turn between any two pieces


@pytest.mark.parametrize("is_reset", [False, True])
async def test_stream_cut_short_hands_over_what_had_come_and_then_fails(is_reset: bool) -> None:
    received = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"one"))
        await received.wait()
        if is_reset:
            wire.reset()

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        assert await response.piece() == b"one"
        received.set()
        with pytest.raises(ResponseCutShort) as failure:
            await response.piece()
        assert not failure.value.nothing_was_sent
        with pytest.raises(ResponseCutShort):
            await response.piece()


async def test_stream_without_length_ends_with_the_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        assert await read(response) == b"until the end"


async def test_stream_that_breaks_the_protocol_fails_after_what_came_before() -> None:
    received = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"one"))
        await received.wait()
        await wire.send(chunk(b"two") + b"no size\r\n")
        await wire.ends()

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        assert await response.piece() == b"one"
        received.set()
        assert await response.piece() == b"two"
        with pytest.raises(InvalidResponse):
            await response.piece()


async def test_stream_of_nothing_but_framing_is_ended() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"one"))
        while True:
            await wire.send(b"1;" + b"x" * 10_000 + b"\r\ny\r\n")
            await asyncio.sleep(0)

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        with pytest.raises(InvalidResponse):
            await read(response)


async def test_stream_longer_than_the_reader_takes_is_refused() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"
    async with peer(in_turn(answering(long), answering(CHUNKED + chunk(b"x" * 11)))) as server, client() as http:
        for _ in range(2):
            async with await opened(http, server) as response:
                with pytest.raises(ResponseTooLong):
                    await response.read(10)


async def test_stream_of_a_connection_that_is_lost_before_the_head_is_asked_for_again_where_that_does_no_harm() -> None:
    async def closes(wire: Wire) -> None:
        await wire.request()

    repeats = in_turn(closes, answering(OK))
    async with peer(repeats) as server, client() as http, await opened(http, server) as response:
        assert await response.read(2) == b"{}"
    async with peer(in_turn(closes, answering(OK))) as server, client() as http:
        with pytest.raises(ConnectionLost) as lost:
            await opened(http, server, "POST", b"{}")
        assert not lost.value.nothing_was_sent


async def test_stream_cancelled_before_its_head_closes_the_connection() -> None:
    ended = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.ends()
        ended.set()

    async with peer(script) as server, client() as http:
        opening = asyncio.create_task(opened(http, server))
        while not server.requests:
            await asyncio.sleep(0)
        opening.cancel()
        async with asyncio.timeout(20):
            await ended.wait()


async def test_stream_goes_on_when_deadlines_of_whole_responses_have_passed() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"one"))
        await wire.request()

    async with peer(script) as server, client() as http, await opened(http, server) as response:
        await response.piece()
        reading = asyncio.create_task(response.piece())
        await asyncio.sleep(0)
        http.look(float("inf"))
        await asyncio.sleep(0)
        assert not reading.done()
        reading.cancel()


async def test_stream_is_given_up_when_the_client_is_closed() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        await wire.ends()

    async with peer(script) as server, client(drain_seconds=0.01) as http, await opened(http, server) as response:
        reading = asyncio.create_task(response.piece())
        await asyncio.sleep(0)
        await http.close()
        with pytest.raises(ResponseCutShort):
            await reading


async def test_stream_to_nobody_says_that_nothing_was_sent() -> None:
    async with peer(answering(OK)) as server:
        origin = server.origin
    async with client() as http:
        with pytest.raises(NotConnected) as away:
            await http.request(Origin(*origin), "POST", "/", {}, b"{}", None)
        assert away.value.nothing_was_sent
