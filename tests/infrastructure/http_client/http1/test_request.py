"""Requests as bytes: one head for requests of one form, whatever their values hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.infrastructure.http_client.http1.request import RequestWriter, Unsendable

DEFAULTS = {"User-Agent": "100 % gateway", "Accept": "*/*"}


def test_request_names_host_headers_and_those_defaults_that_it_does_not_set() -> None:
    request = RequestWriter(DEFAULTS).write(
        "GET", "/a%20b?q=%25s", "[fe80::1%25eth0]", {"accept": "50%", "X%d": "%s"}, None
    )
    assert request == (
        b"GET /a%20b?q=%25s HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\naccept: 50%\r\nX%d: %s\r\n"
        b"User-Agent: 100 % gateway\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "body", "end"),
    [
        ("GET", None, b"\r\n\r\n"),
        ("POST", None, b"\r\nContent-Length: 0\r\n\r\n"),
        ("POST", b"", b"\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"%d", b"\r\nContent-Length: 2\r\n\r\n%d"),
        ("PUT", b"x" * 12, b"\r\nContent-Length: 12\r\n\r\n" + b"x" * 12),
    ],
)
def test_request_says_the_length_of_its_body(method: str, body: bytes | None, end: bytes) -> None:
    request = RequestWriter({}).write(method, "/", "host", {}, body)
    assert request == method.encode() + b" / HTTP/1.1\r\nHost: host" + end


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_request_of_a_form_that_was_written_before_is_written_as_by_a_new_writer(
    target: str, value: str, other: str
) -> None:
    used = RequestWriter(DEFAULTS)
    used.write("GET", "/first", "host", {"A": "1", "B": "2"}, None)

    def written(writer: RequestWriter) -> bytes | str:
        try:
            return writer.write("GET", target, "host", {"A": value, "B": other}, None)
        except Unsendable as refused:
            return str(refused)

    assert written(used) == written(RequestWriter(DEFAULTS))


@pytest.mark.parametrize("text", ["a\r\nB: 1", "a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("place", ["target", "value", "name", "host"])
def test_request_whose_head_would_hold_a_line_break_or_a_nul_is_not_written(text: str, place: str) -> None:
    parts = {"target": "/", "value": "v", "name": "N", "host": "h", place: text}
    writer = RequestWriter({})
    for _ in range(2):  # also the form that is kept by then
        with pytest.raises(Unsendable):
            writer.write("GET", parts["target"], parts["host"], {parts["name"]: parts["value"]}, None)


def test_request_whose_target_holds_a_space_is_not_written() -> None:
    with pytest.raises(Unsendable):
        RequestWriter({}).write("GET", "/a b", "host", {}, None)


def test_request_whose_header_is_not_unicode_is_not_written() -> None:
    with pytest.raises(Unsendable):
        RequestWriter({}).write("GET", "/", "host", {"A": "\ud800"}, None)
