"""JSON Pointer (RFC 6901): writing, reading and following pointers."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

from stoa.domain.schema.json_value import is_array, is_object

ABSENT: Final[Any] = object()
"""The answer of `resolve` for a missing value; null is a value."""

_MAX_INDEX_DIGITS = 9


def escape(token: str) -> str:
    """One reference token as it is written in a pointer (section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def unescape(written: str) -> str:
    """Inverse of `escape`."""
    return written.replace("~1", "/").replace("~0", "~")  # in this order: ~01 means ~1, not a slash


def pointer_to(tokens: Iterable[str]) -> str:
    """The pointer of a path; the empty path is the whole document."""
    return "".join(f"/{escape(token)}" for token in tokens)


def tokens_of(pointer: str) -> list[str]:
    """Inverse of `pointer_to`. Text before the first slash is ignored."""
    return [unescape(written) for written in pointer.split("/")[1:]]


def fragment_of(tokens: Iterable[str]) -> str:
    """The pointer as a URI fragment, without `#` (section 6)."""
    return quote(pointer_to(tokens), safe="/~!$&'()*+,;=:@?")


def tokens_of_fragment(fragment: str) -> list[str]:
    """Inverse of `fragment_of`. Percent-encoding is decoded first, as the JSON Schema validator does: `%2F`
    separates."""
    return tokens_of(unquote(fragment))


def child(value: Any, token: str) -> Any:
    """The member or entry that one token names, or ABSENT. An index may have leading zeros, as in the JSON Schema
    validator, although section 4 forbids them."""
    if is_object(value):
        return value.get(token, ABSENT)
    is_index = token.isascii() and token.isdecimal() and len(token) <= _MAX_INDEX_DIGITS
    return value[int(token)] if is_index and is_array(value) and int(token) < len(value) else ABSENT


def resolve(value: Any, tokens: Sequence[str]) -> Any:
    """The value at the end of a path, or ABSENT."""
    for token in tokens:
        value = child(value, token)
        if value is ABSENT:
            break
    return value
