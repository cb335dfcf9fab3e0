"""The HTTP/1.1 client and real servers: the responses that aiohttp gets, on one kept connection."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from tests.live.http_servers import Go, Java, Nginx, Node, Python, Uvicorn
from tests.live.servers import LiveServer, running
from yarl import URL

from stoa.infrastructure.http_client.http1 import Http1Client, Response
from stoa.infrastructure.http_client.http1.pool import origin_of

ROUNDS = 20
CLOSING = {"python"}
"""Servers that speak HTTP/1.0."""
_VARYING = {"date"}


@pytest.fixture(scope="module", params=[Nginx, Node, Go, Java, Python, Uvicorn], ids=lambda kind: str(kind.name))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(request.param, tmp_path_factory.mktemp(request.param.name)) as server:
        yield server


async def test_http1_client_gets_from_a_real_server_what_aiohttp_gets(server: LiveServer) -> None:
    http = Http1Client(None)
    origin = origin_of(URL(server.url))
    requests = [("GET", "/a", None), ("HEAD", "/a", None), ("POST", "/a", b"body"), ("DELETE", "/a", None)]
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for method, path, body in requests * ROUNDS:
            async with asyncio.timeout(20):
                response = await http.request(origin, method, path, {}, body, 100_000)
            async with session.request(method, server.url + path, data=body) as expected:
                content = await expected.read()
                headers = {name.lower(): value for name, value in expected.headers.items()}
            assert (response.status, response.reason, response.body) == (expected.status, expected.reason, content)
            assert _compared(_headers_of(response)) == _compared(headers)
    assert len(http.pool(origin).connections) == (0 if server.name in CLOSING else 1)
    await http.close()


async def test_http1_client_calls_a_real_server_many_times_at_once(server: LiveServer) -> None:
    http = Http1Client(None, max_connections=8)
    origin = origin_of(URL(server.url))
    async with asyncio.timeout(60):
        responses = await asyncio.gather(
            *(http.request(origin, "GET", f"/{number}", {}, None, 1000) for number in range(200))
        )
    assert [response.body for response in responses] == [b"/%d" % number for number in range(200)]
    await http.close()


def _headers_of(response: Response) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in response.headers}


def _compared(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _VARYING}
