"""The client and its pools: which connection a request takes, bounds, deadlines, and the end."""

import asyncio
from time import monotonic

import pytest
from tests.infrastructure.http_client.http1.peer import OK, Wire, answering, asked, client, in_turn, peer

from stoa.infrastructure.http_client import PUBLIC_ONLY, ForbiddenAddress
from stoa.infrastructure.http_client.failures import (
    ConnectTimedOut,
    HttpFailure,
    InvalidResponse,
    NoConnectionFree,
    NotConnected,
    ResponseCutShort,
    ResponseTimedOut,
    ResponseTooLong,
)
from stoa.infrastructure.http_client.http1 import Http1Client
from stoa.infrastructure.http_client.http1.pool import IDLE_SECONDS, LEARNED_SECONDS, MAX_IDLE_SECONDS

UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n{}"


def with_header(line: str) -> bytes:
    return OK.replace(b"\r\n\r\n", b"\r\n" + line.encode() + b"\r\n\r\n")


class Held:
    """A peer that answers when it is told."""

    def __init__(self, *, head: bytes = b"") -> None:
        self.waiting = 0
        self._head = head
        self._released = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(self._head)
            async with self._arrived:
                self.waiting += 1
                self._arrived.notify_all()
            await self._released.wait()
            self.waiting -= 1
            await wire.send(OK[len(self._head) :])

    async def has(self, count: int) -> None:
        async with self._arrived, asyncio.timeout(10):
            await self._arrived.wait_for(lambda: self.waiting >= count)

    def release(self) -> None:
        self._released.set()


# Which connection


async def test_connections_are_used_again_and_the_last_one_first() -> None:
    held = Held()
    async with peer(held) as server, client() as http:
        calls = [asyncio.create_task(asked(http, server)) for _ in range(3)]
        await held.has(3)
        held.release()
        await asyncio.gather(*calls)
        pool = http.pool(server.origin)
        first = pool.take(monotonic())
        assert first is not None
        for _ in range(3):
            await asked(http, server)
        others = [pool.take(monotonic()), pool.take(monotonic())]
        assert None not in others
        assert pool.take(monotonic()) is None
    assert server.connections == 3


@pytest.mark.parametrize(
    "response",
    [with_header("Connection: close"), OK.replace(b"1.1", b"1.0"), OK + b"x", OK + OK],
    ids=["close", "1.0", "extra bytes", "two responses"],
)
async def test_connections_that_a_response_leaves_in_disorder_are_not_used_again(response: bytes) -> None:
    async with peer(answering(response)) as server, client() as http:
        for _ in range(3):
            assert (await asked(http, server)).body == b"{}"
    assert server.connections == 3


async def test_connections_on_which_something_comes_unasked_are_not_used_again() -> None:
    """Response splitting: what comes late would be taken for the response to the next request."""

    async def late(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await sent.wait()
        await wire.send(with_header("X: planted"))
        planted.set()
        await wire.ends()

    for is_read_by_loop in (False, True):
        sent, planted = asyncio.Event(), asyncio.Event()
        async with peer(in_turn(late, answering(OK))) as server, client() as http:
            await asked(http, server)
            sent.set()
            await planted.wait()
            for _ in range(5 if is_read_by_loop else 0):
                await asyncio.sleep(0)
            assert (await asked(http, server, "POST")).header("X") is None
        assert server.connections == 2


async def test_connections_of_a_request_that_was_answered_before_it_was_sent_are_not_used_again() -> None:
    refusal = OK.replace(b"200 OK", b"413 Content Too Large")

    async def early(wire: Wire) -> None:
        await wire.has_received()
        await wire.send(refusal)
        await wire.ends()

    async with peer(early) as server, client() as http:
        response = await asked(http, server, "POST", body=b"x" * 20_000_000)
        assert response.status == 413
        assert http.pool(server.origin).take(monotonic()) is None


async def test_a_peer_that_speaks_first_is_no_http_server() -> None:
    async def banner(wire: Wire) -> None:
        await wire.send(b"SSH-2.0-OpenSSH\r\n")
        await wire.ends()

    async with peer(banner) as server, client() as http:
        with pytest.raises(InvalidResponse):
            await asked(http, server)


# How long a connection is kept


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("X: y", IDLE_SECONDS),
        ("Keep-Alive: timeout=5", 4.0),
        ("Keep-Alive: max=100, timeout = 30", 29.0),
        ("Keep-Alive: timeout=1", 0.5),
        ("Keep-Alive: timeout=0", 0.0),
        ("Keep-Alive: timeout=99999", MAX_IDLE_SECONDS),
        ("Keep-Alive: timeout=soon", IDLE_SECONDS),
        ("Keep-Alive: max=5", IDLE_SECONDS),
    ],
)
async def test_idle_connections_are_closed_before_the_peer_would_close_them(line: str, seconds: float) -> None:
    async with peer(answering(with_header(line))) as server, client() as http:
        await asked(http, server)
        pool = http.pool(server.origin)
        now = monotonic()
        http.look(now + seconds - 0.1)
        assert len(pool.connections) == 1
        if seconds > 0.2:
            connection = pool.take(now + seconds - 0.2)
            assert connection is not None
            assert pool.take(now) is None
            pool.give_back(connection, await asked(http, server))
        http.look(monotonic() + seconds)
        while server.open_connections:
            await asyncio.sleep(0)


async def test_idle_time_of_a_peer_that_closes_early_is_learned_and_forgotten() -> None:
    closed = asyncio.Event()

    async def closing(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await closed.wait()

    async with peer(in_turn(closing, answering(OK))) as server, client() as http:
        await asked(http, server)
        pool = http.pool(server.origin)
        (connection,) = pool.connections
        connection.idle_since -= 2.0  # as if two seconds had gone by
        closed.set()
        await connection.closed
        await asked(http, server)
        (connection,) = pool.connections
        assert connection.expires - connection.idle_since == pytest.approx(1.5, abs=0.1)
        http.look(monotonic() + LEARNED_SECONDS + 1)
        await asked(http, server)
        (connection,) = pool.connections
        assert connection.expires - connection.idle_since == IDLE_SECONDS


# Bounds and deadlines


async def test_pool_has_a_bound_beyond_which_requests_wait_in_turn() -> None:
    held = Held()
    async with peer(held) as server, client(max_connections=2, max_waiting=2) as http:
        calls = [asyncio.create_task(asked(http, server)) for _ in range(2)]
        await held.has(2)
        calls += [asyncio.create_task(asked(http, server)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NoConnectionFree, match="all 2 connections") as refused:
            await asked(http, server)
        assert refused.value.nothing_was_sent
        held.release()
        assert [response.status for response in await asyncio.gather(*calls)] == [200] * 4
    assert server.connections == 2


async def test_pool_says_that_all_connections_are_in_use_when_none_becomes_free_in_time() -> None:
    held = Held()
    async with peer(held) as server, client(max_connections=1, connect_seconds=1.0) as http:
        call = asyncio.create_task(asked(http, server))
        await held.has(1)
        with pytest.raises(NoConnectionFree):
            await asked(http, server)
        held.release()
        await call


async def test_pool_gives_the_place_of_a_cancelled_call_to_the_next_one() -> None:
    held = Held()
    async with peer(held) as server, client(max_connections=1) as http:
        first, second, third = (asyncio.create_task(asked(http, server)) for _ in range(3))
        await held.has(1)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await held.has(2)
        held.release()
        assert (await third).status == 200
        assert (await asked(http, server)).status == 200
    assert server.connections == 2


async def test_pool_loses_no_place_when_a_call_is_cancelled_as_it_gets_one() -> None:
    held = Held()
    async with peer(held) as server, client(max_connections=1) as http:
        first, second = (asyncio.create_task(asked(http, server)) for _ in range(2))
        await held.has(1)
        held.release()
        await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        for _ in range(3):
            assert (await asked(http, server)).status == 200


async def test_pool_loses_no_place_when_connecting_fails() -> None:
    async with peer(answering(OK)) as server, client(max_connections=1) as http:
        gone = server.origin._replace(port=1)
        for _ in range(3):
            with pytest.raises(NotConnected) as failure:
                await http.request(gone, "GET", "/", {}, None, 1)
            assert isinstance(failure.value.__cause__, ConnectionRefusedError)
            assert failure.value.nothing_was_sent


async def test_cancelled_request_closes_its_connection() -> None:
    held = Held()
    async with peer(held) as server, client() as http:
        call = asyncio.create_task(asked(http, server))
        await held.has(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        held.release()
        while server.open_connections:
            await asyncio.sleep(0)


async def test_response_whose_head_or_body_does_not_come_is_given_up() -> None:
    for head in (b"", OK[:-1]):
        held = Held(head=head)
        async with peer(held) as server, client(head_seconds=10, body_seconds=20) as http:
            call = asyncio.create_task(asked(http, server))
            await held.has(1)
            for _ in range(5):
                await asyncio.sleep(0)
            now = monotonic()
            http.look(now)
            http.look(now + (19.9 if head else 9.0))
            assert not call.done()
            http.look(now + (20.1 if head else 10.1))
            with pytest.raises(ResponseTimedOut):
                await call
            held.release()


async def test_response_that_is_too_long_ends_its_connection() -> None:
    async with peer(answering(OK)) as server, client() as http:
        with pytest.raises(ResponseTooLong):
            await asked(http, server, limit=1)
        assert (await asked(http, server, limit=2)).body == b"{}"
    assert server.connections == 2


async def test_response_that_drips_is_read_to_its_end() -> None:
    async def dripping(wire: Wire) -> None:
        await wire.request()
        for byte in UNTIL_CLOSED:
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)

    async with peer(dripping) as server, client() as http:
        assert (await asked(http, server)).body == b"{}"


async def test_connecting_has_a_deadline_and_nothing_was_sent() -> None:
    async def never(_: Wire) -> None:
        await asyncio.get_running_loop().create_future()

    async with peer(never) as server, client(connect_seconds=0.01) as http:
        encrypted = server.origin._replace(is_encrypted=True)  # a handshake that is not answered
        with pytest.raises(ConnectTimedOut) as late:
            await http.request(encrypted, "GET", "/", {}, None, 1)
        assert late.value.nothing_was_sent


# Where to, and what is sent


async def test_addresses_outside_the_rules_are_not_connected_to() -> None:
    async with peer(answering(OK)) as server:
        http = Http1Client(PUBLIC_ONLY)
        with pytest.raises(NotConnected) as refused:
            await http.request(server.origin, "GET", "/", {}, None, 1)
        assert isinstance(refused.value.__cause__, ForbiddenAddress)
        await http.close()
    assert server.connections == 0


async def test_request_is_written_as_rfc_9112_says() -> None:
    async with (
        peer(answering(OK)) as server,
        client(headers={"User-Agent": "gateway", "Accept-Encoding": "gzip"}) as http,
    ):
        await asked(http, server, "GET", "/a?b=c", headers={"user-agent": "own", "X": "ü"})
        await asked(http, server, "POST", "/a")
        await asked(http, server, "POST", "/a", body=b"body")
    host = f"Host: 127.0.0.1:{server.origin.port}\r\n"
    defaults = "User-Agent: gateway\r\nAccept-Encoding: gzip\r\n"
    assert [request.decode() for request in server.requests] == [
        f"GET /a?b=c HTTP/1.1\r\n{host}user-agent: own\r\nX: ü\r\nAccept-Encoding: gzip\r\n\r\n",
        f"POST /a HTTP/1.1\r\n{host}{defaults}Content-Length: 0\r\n\r\n",
        f"POST /a HTTP/1.1\r\n{host}{defaults}Content-Length: 4\r\n\r\nbody",
    ]


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        ("/", "X", "a\r\nEvil: 1"),
        ("/", "X", "a\nEvil: 1"),
        ("/", "X", "a\rb"),
        ("/", "X", "a\0b"),
        ("/", "X\r\nEvil", "1"),
        ("/ HTTP/1.1\r\nEvil: 1\r\n", "X", "1"),
        ("/", "X", "half \ud800"),
        ("/a b", "X", "1"),
    ],
)
async def test_request_that_would_hold_another_line_is_not_sent(target: str, name: str, value: str) -> None:
    async with peer(answering(OK)) as server, client() as http:
        with pytest.raises(HttpFailure) as failure:
            await asked(http, server, "GET", target, headers={name: value})
        assert isinstance(failure.value, ValueError)
        assert failure.value.nothing_was_sent
    assert server.requests == []


# The end


async def test_close_lets_responses_under_way_come_and_closes_the_rest() -> None:
    held = Held()
    async with peer(held) as server, client() as http:
        call = asyncio.create_task(asked(http, server))
        await held.has(1)
        closing = asyncio.create_task(http.close())
        await asyncio.sleep(0)
        held.release()
        assert (await call).status == 200
        await closing
        while server.open_connections:
            await asyncio.sleep(0)


async def test_close_gives_up_responses_that_do_not_come() -> None:
    async with peer(Held()) as server, client(drain_seconds=0.01) as http:
        call = asyncio.create_task(asked(http, server))
        while not server.requests:
            await asyncio.sleep(0)
        await http.close()
        with pytest.raises((HttpFailure, ResponseCutShort)):
            await call


async def test_close_sends_calls_that_wait_for_a_connection_away() -> None:
    held = Held()
    async with peer(held) as server, client(max_connections=1) as http:
        first, second = (asyncio.create_task(asked(http, server)) for _ in range(2))
        await held.has(1)
        closing = asyncio.create_task(http.close())
        with pytest.raises(NotConnected, match="closed"):
            await second
        held.release()
        assert (await first).status == 200
        await closing


async def test_client_is_used_again_after_it_was_closed() -> None:
    async with peer(answering(OK)) as server, client() as http:
        for _ in range(2):
            assert (await asked(http, server)).status == 200
            await http.close()
        while server.open_connections:
            await asyncio.sleep(0)
