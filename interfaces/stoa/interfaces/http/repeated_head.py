"""The last head of a connection, recognised when its client sends it again: from one request to the next often only
the body and its length differ.

Equal bytes have an equal parse. So bytes that the parser took for a head at the beginning of a message, and that passed
every check, are compared and not parsed again (docs/decisions/0070). Content-Length is the one field that may differ.
"""

from dataclasses import replace
from typing import Self

from stoa.interfaces.http.request_head import RequestHead

_MOST_BYTES = 8 * 1024
"""Upper bound on a head that a connection keeps."""
_NAME = b"\r\ncontent-length:"
_MOST_DIGITS = 8


class RepeatedHead:
    __slots__ = ("_after", "_before", "_bytes", "_head", "_request_bytes")

    def __init__(self, head: RequestHead, before: bytes, digits: bytes, after: bytes) -> None:
        self._head = head
        self._before = before
        self._after = after
        self._bytes = before + digits + after
        """The whole head."""
        self._request_bytes = len(self._bytes) + int(digits)

    @classmethod
    def of(cls, head: RequestHead, data: bytes, body_bytes: int) -> Self | None:
        """The head of a request that came whole: `data` is its head and a body of `body_bytes`. None if it is not worth
        keeping, or its length is not written in the usual form."""
        end = data.find(b"\r\n\r\n", 0, _MOST_BYTES) + 4
        digits = b"%d" % body_bytes
        if len(data) - end != body_bytes or head.by_name.get(b"content-length") != digits:
            return None
        start = data.lower().find(_NAME, 0, end) + len(_NAME)
        if data[start : start + 1] == b" ":
            start += 1
        if not data.startswith(digits + b"\r\n", start):
            return None
        return cls(head, data[:start], digits, data[start + len(digits) : end])

    def match(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """The request that `data` holds: this head, and a body that ends where it says and where `data` ends. None: the
        parser has to look."""
        head = self._bytes
        if len(data) == self._request_bytes and data.startswith(head):
            return self._head, data[len(head) :]
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MOST_DIGITS)
        if end < 0 or not data.startswith(after, end):
            return None
        digits, body = data[start:end], data[end + len(after) :]
        if digits != b"%d" % len(body):
            return None
        return _with_length(self._head, digits), body


def _with_length(head: RequestHead, digits: bytes) -> RequestHead:
    fields = [(name, digits if name == b"content-length" else value) for name, value in head.fields]
    return replace(head, fields=fields, by_name={**head.by_name, b"content-length": digits})
