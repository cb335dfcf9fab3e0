"""A reader that has read a response reads the next one as a reader does that has read none."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoa.infrastructure.http_client.failures import HttpFailure
from stoa.infrastructure.http_client.http1.reader import ResponseReader
from stoa.infrastructure.http_client.http1.repeated_head import RepeatedHead
from stoa.infrastructure.http_client.http1.response import Response

HEAD = b"HTTP/1.1 200 OK\r\nServer: peer\r\nContent-Length: %b\r\nContent-Type: application/json\r\n\r\n"
FIRST = HEAD % b"7" + b'{"a":1}'
LIMIT = 30

Read = tuple[tuple[object, ...] | None, bool, str]


def read(reader: ResponseReader, data: bytes, *, is_head_request: bool = False) -> Read:
    """Response, whether the connection may be used again, and the failure."""
    reader.begin(is_head_request=is_head_request, limit=LIMIT)
    try:
        response = reader.feed(data)
    except HttpFailure as failure:
        return None, False, type(failure).__name__
    whole = None
    if response is not None:
        whole = (response.status, response.reason, response.headers, response.fields, response.body)
    return whole, reader.is_reusable, ""


def used() -> ResponseReader:
    reader = ResponseReader()
    assert read(reader, FIRST)[1]
    return reader


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A response that is like the first one, mostly."""
    body = draw(st.one_of(st.just(b'{"a":1}'), st.binary(max_size=40)))
    length = draw(st.one_of(st.just(b"%d" % len(body)), st.sampled_from([b"7", b"07", b"+7", b"7 ", b"", b"77"])))
    data = HEAD % length + body + draw(st.sampled_from([b"", b"", b"x", b"\r\n", FIRST]))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 2)) :]
    return data


@given(changed())
@example(FIRST)
@example(HEAD % b"0")
def test_repeated_response_head_is_read_as_by_a_reader_that_has_read_none(data: bytes) -> None:
    assert read(used(), data) == read(ResponseReader(), data)


@given(changed(), st.integers(1, 60))
def test_repeated_response_head_in_two_pieces_is_read_like_any_other(data: bytes, cut: int) -> None:
    ends: list[tuple[bytes | None, str]] = []
    for reader in (used(), ResponseReader()):
        reader.begin(is_head_request=False, limit=LIMIT)
        try:
            response = reader.feed(data[:cut])
            if response is None and data[cut:]:
                response = reader.feed(data[cut:])
        except HttpFailure as failure:
            ends.append((None, type(failure).__name__))
        else:
            ends.append((None if response is None else response.body, ""))
    assert ends[0] == ends[1]


def test_repeated_response_head_is_not_taken_for_the_answer_to_another_method() -> None:
    whole, _, _ = read(used(), HEAD % b"7", is_head_request=True)
    assert whole is not None and whole[-1] == b""


def test_repeated_response_head_keeps_the_limit() -> None:
    assert read(used(), HEAD % b"31" + b"x" * 31)[2] == "ResponseTooLong"


@pytest.mark.parametrize("data", [FIRST + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + FIRST])
def test_repeated_response_head_is_not_kept_where_other_bytes_came_with_it(data: bytes) -> None:
    response = Response(200, "OK", [], {b"content-length": b"7"})
    response.body = b'{"a":1}'
    assert RepeatedHead.of(response, data) is None
