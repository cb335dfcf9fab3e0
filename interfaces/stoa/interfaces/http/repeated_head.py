"""The last head of a connection, recognised when its client sends it again: from one request to the next often only
the body and its length differ.

Equal bytes have an equal parse. So bytes that the parser took for a head at the beginning of a message, and that passed
every check, are compared and not parsed again (docs/decisions/0070). Content-Length is the one field that may differ.
"""

from dataclasses import replace
from typing import NamedTuple, Self

from stoa.interfaces.http.request_head import RequestHead

_MOST_BYTES = 8 * 1024
"""Upper bound on a head that a connection keeps."""
_NAME = b"\r\ncontent-length:"
_MOST_DIGITS = 8


class WholeRequest(NamedTuple):
    head: RequestHead
    body: bytes


class RepeatedHead:
    __slots__ = ("_after", "_before", "_digits", "_head")

    def __init__(self, head: RequestHead, before: bytes, digits: bytes, after: bytes) -> None:
        self._head = head
        self._before = before
        self._digits = digits
        self._after = after

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

    def match(self, data: bytes) -> WholeRequest | None:
        """The request that `data` holds: this head, and a body that ends where it says and where `data` ends. None: the
        parser has to look."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MOST_DIGITS)
        if end < 0 or not data.startswith(after, end):
            return None
        digits, body = data[start:end], data[end + len(after) :]
        if digits == self._digits:
            return WholeRequest(self._head, body) if len(body) == int(digits) else None
        if digits != b"%d" % len(body):
            return None
        return WholeRequest(_with_length(self._head, digits), body)


def _with_length(head: RequestHead, digits: bytes) -> RequestHead:
    fields = [(name, digits if name == b"content-length" else value) for name, value in head.fields]
    return replace(head, fields=fields, by_name={**head.by_name, b"content-length": digits})
