"""Writes a request as bytes."""

from collections.abc import Mapping
from typing import NamedTuple

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.infrastructure.http_client.failures import HttpFailure

_WITHOUT_CONTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose request has no content, so that its absence need not be said (RFC 9110 section 8.6)."""
_MOST_FORMS = 1024


class Unsendable(HttpFailure, ValueError):
    """The head of a request would hold what no head may hold; nothing of it is sent."""

    nothing_was_sent = True


class _Form(NamedTuple):
    """The heads of requests that differ only in their target and in the values of their headers."""

    text: str
    """A format of `%`, for the target, the values and, with a body, its length."""
    lines: int
    """The number of its lines."""


class RequestWriter:
    """Writes the requests of one client. `headers`: of requests that do not set them.

    The form of a head is made once for each method, host and set of header names; these are the catalogue's, and
    callers choose values alone.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._defaults = dict(headers)
        self._forms: BoundedCache[tuple[object, ...], _Form] = BoundedCache(_MOST_FORMS)

    def write(self, method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """The bytes of a request. Raises Unsendable."""
        key = (method, host, body is None, *headers)
        form = self._forms.get(key)
        if form is None:
            form = self._form(method, host, headers, has_body=body is not None)
            self._forms.put(key, form)
        template, lines = form
        text = template % ((target, *headers.values()) if body is None else (target, *headers.values(), len(body)))
        # A line break in a value would begin a header or a request of its own. Counting finds it without looking at
        # each.
        if text.count("\n") != lines or text.count("\r") != lines or "\0" in text or " " in target:
            raise Unsendable("the head of the request would hold a line break, a NUL or a space in its target")
        try:
            head = text.encode()
        except UnicodeEncodeError:
            raise Unsendable("a header of the request holds half a surrogate pair") from None
        return head + body if body else head

    def _form(self, method: str, host: str, headers: Mapping[str, str], *, has_body: bool) -> _Form:
        given = {name.lower() for name in headers}
        lines = [f"{_literal(method)} %s HTTP/1.1", f"Host: {_literal(host)}"]
        lines += [f"{_literal(name)}: %s" for name in headers]
        lines += [_literal(f"{name}: {value}") for name, value in self._defaults.items() if name.lower() not in given]
        if has_body:
            lines.append("Content-Length: %d")
        elif method not in _WITHOUT_CONTENT:
            lines.append("Content-Length: 0")
        return _Form("\r\n".join([*lines, "", ""]), len(lines) + 1)


def _literal(text: str) -> str:
    """Text that stands for itself in a format."""
    return text.replace("%", "%%")
