"""Bodies of requests: read for known callers only, within bounds of each caller, tenant and all together."""

import asyncio
import codecs
import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.interfaces.doors import Answer, World, add_tools, send
from tests.interfaces.http.test_framing import DOORS

from stoa.domain.access.identity import Principal
from stoa.domain.errors import BodiesFull, BodyTooLarge, InvalidInput, QuotaExceeded
from stoa.domain.metering.event import Status
from stoa.interfaces.wire.bodies import BODY_LIMIT, SMALL_BYTES, Bodies, BodyIncomplete, Share, declared_length

LARGE = SMALL_BYTES + 1


def _principal(tenant: str, number: int = 0) -> Principal:
    return Principal(subject=f"{tenant}-{number}", tenant=tenant, roles=frozenset({"viewer"}))


def _in(*chunks: bytes, gone: bool = False) -> Any:
    left = list(chunks)

    async def receive() -> Any:
        if not left:
            assert gone, "more was read than the body"
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or gone}

    return receive


async def _nothing() -> Any:
    raise AssertionError("the body was read")


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.booleans())
async def test_a_body_is_what_was_sent_and_nothing_stays_held(chunks: list[bytes], is_declared: bool) -> None:
    bodies = Bodies()
    share = Share(bodies, _principal("a"))
    whole = b"".join(chunks)
    assert await share.read(len(whole) if is_declared else None, _in(*chunks)) == whole
    assert share.size == bodies.held_bytes
    share.release()
    share.release()
    assert bodies.held_bytes == 0


async def test_a_small_body_that_came_whole_counts_nothing() -> None:
    bodies = Bodies(total=0, tenant=0, caller=0)
    assert len(await Share(bodies, _principal("a")).read(SMALL_BYTES, _in(b"x" * SMALL_BYTES))) == SMALL_BYTES


async def test_a_body_is_counted_before_it_is_read() -> None:
    bodies = Bodies(total=3 * LARGE, tenant=2 * LARGE, caller=LARGE)
    first = Share(bodies, _principal("a"))
    await first.read(LARGE, _in(b"x" * LARGE))
    with pytest.raises(QuotaExceeded):
        await Share(bodies, _principal("a")).read(LARGE, _nothing)
    second = Share(bodies, _principal("a", 1))
    await second.read(None, _in(b"x", b"x" * SMALL_BYTES))
    with pytest.raises(QuotaExceeded):
        await Share(bodies, _principal("a", 2)).read(LARGE, _nothing)
    await Share(bodies, _principal("b")).read(LARGE, _in(b"x" * LARGE))
    with pytest.raises(BodiesFull):
        await Share(bodies, _principal("c")).read(LARGE, _nothing)
    first.release()
    await Share(bodies, _principal("c")).read(LARGE, _in(b"x" * LARGE))


async def test_a_body_in_chunks_is_counted_as_it_comes() -> None:
    bodies = Bodies(caller=100)
    share = Share(bodies, _principal("a"))
    with pytest.raises(QuotaExceeded):
        await share.read(None, _in(b"x" * 60, b"x" * 60, b"x" * 60))
    assert share.size == 60
    share.release()
    assert bodies.held_bytes == 0


async def test_a_body_beyond_the_limit_is_not_read_to_its_end() -> None:
    share = Share(Bodies(), _principal("a"))
    with pytest.raises(BodyTooLarge):
        await share.read(BODY_LIMIT + 1, _nothing)
    for chunks in ([b"x" * (BODY_LIMIT + 1)], [b"x" * BODY_LIMIT, b"x", b"never"]):
        with pytest.raises(BodyTooLarge):
            await share.read(None, _in(*chunks))


@pytest.mark.parametrize("chunks", [(), (b'{"a": 1}',), (b"{", b"}")])
async def test_a_body_that_breaks_off_is_no_body(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(BodyIncomplete):
        await Share(Bodies(), _principal("a")).read(None, _in(*chunks, gone=True))


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"content-length", b"0")], 0),
        ([(b"content-length", b" 17 ")], 17),
        ([(b"content-length", b"9" * 5000)], BODY_LIMIT + 1),
        ([(b"content-length", b"x")], 0),
        ([(b"content-length", "²".encode("latin-1"))], 0),
        ([(b"transfer-encoding", b"chunked")], None),
    ],
)
def test_a_bodys_length_is_read_from_the_headers(headers: Any, length: int | None) -> None:
    assert declared_length(headers) == length


@DOORS
async def test_a_refused_callers_body_is_never_asked_for(world: World, path: bytes, body: bytes) -> None:
    sent: list[Any] = []

    async def emit(message: Any) -> None:
        sent.append(message)

    for token in (None, b"nonsense"):
        headers = [(b"host", b"localhost"), (b"content-length", b"4000000"), (b"content-type", b"application/json")]
        if token is not None:
            headers.append((b"authorization", b"Bearer " + token))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path.decode(), "raw_path": path, "query_string": b"", "root_path": "", "headers": headers,
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        sent.clear()
        await asyncio.wait_for(world.app(scope, _nothing, emit), 10)
        assert sent[0]["status"] == 401
        assert (b"connection", b"close") in sent[0]["headers"]
    assert body


@DOORS
@pytest.mark.parametrize(
    ("bodies", "status"), [(Bodies(caller=100), 429), (Bodies(tenant=100), 429), (Bodies(total=100), 503)]
)
async def test_a_body_beyond_the_bytes_under_way_is_refused_with_when_to_come_back(
    path: bytes, body: bytes, bodies: Bodies, status: int
) -> None:
    world = World(bodies=bodies)
    add_tools(world.gateway)
    headers = {
        "authorization": "Bearer alpha-admin",
        "content-type": "application/json",
        "content-length": str(LARGE),
        "accept": "application/json",
    }
    answer = await send(world.app, "POST", path.decode(), headers=headers, body=body + b" " * (LARGE - len(body)))
    assert answer.status == status
    assert answer.header("connection") == "close"
    assert (answer.header("retry-after") is not None) == (status == 429)
    assert bodies.held_bytes == 0
    small = await send(
        world.app, "POST", path.decode(), headers=headers | {"content-length": str(len(body))}, body=body
    )
    assert small.status == 200, "an ordinary call is not concerned"


CODINGS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "GZIP": gzip.compress}


@given(st.sampled_from(list(CODINGS)), st.binary(max_size=200), st.integers(0, 3000), st.integers(1, 400))
async def test_coded_body_is_what_was_coded(coding: str, piece: bytes, times: int, cut: int) -> None:
    whole = piece * times
    coded = CODINGS[coding](whole)
    bodies = Bodies()
    share = Share(bodies, _principal("a"))
    chunks = [coded[start : start + cut] for start in range(0, len(coded), cut)]
    assert await share.read_coded(None, _in(*chunks), coding) == whole
    share.release()
    assert bodies.held_bytes == 0


@given(st.sampled_from(["gzip", "deflate"]), st.binary(min_size=1, max_size=300), st.data())
async def test_coded_body_that_is_cut_off_or_goes_on_is_refused(coding: str, whole: bytes, data: st.DataObject) -> None:
    coded = CODINGS[coding](whole)
    end = data.draw(st.integers(0, len(coded) - 1))
    for wrong in (coded[:end], coded + b"x", b"{}" + coded):
        with pytest.raises(InvalidInput):
            await Share(Bodies(), _principal("a")).read_coded(len(wrong), _in(wrong), coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_coded_body_is_bounded_by_what_it_unfolds_to(coding: str) -> None:
    exact, beyond = (CODINGS[coding](bytes(size)) for size in (BODY_LIMIT, BODY_LIMIT + 1))
    assert len(await Share(Bodies(), _principal("a")).read_coded(len(exact), _in(exact), coding)) == BODY_LIMIT
    with pytest.raises(BodyTooLarge):
        await Share(Bodies(), _principal("a")).read_coded(len(beyond), _in(beyond), coding)
    bodies = Bodies(total=1 << 30, tenant=1 << 30, caller=SMALL_BYTES)
    with pytest.raises(QuotaExceeded):
        await Share(bodies, _principal("a")).read_coded(len(exact), _in(exact), coding)


async def test_coded_bomb_is_left_before_it_unfolds() -> None:
    bomb = zlib.compress(bytes(200 * BODY_LIMIT))
    assert len(bomb) < BODY_LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            await Share(Bodies(), _principal("a")).read_coded(len(bomb), _in(bomb), "deflate")
        assert tracemalloc.get_traced_memory()[1] < 4 * BODY_LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "identity, gzip"])
@DOORS
async def test_coding_that_is_not_understood_is_named(world: World, path: bytes, body: bytes, coding: str) -> None:
    answer = await _post(world, path, body, coding)
    assert answer.status == 415
    assert b"gzip, deflate" in answer.body
    assert not [event for event in world.events if event.status is Status.SUCCESS]


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
@DOORS
async def test_coded_request_is_served(world: World, path: bytes, body: bytes, coding: str) -> None:
    coded = CODINGS.get(coding, bytes)(codecs.BOM_UTF8 + body)
    answer = await _post(world, path, coded, coding)
    assert answer.status == 200
    assert b"42" in answer.body
    broken = await _post(world, path, coded[:-1] if coding != "identity" else b"{", coding)
    assert broken.status == 400


async def _post(world: World, path: bytes, body: bytes, coding: str) -> Answer:
    headers = {
        "authorization": "Bearer alpha-admin",
        "content-type": "application/json",
        "accept": "application/json",
        "content-encoding": coding,
        "content-length": str(len(body)),
    }
    return await send(world.app, "POST", path.decode(), headers=headers, body=body)
