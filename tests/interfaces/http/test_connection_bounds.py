"""What one connection, one address, one caller and all of them may take of the gateway; the clock is the test's."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.interfaces.doors import World
from tests.interfaces.http.listening import KEEP_ALIVE_SECONDS, Client, Listening, listening
from tests.interfaces.http.test_framing import DOORS, HOST, INVOKE, REST, TYPE, _is_served, request, sized

from stoa.application.gateway import Gateway
from stoa.interfaces.http.connections import Bounds, Connections, Reason
from stoa.interfaces.wire.bodies import SMALL_BYTES, STRANGERS_BYTES

HEAD = b"POST /mcp HTTP/1.1\r\n" + HOST
MIB = 1024 * 1024


def _later(server: Listening, seconds: float) -> None:
    """Two looks of the registry, as far apart."""
    now = asyncio.get_running_loop().time()
    server.connections.look(now)
    server.connections.look(now + seconds)


async def _status(client: Client) -> int | None:
    one = await client.response()
    return None if one is None else one.status


async def _flood(server: Listening, first: bytes, piece: bytes) -> int | None:
    """Send `piece` until the server has had enough; the status of its answer."""
    client = await server.connect()
    await client.send(first)
    try:
        for _ in range(400):
            await client.send(piece)
            await asyncio.sleep(0)
            if not server.protocols or "head_size" in server.refusals:
                break
    except OSError:
        pass
    return await _status(client)


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET /", b"a" * 4096),
        (HEAD + b"X-A: ", b"a" * 4096),
        (HEAD + b"X-", b"a" * 4096),
        (HEAD, b"".join(b"X-%04d: y\r\n" % number for number in range(400))),
        (HEAD, b"X-A: y\r\n" * 500),
        (HEAD + TYPE + b"Authorization: Bearer alpha-admin\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 4096),
        (
            HEAD + TYPE + b"Authorization: Bearer alpha-admin\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n",
            b"X-A: y\r\n" * 500,
        ),
        (
            HEAD + TYPE + b"Authorization: Bearer alpha-admin\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1;" + b"x" * 500 + b"\r\n[\r\n",
        ),
    ],
    ids=["URL", "value", "name", "fields", "equal fields", "chunk extension", "trailers", "many chunk extensions"],
)
async def test_a_request_head_is_refused_beyond_64_KiB(world: World, first: bytes, piece: bytes) -> None:  # noqa: N802
    async with listening(world) as server:
        assert await _flood(server, first, piece) == 431
        assert server.refusals == ["head_size"]
    assert not world.events


@pytest.mark.parametrize(("fields", "status"), [(200, 200), (257, 431)])
async def test_a_request_head_has_so_many_fields(world: World, fields: int, status: int) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(*REST, *(b"X-%d: y" % number for number in range(fields))))
        assert await _status(client) == status


async def test_a_request_head_is_refused_as_soon_as_it_has_too_many_fields(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(300)))  # and it does not end
        assert await _status(client) == 431
        assert server.refusals == ["head_size"]


async def test_trailers_have_as_many_fields_as_a_head(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(
            HEAD + TYPE + b"Authorization: Bearer alpha-admin\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n"
        )
        await client.send(b"".join(b"X-%d: y\r\n" % number for number in range(300)))
        assert await _status(client) == 431
        assert server.refusals == ["head_size"]


async def test_a_request_head_of_less_is_served(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(*REST, b"X-A: " + b"a" * 60_000))
        assert await _is_served(client)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"POST /mcp HT", HEAD, HEAD + b"X-A: b"])
async def test_a_request_head_that_does_not_end_is_waited_for_only_so_long(world: World, sent: bytes) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sent)
        await server.settle(lambda: server.protocols and server.protocol._head_bytes == len(sent))
        _later(server, 9.9)
        assert not server.refusals
        _later(server, 10.1)
        assert server.refusals == ["head_deadline"]
        assert await _status(client) == (408 if sent else None)
        assert await client.response() is None


async def test_a_second_request_head_has_the_same_deadline_but_idling_has_none_of_it(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(*REST))
        assert await _is_served(client)
        _later(server, 70)
        assert not server.refusals
        await client.send(b"P")
        await server.settle(lambda: server.protocol._has_begun)
        _later(server, 10.1)
        assert server.refusals == ["head_deadline"]
        assert await _status(client) == 408


async def test_an_idle_connection_is_closed_after_the_keep_alive_time(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(sized(*REST))
        assert await _is_served(client)
        await server.settle(lambda: server.connections.idle)
        _later(server, KEEP_ALIVE_SECONDS - 1)
        assert server.protocols
        _later(server, KEEP_ALIVE_SECONDS)
        await server.settle(lambda: not server.protocols)
        assert not server.refusals
        assert await client.response() is None


@DOORS
async def test_a_request_body_that_makes_no_progress_is_waited_for_only_so_long(
    world: World, path: bytes, body: bytes
) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(request(path, body[:-1], b"Content-Length: %d" % len(body)))
        await server.settle(lambda: server.tasks and server.protocol._body_bytes == len(body) - 1)
        _later(server, 9.9)
        assert not server.refusals
        _later(server, 10.1)
        assert server.refusals == ["body_deadline"]
        assert await _status(client) == 408
        await server.settle(lambda: not server.tasks)
    assert not world.events


async def test_a_request_body_that_trickles_is_too_slow_and_a_steady_one_is_not(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        whole = INVOKE + b" " * 400_000
        await client.send(request(REST[0], b"", b"Content-Length: %d" % len(whole)))
        await server.settle(lambda: server.tasks)
        now = asyncio.get_running_loop().time()
        for turn in range(4):
            await client.send(whole[turn * 50_000 : (turn + 1) * 50_000])
            await server.settle(lambda turn=turn: server.protocol._body_bytes == (turn + 1) * 50_000)
            server.connections.look(now + turn * 10)
        assert not server.refusals
        await client.send(whole[200_000:200_100])
        await server.settle(lambda: server.protocol._body_bytes == 200_100)
        server.connections.look(now + 41)
        assert server.refusals == ["body_deadline"]


@DOORS
@pytest.mark.parametrize("form", ["length", "chunked"])
async def test_a_strangers_body_is_refused_before_it_is_read(world: World, path: bytes, body: bytes, form: str) -> None:
    part = b"[" + b" " * 20_000
    framing = b"Content-Length: 4000000" if form == "length" else b"Transfer-Encoding: chunked"
    part = part if form == "length" else b"%x\r\n%b\r\n" % (len(part), part)
    async with listening(world) as server:
        for token in (b"", b"Authorization: Bearer nonsense\r\n"):
            client = await server.connect()
            await client.send(request(path, part, framing, token=token))
            one = await client.response()
            assert one is not None
            assert (one.status, one.headers["connection"]) == (401, "close")
            assert await client.response() is None
            client.close()
            await server.settle(lambda: not server.protocols)
    assert body


@DOORS
async def test_a_strangers_small_body_is_read_and_its_connection_kept(world: World, path: bytes, body: bytes) -> None:
    assert len(body) < STRANGERS_BYTES
    async with listening(world) as server:
        client = await server.connect()
        await client.send(request(path, b"", b"Content-Length: %d" % len(body), token=b""))
        await client.send(body)
        one = await client.response()
        assert one is not None
        assert one.status == 401
        assert "connection" not in one.headers
        await world.gateway.flush_refusals()
    assert [(event.user_id, event.calls) for event in world.events] == [("-", 1)]


async def test_what_a_closed_connection_still_sends_is_thrown_away_within_a_bound(world: World) -> None:
    async with listening(world, Bounds(linger_bytes=500_000)) as server:
        client = await server.connect()
        await client.send(request(REST[0], b"", b"Content-Length: 4000000", token=b""))
        assert await _status(client) == 401
        with pytest.raises(OSError):  # reset or broken pipe, as the system likes
            for _ in range(1000):
                await client.send(b" " * 65536)
                await asyncio.sleep(0)
        await server.settle(lambda: not server.protocols)


async def test_what_a_closed_connection_still_sends_is_thrown_away_in_pieces(world: World) -> None:
    """Read at once, a body of megabytes would keep the loop for milliseconds."""
    async with listening(world) as server:
        client = await server.connect()
        await client.send(request(REST[0], b"", b"Content-Length: 4000000", token=b""))
        assert await _status(client) == 401
        for _ in range(3):
            await client.send(b" " * 65536)
            await server.settle(lambda: server.protocol.flow.read_paused)
            await server.settle(lambda: not server.protocol.flow.read_paused)
        _later(server, 3.1)  # a pause does not prolong the time that it has
        await server.settle(lambda: not server.protocols)


async def test_what_a_closed_connection_waits_for_ends_in_time(world: World) -> None:
    async with listening(world) as server:
        client = await server.connect()
        await client.send(request(REST[0], b"[", b"Content-Length: 4000000", token=b""))
        assert await _status(client) == 401
        _later(server, 3.1)
        await server.settle(lambda: not server.protocols)


# Answers that are not read


@pytest.fixture
def large(world: World) -> Gateway:
    @world.gateway.tool(name="large")
    async def large() -> str:
        return "x" * 16 * MIB

    return world.gateway


ASK = (b"/mcp/v1/tools/large/invoke", b"{}")


async def _unread(server: Listening, token: bytes = b"alpha-admin", receive_buffer: int = 4096) -> Client:
    """A client that asks for a large answer and does not read it."""
    client = await server.connect(receive_buffer)
    await server.settle(lambda: len([one for one in server.protocols if not one._heads]) == 1)
    (protocol,) = (one for one in server.protocols if not one._heads)
    await client.send(sized(*ASK, token=b"Authorization: Bearer %b\r\n" % token))
    await server.settle(lambda: protocol.unread() > MIB)
    return client


@pytest.mark.usefixtures("large")
async def test_an_answer_that_is_not_read_is_waited_for_only_so_long(world: World) -> None:
    async with listening(world) as server:
        await _unread(server)
        assert server.protocol.unread() > MIB
        _later(server, 19.9)
        assert not server.refusals
        _later(server, 20.1)
        assert server.refusals == ["write_deadline"]
        await server.settle(lambda: not server.protocols)


@pytest.mark.usefixtures("large")
async def test_an_answer_that_is_read_steadily_arrives_whole(world: World) -> None:
    async with listening(world) as server:
        client = await _unread(server, receive_buffer=256 * 1024)
        now = asyncio.get_running_loop().time()
        for turn in range(3):
            server.connections.look(now + turn * 15)
            before = server.protocol.unread()
            while server.protocol.unread() > before - MIB:
                client._rest += await client._more()
        one = await client.response()
        assert one is not None
        assert len(one.body) > 16 * MIB
        assert not server.refusals


@pytest.mark.usefixtures("large")
async def test_answers_that_wait_are_bounded_in_all_and_the_longest_unread_goes_first(world: World) -> None:
    async with listening(world, Bounds(unread_bytes=20 * MIB)) as server:
        first = None
        for token in (b"alpha-admin", b"beta-admin", b"alpha-viewer", b"alpha-admin"):
            await _unread(server, token)
            first = first or server.protocol
            assert sum(one.unread() for one in server.protocols) <= 20 * MIB
        assert set(server.refusals) == {"unread_bytes"}
        await server.settle(lambda: first not in server.protocols)


@pytest.mark.usefixtures("large")
async def test_answers_that_wait_are_bounded_by_caller_when_it_stops_reading(world: World) -> None:
    async with listening(world, Bounds(unread_bytes_per_caller=20 * MIB)) as server:
        for token in (b"alpha-admin", b"alpha-admin", b"beta-admin"):
            await _unread(server, token)
        now = asyncio.get_running_loop().time()
        server.connections.look(now)
        assert not server.refusals, "a caller may be slow for a moment"
        server.connections.look(now + 5)
        assert server.refusals == ["unread_bytes"]
        await server.settle(lambda: len(server.protocols) == 2)
        assert {one.account[0] for one in server.protocols} == {"alpha", "beta"}


# How many


async def test_connections_are_bounded_by_address(world: World) -> None:
    async with listening(world, Bounds(connections_per_address=2)) as server:
        kept = [await server.connect() for _ in range(2)]
        await server.settle(lambda: len(server.protocols) == 2)
        third = await server.connect()
        assert await _status(third) == 429
        assert server.refusals == ["connections_per_address"]
        kept[0].close()
        await server.settle(lambda: len(server.protocols) == 1)
        again = await server.connect()
        await again.send(sized(*REST))
        assert await _is_served(again)


def test_connections_of_a_trusted_proxy_have_no_bound_by_address() -> None:
    registry = Connections(Bounds(connections_per_address=1), is_proxy=lambda address: address == "a")
    loop: Any = _NoLoop()
    assert [registry.opened(_Stub(1, 0, 0.0, []), loop) for _ in range(3)] == [None] * 3
    others = [_Stub(1, 0, 0.0, []) for _ in range(2)]
    for one in others:
        one.address = "b"
    assert [registry.opened(one, loop) for one in others] == [None, "connections_per_address"]


class _NoLoop:
    def call_later(self, *_: Any) -> None:
        """No look is taken."""


async def test_connections_are_bounded_in_all(world: World) -> None:
    async with listening(world, Bounds(connections=1)) as server:
        await server.connect()
        await server.settle(lambda: len(server.protocols) == 1)
        for _ in range(5):
            assert await _status(await server.connect()) == 503
        assert server.refusals == ["connections"] * 5


async def test_connections_that_are_idle_give_way_to_new_ones_the_idlest_first(world: World) -> None:
    async with listening(world, Bounds(connections=3)) as server:
        clients = [await server.connect() for _ in range(3)]
        for client in (clients[1], clients[0], clients[2], clients[1]):  # the last is the newest in use again
            await client.send(sized(REST[0], INVOKE))
            assert await _is_served(client)
        assert len(server.connections.idle) == 3
        for gone in (clients[0], clients[2], clients[1]):
            new = await server.connect()
            await new.send(HEAD)  # waits for the rest of its head: it is not idle
            assert await gone.response() is None
        await server.settle(lambda: len(server.protocols) == 3)
        assert await _status(await server.connect()) == 503
        assert server.refusals == ["connections"]
    assert not server.connections.idle


def test_connections_leave_descriptors_for_everything_else() -> None:
    def most(allowed: int | None) -> int:
        return Connections(Bounds(connections=1000), descriptors=lambda: allowed).most

    assert [most(allowed) for allowed in (None, 100_000, 1024, 256, 64)] == [1000, 1000, 768, 128, 1]


def test_connections_are_told_of_when_no_descriptor_is_left() -> None:
    told: list[tuple[Reason, str, str]] = []
    registry = Connections(Bounds(), lambda *said: told.append(said), can_open=lambda: False)
    registry.look(0.0)
    ((reason, words, address),) = told
    assert (reason, address) == ("descriptors", "")
    assert "limit on open files" in words


def test_connections_that_are_refused_name_the_setting_and_the_address() -> None:
    told: list[tuple[Reason, str, str]] = []
    registry = Connections(Bounds(connections=7), lambda *said: told.append(said), descriptors=lambda: None)
    registry.report("connections", "192.0.2.1")
    ((_, words, address),) = told
    assert "all 7" in words
    assert "MAX_CONNECTIONS" in words
    assert address == "192.0.2.1"


class _Stub:
    def __init__(self, caller: int, size: int, idle: float, closed: list[Any]) -> None:
        self.address = "a"
        self.account = (caller % 2, caller)
        self.idle_since = idle
        self._size = size
        self._closed = closed

    def unread(self) -> int:
        return self._size

    def note_reading(self, now: float) -> bool:
        return now < 0

    def overdue(self, now: float) -> Reason | None:
        return None if now >= 0 else "head_deadline"

    def expel(self, reason: Reason) -> None:
        self._closed.append((self, reason))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60), st.integers(0, 9)), max_size=12))
def test_answers_that_wait_always_fit_and_no_more_are_closed_than_must(waiting: list[tuple[int, int, int]]) -> None:
    closed: list[tuple[_Stub, Reason]] = []
    bounds = Bounds(unread_bytes=100, unread_bytes_per_tenant=1000, unread_bytes_per_caller=2000)
    registry = Connections(bounds)
    stubs = [_Stub(caller, size, idle, closed) for caller, size, idle in waiting]
    for one in stubs:
        registry.stalled(one, 10.0)
    gone = {id(one) for one, _ in closed}
    kept = [one for one in stubs if id(one) not in gone]
    assert sum(one.unread() for one in kept) <= 100
    assert sum(one.unread() for one in stubs) > 100 or not closed


def test_bodies_that_came_whole_are_small() -> None:
    assert Bounds().head_bytes <= SMALL_BYTES


class _Loop:
    """Keeps what it is asked to call."""

    def __init__(self) -> None:
        self.later: list[Callable[[], object]] = []

    def time(self) -> float:
        return 0.0

    def call_later(self, _: float, callback: Callable[..., object], *args: Any) -> object:
        self.later.append(lambda: callback(*args))
        return self

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        return self.call_later(0, callback, *args)


class _Counting(_Stub):
    looked_at = 0

    def overdue(self, now: float) -> Reason | None:
        _Counting.looked_at += 1
        return super().overdue(now)

    def shutdown(self) -> None:
        self._closed.append((self, "idle"))


def test_thousands_of_connections_are_looked_at_in_pieces() -> None:
    loop, closed = _Loop(), list[Any]()
    registry = Connections(Bounds(connections=5000, connections_per_address=5000), descriptors=lambda: None)
    for number in range(2000):
        one = cast("Any", _Counting(number, 0, 0, closed))
        registry.opened(one, cast("Any", loop))
        registry.idle[one] = -1.0  # its keep-alive time is over
    _Counting.looked_at = 0
    turns: list[int] = []
    while len(loop.later) == 1 and len(closed) < 2000:
        before = _Counting.looked_at + len(closed)
        loop.later.pop()()
        turns.append(_Counting.looked_at + len(closed) - before)
    assert (_Counting.looked_at, len(closed)) == (2000, 2000)
    assert max(turns) <= 128  # the last of those that are looked at, and the first that end
