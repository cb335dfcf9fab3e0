"""Requests that are sent twice: documented in docs/manifests.md, and no others are."""

import pytest
from tests.infrastructure.rest.loopback import Last, Seen, answer, called, loopback, rest_backend, rest_tool

from stoa.domain.errors import BackendProtocolError, BackendUnavailable


def _closing_kept_connections(count: dict[str, int]):
    """Answers the first request, and hangs up on the second, which comes on the same connection."""

    def answered(_: Seen) -> bytes | None:
        count["requests"] += 1
        return None if count["requests"] == 2 else answer()

    return answered


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_repeated_is_a_request_that_may_be_when_a_kept_connection_was_closed(method):
    count = {"requests": 0}
    async with loopback(_closing_kept_connections(count)) as server, rest_backend() as backend:
        tool = rest_tool(server.url, method=method)
        await called(backend, tool)
        assert not (await called(backend, tool)).is_error
    assert count["requests"] == 3
    assert server.connections == 2


async def test_repeated_is_never_a_post():
    count = {"requests": 0}
    async with loopback(_closing_kept_connections(count)) as server, rest_backend() as backend:
        tool = rest_tool(server.url, method="POST")
        await called(backend, tool)
        with pytest.raises(BackendUnavailable):
            await called(backend, tool)
    assert count["requests"] == 2


async def test_repeated_is_a_request_once_at_most():
    async with loopback(lambda _: None) as server, rest_backend() as backend:
        with pytest.raises(BackendUnavailable):
            await called(backend, rest_tool(server.url))
    assert len(server.seen) == 2


async def test_repeated_is_nothing_once_an_answer_has_begun():
    cut = Last(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    async with loopback(lambda _: cut) as server, rest_backend() as backend:
        with pytest.raises(BackendProtocolError):
            await called(backend, rest_tool(server.url))
    assert len(server.seen) == 1


async def test_unsent_is_a_call_whose_back_end_cannot_be_reached():
    async with rest_backend() as backend:
        with pytest.raises(BackendUnavailable) as away:
            await called(backend, rest_tool("http://127.0.0.1:1"))
    assert away.value.nothing_was_sent


async def test_unsent_is_no_call_whose_connection_was_lost_with_its_request():
    async with loopback(lambda _: None) as server, rest_backend() as backend:
        for method in ("GET", "POST"):
            with pytest.raises(BackendUnavailable, match="may have taken effect") as lost:
                await called(backend, rest_tool(server.url, method=method))
            assert not lost.value.nothing_was_sent


async def test_unsent_is_no_call_that_was_redirected_before_it_failed():
    def answered(seen: Seen) -> bytes | None:
        if seen.target.endswith("/new"):
            return None
        return Last(answer(b"", status="302 Found", more="Location: /new\r\n"))

    async with loopback(answered) as server, rest_backend() as backend:
        with pytest.raises(BackendUnavailable) as lost:
            await called(backend, rest_tool(server.url))
        assert not lost.value.nothing_was_sent
