"""Encodes JSON values for paths, queries, headers, cookies and forms: the styles of OpenAPI 3.1 section 4.8.12 as
expansions of RFC 6570.

Each function takes the facts known at registration and returns the encoder that a call runs. Everything but unreserved
characters is percent-encoded, so no value can end its URL component. `null` counts as absent; an object or array nested
deeper than a style reaches is sent as JSON text, except a list in an exploded object.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pydantic_core

from stoa.domain.errors import InvalidArguments, Violation
from stoa.domain.operations.dot_segments import holds_control_character, holds_dot_segment
from stoa.domain.schema.json_pointer import pointer_to
from stoa.domain.schema.json_value import is_array, is_object
from stoa.infrastructure.http_client.header_text import Unsendable, header_text

Encoder = Callable[[Any], str]
"""Encodes a value (never None) as its text on the wire; raises Unsendable."""

_DELIMITERS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C", "tabDelimited": "%09"}
_RESERVED_IN_QUERY = ":/?@!$'()*,;="
"""The reserved characters that allowReserved permits, without those that would end or split the query."""
_COOKIE_OCTETS = frozenset(
    map(chr, (0x21, *range(0x23, 0x2C), *range(0x2D, 0x3B), *range(0x3C, 0x5C), *range(0x5D, 0x7F)))
) - {"%"}
_TRIPLE = re.compile(r"(%[0-9A-Fa-f]{2})")
_is_unreserved = re.compile(r"[A-Za-z0-9._~-]*").fullmatch
"""Finds texts that need no percent-encoding (RFC 3986 section 2.3)."""
_LARGEST_PLAIN_FLOAT = 1e21
"""Magnitude from which JSON writers use an exponent."""


NOT_UNICODE = (UnicodeEncodeError, pydantic_core.PydanticSerializationError)
"""Errors of encoding half a surrogate pair; their text would repeat the value."""

NO_DOT_SEGMENT = "a value without the segments . and .., in any spelling, because it is part of the path"


def invalid_argument(argument: str, expected: str) -> InvalidArguments:
    """`argument` is a key of the tool's arguments; "" means several of them together."""
    return InvalidArguments([Violation(pointer_to([argument] if argument else []), expected)])


def path_encoder(name: str, style: str, *, explode: bool, is_json: bool = False) -> Encoder:
    """Encodes one path parameter. The result is never empty, adds no segment and holds no dot segment, even after
    repeated decoding."""
    if is_json:
        return lambda value: _quote_segment(json_text(value))
    if style == "label":
        separator = "." if explode else ","
        return lambda value: "." + _not_empty(separator.join(_items(value, _quote_segment, explode=explode)))
    if style == "matrix":
        return lambda value: _matrix(quote(name, safe=""), value, explode=explode)

    def simple(value: Any) -> str:
        if value.__class__ is int or (value.__class__ is str and value.isalnum() and value.isascii()):  # as most are
            return str(value)
        if isinstance(value, (list, dict)):
            return _not_empty(",".join(_items(value, _quote_segment, explode=explode)))
        return _quote_segment(_not_empty(scalar(value)))

    return simple


def query_encoder(
    name: str,
    style: str,
    *,
    explode: bool,
    allow_reserved: bool = False,
    is_json: bool = False,
    taken: frozenset[str] = frozenset(),
    is_required: bool = False,
) -> Encoder:
    """Encodes one query parameter or form field as `a=b&c=d`; "" if there is nothing to send. `is_required`: an empty
    list or object is sent as `a=` (the column "empty" of the style table).

    `taken` are names on the wire of other parameters, which a property of an exploded object must not use.
    """
    quoted = _quote_reserved if allow_reserved else _quote
    prefix = f"{_quote(name)}="
    if is_json:
        return lambda value: prefix + quoted(json_text(value))

    def composite(value: Any) -> str:
        if style == "deepObject":
            return "&".join(f"{_quote(path)}={quoted(text)}" for path, text in deep_pairs(name, value))
        if not explode:
            items = _items(value, quoted, explode=False)
            return prefix + _DELIMITERS[style].join(items) if items else ""
        if not is_object(value):
            return "&".join(prefix + item for item in _items(value, quoted, explode=True))
        if clash := taken.intersection(value):
            raise Unsendable(f"no property named {', '.join(sorted(clash))}")
        return "&".join(_members(value, quoted))

    def encode(value: Any) -> str:
        if value.__class__ is int or (value.__class__ is str and _is_unreserved(value)):  # as most are
            return f"{prefix}{value}"
        if isinstance(value, (list, dict)):
            return composite(value) or (prefix if is_required else "")
        return prefix + quoted(scalar(value))

    return encode


def whole_query_encoder(*, is_json: bool) -> Encoder:
    """Encodes a value that is the query itself (OpenAPI 3.2, `in: querystring`)."""
    return lambda value: _quote(json_text(value) if is_json else scalar(value))


def header_encoder(*, explode: bool, is_json: bool = False) -> Encoder:
    """Encodes the value of a header (style simple, not percent-encoded, because headers have no such rule)."""
    if is_json:
        return lambda value: header_text(json_text(value))
    return lambda value: header_text(",".join(_items(value, str, explode=explode)))


def cookie_encoder(
    name: str,
    *,
    explode: bool,
    is_json: bool = False,
    taken: frozenset[str] = frozenset(),
    is_raw: bool = False,
) -> Encoder:
    """Encodes cookie pairs as `a=b; c=d` (style form); "" if there is nothing to send. `taken` as in `query_encoder`.
    `is_raw`: percent-encoded is only what a cookie's value may not hold (RFC 6265 section 4.1.1)."""
    as_query = query_encoder(name, "form", explode=explode, is_json=is_json, taken=taken)
    if not is_raw:
        return lambda value: as_query(value).replace("&", "; ")
    return lambda value: _TRIPLE.sub(_raw_in_cookie, as_query(value).replace("&", "; "))


def _raw_in_cookie(triple: re.Match[str]) -> str:
    octet = chr(int(triple[0][1:], 16))
    return octet if octet in _COOKIE_OCTETS else triple[0]


def scalar(value: Any) -> str:
    """A JSON value as plain text; numbers as JSON prints them, whole ones without a fraction."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unsendable("a finite number")
        return str(int(value)) if value.is_integer() and abs(value) < _LARGEST_PLAIN_FLOAT else repr(value)
    return json_text(value)


def json_text(value: Any) -> str:
    return pydantic_core.to_json(value).decode()


def _items(value: Any, quoted: Callable[[str], str], *, explode: bool) -> list[str]:
    if is_object(value):
        pairs = [(quoted(key), quoted(scalar(item))) for key, item in value.items() if item is not None]
        return [f"{key}={item}" for key, item in pairs] if explode else [text for pair in pairs for text in pair]
    if is_array(value):
        return [quoted(scalar(item)) for item in value if item is not None]
    return [quoted(scalar(value))]


def _members(value: dict[str, Any], quoted: Callable[[str], str]) -> Iterator[str]:
    """The members of an exploded object as parameters. The specification leaves a list within it open; servers read
    repeated names (a page's `sort` in Spring)."""
    for name, member in value.items():
        entries = member if is_array(member) and not any(map(_is_composite, member)) else [member]
        yield from (f"{quoted(name)}={quoted(scalar(entry))}" for entry in entries if entry is not None)


def _is_composite(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _matrix(name: str, value: Any, *, explode: bool) -> str:
    items = _items(value, _quote_segment, explode=explode)
    _not_empty("".join(items))
    if explode and isinstance(value, dict):
        return "".join(f";{item}" for item in items)
    if explode:
        return "".join(f";{name}={item}" for item in items)
    return f";{name}={','.join(items)}"


def deep_pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Bracketed names for each scalar; array elements by index, which every bracket-reading server understands."""
    if is_object(value):
        for key, item in value.items():
            yield from deep_pairs(f"{name}[{key}]", item)
    elif is_array(value):
        for index, item in enumerate(value):
            yield from deep_pairs(f"{name}[{index}]", item)
    elif value is not None:
        yield name, scalar(value)


def _quote(text: str) -> str:
    return quote(text, safe="")


def _quote_segment(text: str) -> str:
    """Encodes a path segment. Raises Unsendable for a dot segment, which encoding does not make harmless: dots are
    unreserved, and many servers decode before they resolve `..`."""
    if text.isalnum() and text.isascii():
        return text
    if holds_dot_segment(text):
        raise Unsendable(NO_DOT_SEGMENT)
    if holds_control_character(text):
        raise Unsendable("text without control characters, because it is part of the path")
    return quote(text, safe="")


def _quote_reserved(text: str) -> str:
    """Encodes for allowReserved (RFC 6570 section 3.2.3): text that is already percent-encoded stays as it is."""
    parts = _TRIPLE.split(text)
    return "".join(part if index % 2 else quote(part, safe=_RESERVED_IN_QUERY) for index, part in enumerate(parts))


def _not_empty(text: str) -> str:
    if not text:
        raise Unsendable("a value that is not empty, because it is part of the path")
    return text
