"""The reader of responses, without a connection: framing, bounds, and what may follow a response."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.infrastructure.http_client.failures import HttpFailure, InvalidResponse, ResponseCutShort, ResponseTooLong
from stoa.infrastructure.http_client.http1.reader import MAX_HEAD_BYTES, ResponseReader
from stoa.infrastructure.http_client.http1.response import Response

LIMIT = 1000


def read(*pieces: bytes, method: str = "GET", ends: bool = False, limit: int = LIMIT) -> tuple[Response | None, bool]:
    """The response, and whether the connection may be used again."""
    reader = ResponseReader()
    reader.begin(is_head_request=method == "HEAD", limit=limit)
    response = None
    for piece in pieces:
        response = reader.feed(piece)
    if ends and response is None:
        response = reader.end()
    return response, reader.is_reusable


def head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode()


SIZED = head("Content-Length: 5") + b"hello"
CHUNKED = head("Transfer-Encoding: chunked") + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
WITH_TRAILERS = head("Transfer-Encoding: chunked", "A: 1") + b"5\r\nhello\r\n0\r\nA: 2\r\nB: 3\r\n\r\n"
BY_CLOSE = head() + b"hello"
KEPT = {"sized": SIZED, "chunked": CHUNKED, "trailers": WITH_TRAILERS}


@pytest.mark.parametrize("data", KEPT.values(), ids=KEPT)
def test_reader_takes_a_framed_body_and_keeps_the_connection(data: bytes) -> None:
    response, is_reusable = read(data)
    assert response is not None
    assert (response.status, response.reason, response.body, is_reusable) == (200, "OK", b"hello", True)


def test_reader_takes_a_body_that_the_end_of_the_connection_delimits() -> None:
    response, is_reusable = read(BY_CLOSE, ends=True)
    assert response is not None
    assert (response.body, is_reusable) == (b"hello", False)


def test_reader_does_not_take_trailers_for_headers() -> None:
    response, _ = read(WITH_TRAILERS)
    assert response is not None
    assert (response.values("A"), response.header("B")) == (["1"], None)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_reader_expects_no_body_where_there_is_none_whatever_the_head_says(status: str) -> None:
    response, is_reusable = read(head("Content-Length: 99999", status=status))
    assert response is not None
    assert (response.body, is_reusable) == (b"", True)


def test_reader_expects_no_body_of_head_and_is_ready_for_the_next_response() -> None:
    reader = ResponseReader()
    for method, data in (("HEAD", head("Content-Length: 5")), ("GET", SIZED), ("HEAD", SIZED[:-5]), ("GET", CHUNKED)):
        reader.begin(is_head_request=method == "HEAD", limit=LIMIT)
        response = reader.feed(data)
        assert response is not None
        assert response.body == (b"" if method == "HEAD" else b"hello")
        assert reader.is_reusable


def test_reader_passes_over_interim_responses() -> None:
    early = head("Link: </a>", status="103 Early Hints")
    response, is_reusable = read(head(status="100 Continue"), early + early + SIZED[:9], SIZED[9:])
    assert response is not None
    assert (response.status, response.header("Link"), response.body, is_reusable) == (200, None, b"hello", True)


@pytest.mark.parametrize(
    "data",
    [
        head("Connection: close", "Content-Length: 5") + b"hello",
        head("Content-Length: 5", version="1.0") + b"hello",
        head("Transfer-Encoding: chunked", "Connection: keep-alive", version="1.0") + CHUNKED.partition(b"\r\n\r\n")[2],
    ],
)
def test_reader_ends_a_connection_that_the_peer_will_not_keep(data: bytes) -> None:
    response, is_reusable = read(data)
    assert response is not None
    assert (response.body, is_reusable) == (b"hello", False)


@pytest.mark.parametrize("data", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP", b"\0"])
def test_reader_ends_a_connection_on_which_more_came_than_the_response(data: bytes, more: bytes) -> None:
    response, is_reusable = read(data + more)
    assert response is not None
    assert (response.body, is_reusable) == (b"hello", False)


def test_reader_ends_a_connection_on_which_head_was_answered_with_a_body() -> None:
    response, is_reusable = read(SIZED, method="HEAD")
    assert response is not None
    assert (response.body, is_reusable) == (b"", False)


@pytest.mark.parametrize(
    "data",
    [
        head("Content-Length: 5", "Content-Length: 5") + b"hello",
        head("Content-Length: 5", "Content-Length: 6") + b"hello",
        head("Content-Length: 5, 5") + b"hello",
        head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
        head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: gzip") + b"x",
        head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
        head("Content-Length: +5") + b"hello",
        head("Content-Length: -5") + b"hello",
        head("Content-Length: 0x5") + b"hello",
        head("Content-Length: 99999999999999999999"),
        head("Content-Length : 5") + b"hello",
        head("A: b", " folded", "Content-Length: 5") + b"hello",
        head("A: b\0", "Content-Length: 5") + b"hello",
        head("A: b\rc", "Content-Length: 5") + b"hello",
        head(": b", "Content-Length: 5") + b"hello",
        SIZED.replace(b"\r\n", b"\n"),
        SIZED.replace(b"\r\n\r\n", b"\n\n"),
        CHUNKED.replace(b"he\r\n", b"he\n"),
        CHUNKED.replace(b"2\r\n", b"2\n"),
        CHUNKED.replace(b"2\r\n", b"-2\r\n"),
        CHUNKED.replace(b"2\r\n", b"fffffffffffffffffff\r\n"),
        CHUNKED.replace(b"0\r\n\r\n", b"0\r\n\n"),
        head(status="101 Switching Protocols") + SIZED,
        head("Upgrade: x", "Connection: upgrade", status="101 Switching Protocols") + SIZED,
        head("Content-Length: 5", status="099 Low") + b"hello",
        head("Content-Length: 5", status="20 Short") + b"hello",
        head("Content-Length: 5", version="2.0") + b"hello",
        head("Content-Length: 5", version="0.9") + b"hello",
        b"hello",
        b"HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
    ],
)
def test_reader_refuses_what_could_be_understood_in_two_ways(data: bytes) -> None:
    with pytest.raises(InvalidResponse):
        read(data, ends=True)


@pytest.mark.parametrize("length", [0, LIMIT - 1, LIMIT])
def test_reader_takes_a_body_up_to_its_limit(length: int) -> None:
    body = b"x" * length
    for data in (
        head(f"Content-Length: {length}") + body,
        head("Transfer-Encoding: chunked") + (b"%x\r\n%b\r\n" % (length, body) if body else b"") + b"0\r\n\r\n",
        head() + body,
    ):
        response, _ = read(data, ends=True)
        assert response is not None
        assert response.body == body


def test_reader_refuses_a_longer_body_as_soon_as_that_is_known() -> None:
    too_long = LIMIT + 1
    with pytest.raises(ResponseTooLong):
        read(head(f"Content-Length: {too_long}"))
    with pytest.raises(ResponseTooLong):
        read(head("Transfer-Encoding: chunked") + b"%x\r\n" % too_long + b"x" * too_long)
    with pytest.raises(ResponseTooLong):
        read(head(), *[b"x"] * too_long)


def test_reader_takes_a_head_up_to_its_bound_and_no_larger_one() -> None:
    def data(size: int) -> bytes:
        rest = len(head("X: ", "Content-Length: 5"))
        return head(f"X: {'a' * (size - rest)}", "Content-Length: 5") + b"hello"

    largest = data(MAX_HEAD_BYTES)
    response, is_reusable = read(largest)
    assert response is not None
    assert (response.body, is_reusable) == (b"hello", True)
    for pieces in ((data(MAX_HEAD_BYTES + 1),), (data(MAX_HEAD_BYTES + 1)[:70_000], b"")):
        with pytest.raises(InvalidResponse, match="head"):
            read(*pieces)


def test_reader_counts_interim_responses_to_the_head() -> None:
    hint = head("X: " + "a" * 1000, status="103 Early Hints")
    with pytest.raises(InvalidResponse, match="head"):
        read(*[hint] * 100)
    with pytest.raises(InvalidResponse, match="head"):
        read(hint * 100)


@pytest.mark.parametrize("piece", [b"1;" + b"e" * 2000 + b"\r\nx\r\n", b"1\r\nx\r\n"])
def test_reader_bounds_the_framing_of_chunks(piece: bytes) -> None:
    with pytest.raises(InvalidResponse):
        read(head("Transfer-Encoding: chunked"), *[piece] * 50_000)


@pytest.mark.parametrize("more", [("Transfer-Encoding: chunked",), (f"Content-Length: {8 * MAX_HEAD_BYTES}",), ()])
def test_reader_of_a_stream_takes_much_content_at_once_after_a_head_that_came_alone(more: tuple[str, ...]) -> None:
    content = bytes(8 * MAX_HEAD_BYTES)
    reader = ResponseReader()
    reader.begin(is_head_request=False, limit=None)
    assert reader.feed(head(*more)) is not None
    reader.feed(b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if "chunked" in str(more) else content)
    assert reader.take(2 * len(content)) == content


def test_reader_bounds_trailers() -> None:
    with pytest.raises(InvalidResponse, match="framing"):
        read(head("Transfer-Encoding: chunked") + b"0\r\n", *[b"T: " + b"t" * 1000 + b"\r\n"] * 1000)


@pytest.mark.parametrize("data", [*KEPT.values(), SIZED[:-5]])
def test_reader_knows_at_each_byte_that_a_response_was_cut_short(data: bytes) -> None:
    for length in range(1, len(data)):
        with pytest.raises(ResponseCutShort):
            read(data[:length], ends=True)


def test_reader_of_a_body_delimited_by_close_knows_a_cut_within_its_head() -> None:
    length = BY_CLOSE.index(b"\r\n\r\n") + 4
    for cut in range(1, length):
        with pytest.raises(ResponseCutShort):
            read(BY_CLOSE[:cut], ends=True)


RESPONSES = [*KEPT.values(), BY_CLOSE, head(status="100 Continue") + SIZED, head("Content-Length: 5", status="204 No")]


@given(st.sampled_from(RESPONSES), st.lists(st.integers(0, 120), max_size=8))
def test_reader_gives_the_same_response_however_its_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    whole, reusable_whole = read(data, ends=True)
    cut, reusable_cut = read(*pieces, ends=True)
    assert whole is not None
    assert cut is not None
    assert (cut.status, cut.reason, cut.headers, cut.body) == (whole.status, whole.reason, whole.headers, whole.body)
    assert reusable_cut == reusable_whole


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda more: SIZED[:30] + more))
def test_reader_ends_with_a_response_or_a_failure_for_any_bytes(data: bytes) -> None:
    try:
        response, _ = read(data, ends=True)
    except HttpFailure:
        return
    assert response is None or 200 <= response.status <= 999
