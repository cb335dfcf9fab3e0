"""The law of repeated requests, with peers that close and reset at the worst moments: nothing is sent twice that may
not be, and no peer has read what is said to be unsent."""

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.http_client.http1.peer import (
    OK,
    Script,
    Wire,
    answering,
    asked,
    bodies,
    client,
    in_turn,
    peer,
)

from stoa.infrastructure.http_client.failures import ConnectionLost, HttpFailure, ResponseCutShort

METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"]
ONCE = {"POST", "PATCH"}


def answer_to(method: str) -> bytes:
    return OK.partition(b"{}")[0] if method == "HEAD" else OK


async def answers_and_closes(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK)


async def closes_at_once(_: Wire) -> None:
    pass


async def resets_at_once(wire: Wire) -> None:
    wire.reset()


async def reads_and_closes(wire: Wire) -> None:
    await wire.request()


async def reads_and_resets(wire: Wire) -> None:
    await wire.request()
    wire.reset()


async def receives_and_resets(wire: Wire) -> None:
    """Closes with the request unread in its buffer, which makes a reset."""
    await wire.has_received()


async def answers_then_reads_and_closes(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK)
    await wire.request()


async def answers_then_receives_and_resets(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK)
    await wire.has_received()


async def answers_in_part(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK[:10])


async def answers_in_part_and_resets(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK[:10])
    wire.reset()


async def answers_interim_and_closes(wire: Wire) -> None:
    await wire.request()
    await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")


async def answers_twice(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK + OK)
    await wire.ends()


SCRIPTS: list[Script] = [
    answering(OK),
    answers_and_closes,
    closes_at_once,
    resets_at_once,
    reads_and_closes,
    reads_and_resets,
    receives_and_resets,
    answers_then_reads_and_closes,
    answers_then_receives_and_resets,
    answers_in_part,
    answers_in_part_and_resets,
    answers_interim_and_closes,
    answers_twice,
]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=6),
    st.lists(st.sampled_from([method for method in METHODS if method != "HEAD"]), min_size=1, max_size=6),
    st.sampled_from([0, 1, 3]),
)
def test_repeated_is_nothing_that_may_not_be_by_whatever_peer(
    run: Callable[[Coroutine[Any, Any, None]], None], scripts: list[Script], methods: list[str], pauses: int
) -> None:
    run(_sent_to(scripts, methods, pauses))


async def _sent_to(scripts: list[Script], methods: list[str], pauses: int) -> None:
    """Sends requests to a peer with a script for each connection, and compares what it has read with how they ended."""
    async with peer(in_turn(*scripts, answering(OK))) as server, client() as http:
        ends: list[HttpFailure | None] = []
        for number, method in enumerate(methods):
            try:
                await asked(http, server, method, body=b"request %d" % number)
            except HttpFailure as failure:
                ends.append(failure)
            else:
                ends.append(None)
            for _ in range(pauses):
                await asyncio.sleep(0)
    read = bodies(server.requests)
    for number, (method, failure) in enumerate(zip(methods, ends, strict=True)):
        times = read.count(b"request %d" % number)
        assert times <= (1 if method in ONCE else 2)
        if failure is None:
            assert times >= 1
        elif failure.nothing_was_sent:
            assert times == 0


@pytest.mark.parametrize("method", METHODS)
async def test_repeated_is_any_request_whose_kept_connection_was_closed_before_it(method: str) -> None:
    async with peer(in_turn(answers_and_closes, answering(answer_to(method)))) as server, client() as http:
        await asked(http, server, "GET", body=b"first")
        while server.open_connections:
            await asyncio.sleep(0)
        assert (await asked(http, server, method, body=b"second")).status == 200
    assert bodies(server.requests) == [b"first", b"second"]


@pytest.mark.parametrize("method", METHODS)
async def test_repeated_is_a_request_that_was_read_only_if_its_method_is_idempotent(method: str) -> None:
    script = in_turn(answers_then_reads_and_closes, answering(answer_to(method)))
    async with peer(script) as server, client() as http:
        await asked(http, server, "GET", body=b"first")
        if method in ONCE:
            with pytest.raises(ConnectionLost) as lost:
                await asked(http, server, method, body=b"second")
            assert not lost.value.nothing_was_sent
        else:
            assert (await asked(http, server, method, body=b"second")).status == 200
    assert bodies(server.requests) == [b"first", b"second"] + ([] if method in ONCE else [b"second"])


async def test_repeated_is_no_post_that_arrived_and_whose_fate_is_unknown() -> None:
    async with peer(in_turn(answers_then_receives_and_resets, answering(OK))) as server, client() as http:
        await asked(http, server, "GET", body=b"first")
        with pytest.raises(ConnectionLost) as lost:
            await asked(http, server, "POST", body=b"second")
        assert not lost.value.nothing_was_sent
    assert bodies(server.requests) == [b"first"]


@pytest.mark.parametrize("method", METHODS)
async def test_repeated_is_a_request_once_at_most(method: str) -> None:
    async with peer(reads_and_closes) as server, client() as http:
        with pytest.raises(ConnectionLost):
            await asked(http, server, method)
    assert len(server.requests) == (1 if method in ONCE else 2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tcpi_bytes_acked")
async def test_repeated_is_a_post_that_crossed_the_end_of_its_connection() -> None:
    """The look at the socket comes before the end, and the request after it: TCP tells that nothing was received."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with peer(answering(OK)) as server, client() as http:
            origin = server.origin._replace(port=listener.getsockname()[1])
            first = asyncio.create_task(http.request(origin, "GET", "/", {}, None, 100))
            loop = asyncio.get_running_loop()
            listener.setblocking(False)
            wire, _ = await loop.sock_accept(listener)
            await loop.sock_recv(wire, 1000)
            await loop.sock_sendall(wire, OK)
            await first
            connection = http.pool(origin).take(monotonic())
            assert connection is not None
            wire.close()
            with pytest.raises(ConnectionLost) as lost:
                await connection.send(b"POST / HTTP/1.1\r\n\r\n", is_head_request=False, limit=100, is_repeatable=False)
            assert lost.value.nothing_was_sent


@pytest.mark.skipif(sys.platform != "linux", reason="needs tcpi_bytes_acked")
async def test_repeated_is_a_post_to_a_peer_that_closes_a_new_connection_unread() -> None:
    async with peer(in_turn(closes_at_once, answering(OK))) as server, client() as http:
        assert (await asked(http, server, "POST", body=b"first")).status == 200
    assert bodies(server.requests) == [b"first"]
    async with peer(closes_at_once) as server, client() as http:
        with pytest.raises(ConnectionLost) as lost:
            await asked(http, server, "POST")
        assert lost.value.nothing_was_sent
    assert server.connections == 2


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_repeated_is_nothing_once_a_byte_of_a_response_came(method: str, is_reset: bool) -> None:
    for length in range(1, len(OK)):

        async def cutting(wire: Wire, length: int = length) -> None:
            await wire.request()
            await wire.send(OK[:length])
            if is_reset:
                wire.reset()

        async with peer(cutting) as server, client() as http:
            with pytest.raises(ResponseCutShort):
                await asked(http, server, method)
        assert len(server.requests) == 1
