"""Dot segments (RFC 3986 section 3.3) in any spelling that a server may read as one: the one rule for values that
become part of a path.

Servers, and the proxies before them, decode before they resolve `..`, some of them twice; some read `\\` as `/`, take
off `;parameters`, or map wide forms to ASCII. A value that one of them reads as a dot segment would lead out of the
intended path.
"""

import re
from urllib.parse import unquote

_MOST_DECODINGS = 8
"""Upper bound on the rounds of percent-decoding; a value encoded more often is refused, so that the work stays linear.
"""
_SEGMENTS = re.compile(r"[/\\?#\x00]")
_DROPPED = re.compile(r"[\t\n\r]")
"""Characters that parsers of URLs drop anywhere in a URL, by the WHATWG URL standard."""
_ENCODED_CHARACTER = re.compile(r"%u([0-9A-Fa-f]{4})")
"""The spelling of IIS and of `escape` in JavaScript."""
_OVERLONG = re.compile(r"%(?:c[01]%[89ab]|e0%[89]|f0%8|f8%8|fc%8)", re.IGNORECASE)
"""The beginning of UTF-8 that is longer than it must be (RFC 3629 section 3), as `%c0%ae` for a dot."""
_ASCII_OF = {wide: chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F)} | {
    **{ord(dot): "." for dot in "\u2024\ufe52\uff61\u3002"},
    **{ord(slash): "/" for slash in "\u2044\u2215\u29f8"},
    **{ord(backslash): "\\" for backslash in "\u2216\u29f5\ufe68"},
    0x2025: "..",
    0x2026: "...",
}
"""Characters that NFKC, IDNA or the best fit of a code page makes ASCII. One pass; normalising could be quadratic."""


def holds_dot_segment(text: str) -> bool:
    """True when a segment of `text` is `.` or `..`, as it stands or decoded; `...` and `a..b` are none."""
    if "%" not in text and "." not in text and text.isascii():
        return False
    for _ in range(_MOST_DECODINGS):
        if any(segment.partition(";")[0].strip() in {".", ".."} for segment in _SEGMENTS.split(_DROPPED.sub("", text))):
            return True
        if _OVERLONG.search(text):
            return True
        following = text if text.isascii() else text.translate(_ASCII_OF)
        if "%" in following:
            following = unquote(_ENCODED_CHARACTER.sub(lambda code: chr(int(code[1], 16)), following))
        if following == text:
            return False
        text = following
    return True


def holds_control_character(text: str) -> bool:
    """True if `text` has a C0 character or DEL, which ends a string in C or a line in a header."""
    return not text.isprintable() and any(character < " " or character == "\x7f" for character in text)
