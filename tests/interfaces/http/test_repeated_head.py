"""A head that is recognised is understood as the parser would: law of `RepeatedHead`, held against httptools."""

import httptools
from hypothesis import example, given
from hypothesis import strategies as st

from stoa.interfaces.http.repeated_head import RepeatedHead
from stoa.interfaces.http.request_head import RequestHead

HEAD = b"POST /mcp HTTP/1.1\r\nHost: gw\r\nContent-Length: %b\r\nAuthorization: Bearer abc\r\n\r\n"
BODY = b'{"id": 1}'
FIRST = HEAD % b"9" + BODY


class _Parsed:
    """The parser's result for some bytes."""

    def __init__(self, data: bytes) -> None:
        self.requests: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]] = []
        self._target = self._body = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self.is_within = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            self.requests.clear()

    def on_message_begin(self) -> None:
        self._target = self._body = b""
        self._fields = []
        self.is_within = True

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.requests.append((self._target, self._fields, self._body))
        self.is_within = False


def kept(data: bytes) -> RepeatedHead | None:
    target, fields, body = _Parsed(data).requests[0]
    head = RequestHead(b"POST", "1.1", target, fields, dict(fields), expects_continue=False)
    return RepeatedHead.of(head, data, len(body))


REPEATED = kept(FIRST)
assert REPEATED is not None


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A request that is like the first one, mostly."""
    body = draw(st.one_of(st.just(BODY), st.binary(max_size=40)))
    length = draw(
        st.one_of(st.just(b"%d" % len(body)), st.sampled_from([b"9", b"09", b"+9", b" 9", b"9 ", b"", b"99"]))
    )
    data = HEAD % length + body + draw(st.sampled_from([b"", b"", b"x", b"\r\n", FIRST]))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 2)) :]
    return data


@given(changed())
@example(FIRST)
@example(HEAD % b"0")
def test_repeated_head_gives_what_the_parser_gives(data: bytes) -> None:
    whole = REPEATED.match(data)
    if whole is not None:
        parsed = _Parsed(data)
        head, body = whole
        assert parsed.requests == [(head.target, head.fields, body)]
        assert head.by_name == dict(head.fields)
        assert not parsed.is_within


def test_repeated_head_recognises_another_length() -> None:
    whole = REPEATED.match(HEAD % b"12" + b"x" * 12)
    assert whole is not None
    head, body = whole
    assert (body, head.by_name[b"content-length"]) == (b"x" * 12, b"12")


def test_repeated_head_keeps_what_a_door_derived() -> None:
    same, other = REPEATED.match(FIRST), REPEATED.match(HEAD % b"2" + b"{}")
    assert same is not None and other is not None
    same[0].derived = "derived"
    again, longer = REPEATED.match(FIRST), REPEATED.match(HEAD % b"2" + b"{}")
    assert again is not None and again[0].derived == "derived"
    assert longer is not None and longer[0].derived == "derived"


def test_repeated_head_is_not_kept_where_bytes_stand_around_the_request() -> None:
    for data in (b"\r\n\r\n" + FIRST, FIRST + b"\r\n", HEAD % b"9" + b"\r\n1234567" + b"\r\n"):
        assert kept(data) is None
    chunked = b"POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    assert kept(chunked) is None
