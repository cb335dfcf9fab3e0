"""The client and aiohttp's get the same responses from the same peers: a differential test over generated exchanges."""

import asyncio
from dataclasses import dataclass

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.http_client.http1.peer import Peer, Wire, asked, client, peer

from stoa.infrastructure.http_client.failures import HttpFailure
from stoa.infrastructure.http_client.http1 import Http1Client, Response

EXAMPLES = 3000

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_", min_size=1, max_size=12)
FRAMING = {"content-length", "transfer-encoding", "connection", "content-encoding", "keep-alive", "upgrade", "te"}
NAMES = TOKENS.filter(lambda name: name.lower() not in FRAMING)
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20).map(str.strip)
BODIES = st.binary(max_size=200)
STATUSES = st.sampled_from([200, 201, 202, 204, 206, 301, 304, 400, 401, 404, 418, 429, 500, 503, 599])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


@dataclass(frozen=True)
class Exchange:
    method: str
    response: bytes
    closes: bool
    pieces: tuple[int, ...]
    """Where the peer pauses in sending."""


@dataclass(frozen=True)
class Seen:
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    wire, at = b"", 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
        wire += (
            draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % size + extension + b"\r\n" + body[at : at + size] + b"\r\n"
        )
        at += size
    trailers = draw(st.lists(st.tuples(NAMES, NAMES), max_size=2))
    return wire + b"0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in trailers) + b"\r\n"


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    method, status, body = draw(METHODS), draw(STATUSES), draw(BODIES)
    reason = draw(st.sampled_from(["OK", "Not Found", "", "A longer reason"]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    lines = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))]
    has_body = method != "HEAD" and status not in {204, 304}
    framing = draw(st.sampled_from(["sized", "chunked", "close"])) if version == "1.1" else "sized"
    closes = framing == "close" or draw(st.booleans())
    if closes:
        lines.append("Connection: close")
    content = b""
    if framing == "sized":
        lines.append(f"Content-Length: {len(body)}")
        content = body
    elif framing == "chunked":
        lines.append(draw(st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding: Chunked"])))
        content = draw(chunked(body))
    else:
        content = body
    lines = draw(st.permutations(lines))
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n"]))
    head = "".join(f"{line}\r\n" for line in [f"HTTP/{version} {status} {reason}".rstrip(), *lines, ""])
    wire = (interim if version == "1.1" else b"") + head.encode("latin-1") + (content if has_body else b"")
    pieces = draw(st.lists(st.integers(1, max(1, len(wire) - 1)), max_size=4))
    return Exchange(method, wire, closes or version == "1.0", tuple(sorted(set(pieces))))


async def _by_aiohttp(session: aiohttp.ClientSession, server: Peer, method: str) -> Seen | None:
    url = f"http://127.0.0.1:{server.origin.port}/"
    try:
        async with asyncio.timeout(20), session.request(method, url, allow_redirects=False) as response:
            body = await response.read()
            headers = tuple((name.lower(), value) for name, value in response.headers.items())
            return Seen(response.status, response.reason or "", headers, body)
    except aiohttp.ClientError:
        return None


async def _by_http1(http: Http1Client, server: Peer, method: str) -> Seen | None:
    try:
        response = await asked(http, server, method)
    except HttpFailure:
        return None
    return _seen(response, response.body)


async def _by_http1_in_pieces(http: Http1Client, server: Peer, method: str) -> Seen | None:
    try:
        async with asyncio.timeout(20), await http.request(server.origin, method, "/", {}, None, None) as response:
            body = await response.read(100_000)
    except HttpFailure:
        return None
    return _seen(response.head, body)


def _seen(response: Response, body: bytes) -> Seen:
    headers = tuple((name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in response.headers)
    return Seen(response.status, response.reason, headers, body)


@pytest.mark.timeout(600)  # a quarter of a minute, on a quiet machine
@settings(max_examples=EXAMPLES // 3)
@given(st.lists(exchanges(), min_size=3, max_size=3))
async def test_responses_are_those_that_aiohttp_gets(sequence: list[Exchange]) -> None:
    """Three exchanges in a row, on kept connections where the peer keeps them."""
    current = sequence[0]

    async def serve(wire: Wire) -> None:
        while True:
            await wire.request()
            start = 0
            for end in (*current.pieces, len(current.response)):
                await wire.send(current.response[start:end])
                await asyncio.sleep(0)
                start = end
            if current.closes:
                return

    async with (
        peer(serve) as server,
        client() as http,
        aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        for current in sequence:
            expected = await _by_aiohttp(session, server, current.method)
            assert expected is not None
            assert await _by_http1(http, server, current.method) == expected
            assert await _by_http1_in_pieces(http, server, current.method) == expected
