"""RestBackend against a peer on a loopback socket: what goes over the wire, and what becomes of each answer."""

import asyncio
import gzip
import json
import random
import socket
import zlib
from urllib.parse import urlsplit

import pytest
from tests.infrastructure.rest.loopback import (
    Last,
    Seen,
    answer,
    called,
    context_of,
    loopback,
    rest_backend,
    rest_tool,
)

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.domain.results.result import TextContent, shape
from stoa.infrastructure.http_client import PUBLIC_ONLY
from stoa.infrastructure.rest import RestBackend

ID = {"argument": "id", "name": "id", "location": "path", "style": "simple", "explode": False}


async def test_the_request_is_what_the_binding_says_and_carries_nothing_of_the_caller():
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        await called(
            backend,
            rest_tool(f"{server.url}/v1", method="POST", body={"media_type": "application/json", "argument": "b"}),
            b={"a": 1},
        )

    (seen,) = server.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/pets", b'{"a":1}')
    names = {name.lower() for name, _ in seen.headers}
    assert names == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "x-request-id",
        "content-type",
        "content-length",
    }
    assert seen.header("X-Request-ID") == "request-1"
    assert (seen.header("User-Agent") or "").startswith("stoa-mcp-gateway/")


async def test_a_post_without_body_declares_no_content_type():
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        await called(backend, rest_tool(server.url, method="POST"))

    assert server.seen[0].header("Content-Type") is None
    assert server.seen[0].header("Content-Length") == "0"


@pytest.mark.parametrize(("value", "sent"), [("a..b", "a..b"), ("...", "..."), ("x/admin?x#y", "x%2Fadmin%3Fx%23y")])
async def test_a_path_value_arrives_encoded_and_in_its_own_segment(value, sent):
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        await called(backend, rest_tool(f"{server.url}/v1", path="/pets/{id}/toys", parameters=[ID]), id=value)

    assert server.seen[0].target == f"/v1/pets/{sent}/toys"


async def test_an_answer_keeps_body_type_charset_and_place():
    def served(seen: Seen) -> bytes:
        return answer("Grüße".encode("latin-1"), media_type='Text/Plain; Charset="ISO-8859-1"')

    query = {"argument": "q", "name": "q", "location": "query", "style": "form", "explode": True}
    async with loopback(served) as server, rest_backend() as backend:
        given = await called(backend, rest_tool(server.url, parameters=[query]), q="private")

    assert (given.media_type, given.charset, given.is_error) == ("text/plain", "iso-8859-1", False)
    assert given.uri == f"{server.url}/pets"
    assert shape(given).content == (TextContent("Grüße"),)


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Oops", "304 Not Modified"])
async def test_a_refusal_is_an_error_result_with_status_and_text(status):
    body = b"" if status.startswith("304") else b'{"detail":"no such pet"}'
    async with loopback(lambda _: answer(body, status=status)) as server, rest_backend() as backend:
        result = shape(await called(backend, rest_tool(server.url)))

    assert result.is_error
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert block.text == f"{status}\n{body.decode()}".strip()


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "202 Accepted"])
async def test_success_without_content_says_so(status):
    async with loopback(lambda _: answer(b"", status=status)) as server, rest_backend() as backend:
        assert shape(await called(backend, rest_tool(server.url))).content == (TextContent(status),)


async def test_head_has_an_answer_without_body():
    head = answer(b"").replace(b"Length: 0", b"Length: 99")
    async with loopback(lambda _: head) as server, rest_backend() as backend:
        assert shape(await called(backend, rest_tool(server.url, method="HEAD"))).content == (TextContent("200 OK"),)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"[1,2]", mtime=0)),
        ("X-GZIP", gzip.compress(b"[1,", mtime=0) + gzip.compress(b"2]", mtime=0)),
        ("deflate", zlib.compress(b"[1,2]")),
        ("deflate", zlib.compress(b"[1,2]", wbits=-15)),
        ("identity", b"[1,2]"),
    ],
)
async def test_packed_answers_are_unpacked(encoding, packed):
    given = answer(packed, more=f"Content-Encoding: {encoding}\r\n")
    async with loopback(lambda _: given) as server, rest_backend() as backend:
        assert shape(await called(backend, rest_tool(server.url))).structured == [1, 2]


async def test_large_packed_answers_are_unpacked_whole():
    body = random.Random(1).randbytes(200_000)
    packed = answer(gzip.compress(body), media_type="image/png", more="Content-Encoding: gzip\r\n")
    async with loopback(lambda _: packed) as server, rest_backend() as backend:
        assert (await called(backend, rest_tool(server.url))).body == body


async def test_streamed_answers_are_put_together():
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n" * 3 + b"3\r\n]]]\r\n0\r\n\r\n"
    async with loopback(lambda _: chunks) as server, rest_backend() as backend:
        assert shape(await called(backend, rest_tool(server.url))).structured == [[[]]]


async def test_an_answer_at_the_limit_is_taken_and_one_beyond_is_cut():
    def served(seen: Seen) -> bytes:
        return answer(b"x" * int(seen.target[1:]))

    async with loopback(served) as server, rest_backend(max_answer_bytes=300_000) as backend:
        whole = await called(backend, rest_tool(server.url, path="/300000"))
        assert (len(whole.body), whole.is_cut) == (300_000, False)
        cut = await called(backend, rest_tool(server.url, path="/300001"))
        assert (len(cut.body), cut.is_cut) == (300_000, True)
        assert len((await called(backend, rest_tool(server.url, path="/3"))).body) == 3


@pytest.mark.parametrize("form", ["length", "chunked", "close"])
async def test_a_tiny_limit_holds_for_an_answer_that_comes_in_one_piece(form):
    given = {
        "length": answer(b"12345"),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n",
        "close": Last(b"HTTP/1.1 200 OK\r\n\r\n12345"),
    }[form]
    async with loopback(lambda _: given) as server, rest_backend(max_answer_bytes=4) as backend:
        cut = await called(backend, rest_tool(server.url))
        assert (cut.body, cut.is_cut, cut.status) == (b"1234", True, "200 OK")


async def test_an_answer_that_is_cut_closes_its_connection_and_the_next_call_has_another():
    served = iter([answer(b"x" * 100_000), answer(b"[1]")])
    async with loopback(lambda _: next(served)) as server, rest_backend(max_answer_bytes=10) as backend:
        assert (await called(backend, rest_tool(server.url))).is_cut
        assert (await called(backend, rest_tool(server.url))).body == b"[1]"
        assert server.connections == 2


@pytest.mark.parametrize("packed", [False, True])
async def test_json_that_is_cut_ends_after_a_whole_entry(packed):
    items = [{"id": number, "text": "a, b] }"} for number in range(1000)]
    body = json.dumps({"next": None, "items": items}).encode()
    given = answer(gzip.compress(body), more="Content-Encoding: gzip\r\n") if packed else answer(body)
    async with loopback(lambda _: given) as server, rest_backend(max_answer_bytes=3_000) as backend:
        result = shape(await called(backend, rest_tool(server.url)))
    count = len(result.structured["items"])
    assert result.structured == {"next": None, "items": items[:count]}
    assert count > 50
    assert "[truncated: what follows the first 3000 bytes of the answer was not read]" in str(result.content)


async def test_long_header_lines_of_an_answer_are_taken():
    given = answer(more=f"Content-Security-Policy: {'a' * 20_000}\r\n")
    async with loopback(lambda _: given) as server, rest_backend() as backend:
        assert (await called(backend, rest_tool(server.url))).status == "200 OK"


async def test_an_empty_form_is_sent_with_its_type():
    body = {"media_type": "application/x-www-form-urlencoded", "fields": {"a": "a"}, "required": True}
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        await called(backend, rest_tool(server.url, method="POST", body=body))

    assert server.seen[0].header("Content-Type") == "application/x-www-form-urlencoded"
    assert server.seen[0].header("Content-Length") == "0"


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_cut():
    bomb = answer(gzip.compress(b"\0" * 20_000_000), more="Content-Encoding: gzip\r\n")
    async with loopback(lambda _: bomb) as server, rest_backend(max_answer_bytes=1_000_000) as backend:
        cut = await called(backend, rest_tool(server.url))
        assert (len(cut.body), cut.is_cut) == (1_000_000, True)


async def test_the_start_of_a_packed_answer_that_is_too_long_is_unpacked():
    noise = random.Random(0).randbytes(100_000)
    given = answer(gzip.compress(noise), more="Content-Encoding: gzip\r\n", media_type="application/x")
    async with loopback(lambda _: given) as server, rest_backend(max_answer_bytes=50_000) as backend:
        cut = await called(backend, rest_tool(server.url))
        assert cut.is_cut
        assert noise.startswith(cut.body)
        assert len(cut.body) > 40_000


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        answer(b"{}", more="Content-Encoding: br\r\n"),
        answer(b"this is no gzip", more="Content-Encoding: gzip\r\n"),
        answer(gzip.compress(b"x" * 100_000, mtime=0)[:-20], more="Content-Encoding: gzip\r\n"),
    ],
)
async def test_what_is_not_http_is_nonsense(nonsense):
    async with loopback(lambda _: nonsense) as server, rest_backend() as backend:
        with pytest.raises(BackendProtocolError, match="global/pets failed"):
            await called(backend, rest_tool(server.url))


async def test_an_answer_that_ends_too_early_is_nonsense():
    half = Last(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
    async with loopback(lambda _: half) as server, rest_backend() as backend:
        with pytest.raises(BackendProtocolError, match="cut short"):
            await called(backend, rest_tool(server.url))


async def test_a_refused_connection_is_unavailable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening
        async with rest_backend() as backend:
            with pytest.raises(BackendUnavailable, match="nothing listens at its address"):
                await called(backend, rest_tool(f"http://127.0.0.1:{unused.getsockname()[1]}"))


async def test_a_connection_closed_without_answer_is_unavailable():
    async with loopback(lambda _: None) as server, rest_backend() as backend:
        with pytest.raises(BackendUnavailable, match="lost"):
            await called(backend, rest_tool(server.url, method="POST"))


async def test_a_connection_that_is_never_made_times_out():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for waiting in (first, second):  # fill the queue of connections that nobody accepts
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            backend = RestBackend(InMemoryCredentialSource(), connect_timeout_seconds=0.05)
            try:
                with pytest.raises(BackendTimedOut):
                    await called(backend, rest_tool(f"http://127.0.0.1:{full.getsockname()[1]}"))
            finally:
                await backend.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
async def test_an_address_that_the_rules_exclude_is_not_connected_to_however_it_is_written(host):
    async with loopback(lambda _: answer()) as server:
        port = urlsplit(server.url).port
        backend = RestBackend(InMemoryCredentialSource(), rules=PUBLIC_ONLY)
        try:
            with pytest.raises((BackendUnavailable, BackendProtocolError)):
                await called(backend, rest_tool(f"http://{host}:{port}"))
        finally:
            await backend.close()
        assert server.connections == 0


async def test_connections_are_reused():
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        for _ in range(5):
            await called(backend, rest_tool(server.url))

    assert server.connections == 1


async def test_an_idle_connection_closed_by_the_back_end_does_not_fail_the_next_call():
    async with loopback(lambda _: Last(answer())) as server, rest_backend() as backend:
        for _ in range(10):
            assert (await called(backend, rest_tool(server.url))).status == "200 OK"


async def test_cookies_of_the_back_end_are_not_kept():
    async with loopback(lambda _: answer(more="Set-Cookie: session=1\r\n")) as server, rest_backend() as backend:
        await called(backend, rest_tool(server.url))
        await called(backend, rest_tool(server.url))

    assert [seen.header("Cookie") for seen in server.seen] == [None, None]


async def test_cancelling_a_call_closes_its_connection():
    reached = asyncio.Event()

    async def never(_: Seen) -> bytes:
        reached.set()
        return await asyncio.get_running_loop().create_future()

    async with loopback(lambda seen: never(seen)) as server, rest_backend() as backend:
        tool = rest_tool(server.url)
        call = asyncio.ensure_future(backend.prepare(tool)({}, context_of(tool)))
        async with asyncio.timeout(5):
            await reached.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.all_closed.wait()


def redirecting(location: str, status: int = 302):
    def served(seen: Seen) -> bytes:
        if seen.target.endswith("/new"):
            return answer(b"" if seen.method == "HEAD" else b"1")
        return answer(b"", status=f"{status} Found", more=f"Location: {location}\r\n")

    return served


@pytest.mark.parametrize("location", ["/v1/new", "new", "{url}/v1/a/../new"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_redirect_below_the_base_is_followed(location, method):
    target = ""
    async with loopback(lambda seen: redirecting(target)(seen)) as server, rest_backend() as backend:
        target = location.format(url=server.url)
        given = await called(backend, rest_tool(f"{server.url}/v1", method=method))

    assert not given.is_error
    assert [seen.target for seen in server.seen] == ["/v1/pets", "/v1/new"]


@pytest.mark.parametrize(
    "location",
    [
        "/new",
        "/v1/../new",
        "/v1/%2e%2e/new",
        "/v1/..%2Fnew",
        "/v1/..;/new",
        "/v1/%252e%252e/new",
        "/v10/new",
        "http://127.0.0.1:1/v1/new",
        "http://other.test/v1/new",
        "//other.test/v1/new",
    ],
)
async def test_a_redirect_elsewhere_is_an_answer_that_says_so(location):
    async with loopback(redirecting(location)) as server, rest_backend() as backend:
        given = await called(backend, rest_tool(f"{server.url}/v1"))

    assert len(server.seen) == 1
    assert (given.is_error, given.status) == (True, "302 Found")
    assert b"redirect was not followed" in given.body
    assert b"other.test" not in given.body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_call_that_may_change_something_is_never_repeated_elsewhere(status):
    async with loopback(redirecting("/v1/new", status)) as server, rest_backend() as backend:
        given = await called(backend, rest_tool(f"{server.url}/v1", method="POST"))

    assert len(server.seen) == 1
    assert given.is_error


async def test_redirects_in_circles_end():
    async with loopback(redirecting("/pets")) as server, rest_backend() as backend:
        with pytest.raises(BackendProtocolError, match="more than 5 redirects"):
            await called(backend, rest_tool(server.url))

    assert len(server.seen) == 6


KEPT = "Location: /pets/7\r\nRetry-After: 5\r\nLink: </a>; rel=next\r\nLink: </b>; rel=prev\r\nETag: W/x\r\n"
SECRET_HEADERS = "Set-Cookie: a=b\r\nWWW-Authenticate: Basic\r\nX-Auth-Token: t\r\nX-Total: 3\r\nX-Other: 4\r\n"


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "429 Too Many Requests", "503 Unavailable"])
async def test_response_headers_that_matter_are_kept_and_no_others(status):
    served = answer(status=status, more=KEPT + SECRET_HEADERS)
    documented = ("X-Total", "Set-Cookie", "X-Missing")
    async with loopback(lambda _: served) as server, rest_backend() as backend:
        given = await called(backend, rest_tool(server.url, response_headers=documented))
    assert given.headers == (
        ("Location", "/pets/7"),
        ("Retry-After", "5"),
        ("Link", "</a>; rel=next, </b>; rel=prev"),
        ("ETag", "W/x"),
        ("X-Total", "3"),
    )


async def test_response_headers_of_a_redirect_that_is_not_followed_are_kept():
    served = answer(status="303 See Other", more="Location: /orders/7\r\n")
    async with loopback(lambda _: served) as server, rest_backend() as backend:
        given = await called(backend, rest_tool(server.url, method="POST"))
    assert (given.is_error, given.headers) == (True, (("Location", "/orders/7"),))


@pytest.mark.parametrize(
    "authentication",
    [
        {"type": "bearer"},
        {"type": "basic"},
        {"type": "apiKey", "location": "query", "parameter_name": "key"},
        {"type": "apiKey", "location": "header", "parameter_name": "X-Key"},
        {"type": "apiKey", "location": "cookie", "parameter_name": "key"},
    ],
)
async def test_response_headers_that_repeat_the_credential_are_left_out(authentication):
    secret = "s3cr=t/+x"
    values = {"token": secret, "username": "u", "password": secret, "apiKey": secret}
    credentials = InMemoryCredentialSource()
    credentials.put(None, "api", values)
    quoted = "s3cr%3Dt%2F%2Bx"
    more = f"Location: /a?key={quoted}\r\nLink: </a?key={secret}&page=2>; rel=next\r\nETag: x\r\n"
    tool_authentication = authentication | {"secret": {"name": "api"}}
    async with loopback(lambda _: answer(more=more)) as server, rest_backend(credentials) as backend:
        given = await called(backend, rest_tool(server.url, tool={"authentication": tool_authentication}))
    assert given.headers == (("ETag", "x"),)


async def test_traceparent_is_sent_as_the_call_says():
    trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True, "a=b")
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        tool = rest_tool(server.url)
        call = backend.prepare(tool)
        for sent in (trace, TraceContext(trace.trace_id, trace.span_id), None):
            context = context_of(tool)
            context.trace = sent
            await call({}, context)
    assert [(seen.header("traceparent"), seen.header("tracestate")) for seen in server.seen] == [
        (trace.traceparent, "a=b"),
        (f"00-{trace.trace_id}-{trace.span_id}-00", None),
        (None, None),
    ]


async def test_traceparent_that_is_an_argument_of_the_tool_stays_its_value():
    parameters = [
        {"argument": "parent", "name": "Traceparent", "location": "header", "style": "simple", "explode": False}
    ]
    async with loopback(lambda _: answer()) as server, rest_backend() as backend:
        tool = rest_tool(server.url, parameters=parameters)
        context = context_of(tool)
        context.trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True, "a=b")
        await backend.prepare(tool)({"parent": "own"}, context)
    (seen,) = server.seen
    assert (seen.header("traceparent"), seen.header("tracestate")) == ("own", None)
