"""Writes a request as bytes."""

from collections.abc import Mapping

from stoa.infrastructure.http_client.failures import HttpFailure

_WITHOUT_CONTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose request has no content, so that its absence need not be said (RFC 9110 section 8.6)."""


class Unsendable(HttpFailure, ValueError):
    """The head of a request would hold what no head may hold; nothing of it is sent."""

    nothing_was_sent = True


def request_bytes(
    method: str, target: str, host: str, headers: Mapping[str, str], defaults: Mapping[str, str], body: bytes | None
) -> bytes:
    """`defaults`: headers, by their names in lower case, for those that `headers` does not set. Raises Unsendable."""
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = "".join(lines)
    lower = text.lower()
    count = len(lines) + 1
    for name, line in defaults.items():
        if f"\r\n{name}:" not in lower:
            text += line
            count += 1
    if body is not None:
        text += f"Content-Length: {len(body)}\r\n\r\n"
        count += 2
    elif method in _WITHOUT_CONTENT:
        text += "\r\n"
        count += 1
    else:
        text += "Content-Length: 0\r\n\r\n"
        count += 2
    # A line break in a value would begin a header or a request of its own. Counting finds it without looking at each.
    if text.count("\n") != count or text.count("\r") != count or "\0" in text or " " in target:
        raise Unsendable("the head of the request would hold a line break, a NUL or a space in its target")
    try:
        head = text.encode()
    except UnicodeEncodeError:
        raise Unsendable("a header of the request holds half a surrogate pair") from None
    return head + body if body else head
