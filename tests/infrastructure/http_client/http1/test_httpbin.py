"""The client and aiohttp's against httpbin: the same requests at the server, and the same responses."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.http_client.http1.peer import client
from yarl import URL

from stoa.infrastructure.http_client.http1.pool import Origin, origin_of

PROGRAM = Path(__file__).parents[3] / "e2e" / "httpbin_server.py"
EXAMPLES = 150
_VARYING = {"date"}
_ENDLESS = 1 << 20


@pytest.fixture(scope="module")
def httpbin() -> Iterator[Origin]:
    command = [sys.executable, "-W", "ignore", str(PROGRAM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield origin_of(URL(f"http://127.0.0.1:{int(process.stdout.readline())}"))
        finally:
            process.kill()


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None


WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), min_size=1, max_size=20).map(
    lambda text: text.strip() or "x"
)
SEEDS, SIZES = st.integers(0, 99), st.integers(0, 40_000)


def _of(target: st.SearchStrategy[str], methods: tuple[str, ...] = ("GET",)) -> st.SearchStrategy[Request]:
    return st.builds(Request, st.sampled_from(methods), target)


def _echoing(word: str, value: str) -> str:
    return f"/anything/{word}?q={quote(value, safe='')}"


ECHOED = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    st.builds(_echoing, WORDS, VALUES),
    st.dictionaries(WORDS.map("X-{}".format), VALUES.filter(str.isascii), max_size=4),
    st.one_of(st.none(), st.binary(min_size=1, max_size=2000)),
)
RECEIVED = st.one_of(
    _of(st.sampled_from([200, 201, 204, 301, 304, 400, 401, 404, 418, 429, 500, 503]).map("/status/{}".format)),
    _of(st.builds("/bytes/{}?seed={}".format, SIZES, SEEDS), ("GET", "HEAD")),
    _of(st.builds("/stream-bytes/{}?seed={}&chunk_size={}".format, SIZES, SEEDS, st.integers(100, 9000))),
    _of(st.integers(1, 20).map("/stream/{}".format), ("GET", "HEAD")),
    _of(st.builds("/range/{}?chunk_size={}".format, st.integers(1, 5000), st.integers(10, 700))),
    _of(st.builds("/drip?numbytes={}&duration=0&code={}".format, st.integers(1, 50), st.sampled_from([200, 500]))),
    # Without /gzip: its body holds the time.
    _of(st.sampled_from(["/deflate", "/brotli", "/image/png", "/encoding/utf8", "/deny", "/redirect/2"])),
    _of(st.builds("/response-headers?X-{}={}".format, WORDS, WORDS)),
)
Seen = tuple[int, str, dict[str, str], bytes]


@pytest.mark.timeout(600)  # seconds, on a quiet machine
@settings(max_examples=EXAMPLES)
@given(requests=st.lists(st.one_of(ECHOED, RECEIVED), min_size=3, max_size=3))
async def test_httpbin_sees_the_same_requests_and_gives_the_same_responses(
    httpbin: Origin, requests: list[Request]
) -> None:
    """Three in a row on a kept connection. httpbin's /anything answers with the request as it was read."""
    skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
    async with (
        client() as http,
        aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=skipped
        ) as session,
    ):
        for request in requests:
            url = URL(f"http://127.0.0.1:{httpbin.port}{request.target}", encoded=True)
            async with (
                asyncio.timeout(20),
                session.request(
                    request.method, url, headers=request.headers, data=request.body, allow_redirects=False
                ) as response,
            ):
                fields = {name.lower(): value for name, value in response.headers.items()}
                expected: Seen = (response.status, response.reason or "", _compared(fields), await response.read())
            async with asyncio.timeout(20):
                ours = await http.request(
                    httpbin, request.method, request.target, request.headers, request.body, _ENDLESS
                )
            fields = {name.decode(): value.decode("latin-1") for name, value in ours.headers}
            assert (ours.status, ours.reason, _compared(fields), ours.body) == expected


def _compared(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _VARYING}
