"""Writes a request as bytes."""

from collections.abc import Mapping
from functools import lru_cache

from stoa.infrastructure.http_client.failures import HttpFailure

_WITHOUT_CONTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose request has no content, so that its absence need not be said (RFC 9110 section 8.6)."""


class Unsendable(HttpFailure, ValueError):
    """The head of a request would hold what no head may hold; nothing of it is sent."""

    nothing_was_sent = True


DefaultLines = tuple[tuple[str, str], ...]
"""Names in lower case, and whole lines of a head."""


def request_bytes(
    method: str, target: str, host: str, headers: Mapping[str, str], defaults: DefaultLines, body: bytes | None
) -> bytes:
    """`defaults`: headers for those that `headers` does not set. Raises Unsendable."""
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    added, count = _added(tuple(headers), defaults)
    if body is not None:
        end = f"Content-Length: {len(body)}\r\n\r\n"
        count += 1
    elif method in _WITHOUT_CONTENT:
        end = "\r\n"
    else:
        end = "Content-Length: 0\r\n\r\n"
        count += 1
    text = f"{''.join(lines)}{added}{end}"
    # A line break in a value would begin a header or a request of its own. Counting finds it without looking at each.
    if text.count("\n") != count or text.count("\r") != count or "\0" in text or " " in target:
        raise Unsendable("the head of the request would hold a line break, a NUL or a space in its target")
    try:
        head = text.encode()
    except UnicodeEncodeError:
        raise Unsendable("a header of the request holds half a surrogate pair") from None
    return head + body if body else head


@lru_cache(maxsize=1024)  # the names are those of the catalogue; callers choose values alone
def _added(names: tuple[str, ...], defaults: DefaultLines) -> tuple[str, int]:
    """The lines of the defaults that headers of these names leave, and the number of all lines, with Host, the request
    line and the empty line."""
    lower = {name.lower() for name in names}
    added = [line for name, line in defaults if name not in lower]
    return "".join(added), len(names) + len(added) + 3
