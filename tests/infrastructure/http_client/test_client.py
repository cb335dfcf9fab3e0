"""The client of small answers: guarded, bounded, and nothing of what the surroundings would add."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.infrastructure.rest.loopback import answer, loopback

import stoa.infrastructure.http_client.aiohttp_session as source
from stoa.infrastructure.http_client import PUBLIC_ONLY, ForbiddenAddress, OutboundRules
from stoa.infrastructure.http_client.client import HttpClient
from stoa.infrastructure.http_client.failures import NotConnected, ResponseTooLong


@asynccontextmanager
async def client(rules: OutboundRules | None = None) -> AsyncIterator[HttpClient]:
    http = HttpClient(rules, None, timeout_seconds=5, max_answer_bytes=100)
    try:
        yield http
    finally:
        await http.close()


@pytest.mark.parametrize("length", [0, 99, 100, 101, 5000])
async def test_http_client_gives_answers_up_to_its_bound_and_no_longer_ones(length: int) -> None:
    async with loopback(lambda _: answer(body=b"a" * length)) as server, client() as http:
        if length <= 100:
            assert (await http.request("GET", server.url)).body == b"a" * length
        else:
            with pytest.raises(ResponseTooLong, match="more than 100 bytes"):
                await http.request("GET", server.url)


async def test_http_client_connects_only_where_its_rules_allow() -> None:
    async with loopback(lambda _: answer()) as server, client(PUBLIC_ONLY) as http:
        with pytest.raises(NotConnected) as caught:
            await http.request("GET", server.url)
        assert isinstance(caught.value.__cause__, ForbiddenAddress)
        assert server.seen == []


async def test_http_client_follows_no_redirect_and_keeps_no_cookie() -> None:
    more = "Location: /elsewhere\r\nSet-Cookie: a=b; Path=/\r\n"
    async with loopback(lambda _: answer(status="302 Found", more=more)) as server, client() as http:
        assert [(await http.request("GET", server.url)).status for _ in range(2)] == [302, 302]
        assert [seen.header("Cookie") for seen in server.seen] == [None, None]
        assert {seen.target for seen in server.seen} == {"/"}


async def test_http_client_is_used_again_after_it_was_closed() -> None:
    async with loopback(lambda _: answer()) as server, client() as http:
        for _ in range(2):
            assert (await http.request("GET", server.url)).status == 200
            await http.close()


def test_sessions_of_aiohttp_are_opened_in_one_place_only() -> None:
    own = Path(source.__file__)
    sources = own.parents[1].rglob("*.py")
    opening = [path for path in sources if "aiohttp.ClientSession(" in path.read_text("utf-8")]
    kubernetes = own.parents[1] / "kubernetes/api/connection.py"  # the API server is the operator's, not an author's
    assert sorted(opening) == sorted([own, kubernetes])
