"""Text from outside the gateway, made safe to show to people in a terminal, a log or a page, and to language models.

Control characters move a terminal's cursor and hide text; bidirectional marks show a text in another order than it is
read in; tag characters, variation selectors beyond the sixteenth and zero-width characters are read by models and
invisible to people.
"""

import re
from collections.abc import Callable
from operator import is_not
from typing import Annotated, Any, cast

from pydantic import AfterValidator, ValidationInfo

from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.domain.schema.subschemas import DATA

_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # writing direction
    "\u2028\u2029\ufeff"  # separators and byte order mark
    "\u00ad\u180e\u200b\u2060-\u2064"  # without width
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef"  # tags, supplementary variation selectors
    "]"
)
_JOINERS = ("\u200c", "\u200d")
_IDLE_JOINERS = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f])")
"""Joiners with no letter or emoji of another script on both sides, where they join nothing."""
_NOTES = ("title", "description", "$comment")
_MOST_LEVELS = 255


def plain(text: str) -> str:
    """`text` without unsafe characters. Tabs and line feeds stay; a carriage return does not."""
    if text.isascii() and text.isprintable():  # as most are
        return text
    return _replaced(text, "")


def escaped(json_text: str) -> str:
    """An equal JSON document with escapes (RFC 8259 section 7) in place of the characters that `plain` removes."""
    return _replaced(json_text, _escape)


class PlainParts:
    """Parts of schemas that were made plain, by identity: the schemas of one API share most of theirs. Passed as the
    context of a validation. The schemas must not be changed meanwhile."""

    __slots__ = ("results", "sources")

    def __init__(self) -> None:
        self.results: dict[int, Any] = {}
        self.sources: list[Any] = []
        """Parts that are not plain themselves, kept so that their identity is not that of others later."""


def plain_notes(schema: JsonObject, parts: PlainParts | None = None) -> JsonObject:
    """A JSON Schema whose titles and descriptions are plain; the same object if they are already."""
    return cast("JsonObject", _plain_notes(schema, PlainParts() if parts is None else parts, 0))


def _plain_schema(schema: JsonObject, info: ValidationInfo) -> JsonObject:
    return plain_notes(schema, info.context if isinstance(info.context, PlainParts) else None)


def _replaced(text: str, by: str | Callable[[re.Match[str]], str]) -> str:
    text = _UNSAFE.sub(by, text)
    has_joiners = any(joiner in text for joiner in _JOINERS)  # seldom, and two searches cost less than a pattern
    return _IDLE_JOINERS.sub(by, text) if has_joiners else text


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _plain_notes(value: Any, parts: PlainParts, level: int) -> Any:
    """The value with plain notes. A part may occur in many places, or within itself."""
    results = parts.results
    if id(value) in results:
        return results[id(value)]
    if level > _MOST_LEVELS:  # refused elsewhere
        return value
    if is_array(value):
        results[id(value)] = value
        rewritten: Any = [_plain_notes(entry, parts, level + 1) for entry in value]
        is_new = any(map(is_not, rewritten, value))
    elif is_object(value):
        results[id(value)] = value
        rewritten = {name: _plain_member(name, member, parts, level) for name, member in value.items()}
        is_new = any(map(is_not, rewritten.values(), value.values()))
    else:
        return value
    if is_new:
        results[id(value)] = rewritten
        parts.sources.append(value)
    return results[id(value)]


def _plain_member(name: str, value: Any, parts: PlainParts, level: int) -> Any:
    if isinstance(value, str):
        if name not in _NOTES:
            return value
        shown = plain(value)
        return value if shown == value else shown
    return value if name in DATA else _plain_notes(value, parts, level + 1)


PlainText = Annotated[str, AfterValidator(plain)]
PlainSchema = Annotated[JsonObject, AfterValidator(_plain_schema)]
"""JSON Schema 2020-12. With `PlainParts` as the context of validation, parts that many share are made plain once."""
