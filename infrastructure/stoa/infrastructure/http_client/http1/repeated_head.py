"""The last response head of a connection: a server that repeats it, with another length at most, has it recognised and
not parsed again. Equal bytes have an equal parse, so only bytes that the parser and its checks took are kept."""

from typing import Self

from stoa.infrastructure.http_client.http1.response import Response

_MOST_BYTES = 4 * 1024
_MOST_DIGITS = 8


class RepeatedHead:
    """`response`: a whole one of known length that leaves the connection in order."""

    __slots__ = ("_after", "_before", "_bytes", "_length", "_response")

    def __init__(self, response: Response, before: bytes, length: bytes, after: bytes) -> None:
        self._response = response
        self._bytes = before + length + after
        """The whole head."""
        self._length = int(length)
        self._before = before
        """The bytes up to the value of Content-Length."""
        self._after = after
        """The bytes behind it, with the empty line."""

    @classmethod
    def of(cls, response: Response, data: bytes) -> Self | None:
        """`data`: the bytes of the response and no others. None if its length is not written in the usual form."""
        length = b"%d" % len(response.body)
        end = data.find(b"\r\n\r\n", 0, _MOST_BYTES) + 4
        line = b"\r\ncontent-length: %b\r\n" % length
        start = data[:end].lower().find(line)
        if start < 0 or len(data) - end != len(response.body) or response.fields.get(b"content-length") != length:
            return None
        start += len(line) - len(length) - 2
        return cls(response, data[:start], length, data[start + len(length) : end])

    def match(self, data: bytes, limit: int) -> Response | None:
        """The response that `data` holds: this head, and a body of at most `limit` bytes that ends where it says and
        where `data` ends. None: the parser has to look."""
        same, head = self._response, self._bytes
        if len(data) == len(head) + self._length and self._length <= limit and data.startswith(head):
            return Response(same.status, same.reason, same.headers, same.fields, data[len(head) :])
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MOST_DIGITS)
        if end < 0 or not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        length = b"%d" % len(body)
        if data[start:end] != length or len(body) > limit:
            return None
        fields = {**same.fields, b"content-length": length}
        headers = [(name, length if name == b"content-length" else value) for name, value in same.headers]
        return Response(same.status, same.reason, headers, fields, body)
