"""Finds the line of a value in the text of a document, by its JSON Pointer, without parsing the document again.

Indentation tells which keys belong to a mapping, in block YAML and in indented JSON alike. A value that is written
within one line has the line of the nearest value around it.
"""

import re
from collections.abc import Sequence
from itertools import chain, pairwise

_KEY = re.compile(
    r"""(?:- )*(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^\s"'#\[\]{},-][^#\n]*?|-[^\s#][^#\n]*?))\s*:(?:\s|$)"""
)
_OPENING = frozenset({"{", "---", "["})
_LINE = re.compile(r"^([ ]*)([^\s#].*)$", re.MULTILINE)


class LineIndex:
    """The lines of one text; the parts of each value are looked up once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts: dict[tuple[str, ...], dict[str, _Part]] = {}

    def line_of(self, tokens: Sequence[str]) -> int:
        """The line, from 1, of the value that the tokens of a pointer lead to, or of the nearest one around it."""
        part = _Part(0, len(self._text), -1)
        path: tuple[str, ...] = ()
        for token in tokens:
            below = self._parts_of(path, part).get(token)
            if below is None:
                break
            part, path = below, (*path, token)
        return self._text.count("\n", 0, part.start) + 1

    def _parts_of(self, path: tuple[str, ...], part: "_Part") -> dict[str, "_Part"]:
        parts = self._parts.get(path)
        if parts is None:
            parts = self._parts[path] = dict(_parts_in(self._text, part))
        return parts


class _Part:
    """The place of a value: from the line of its key to where the next one begins, and the column of its key."""

    __slots__ = ("column", "end", "start")

    def __init__(self, start: int, end: int, column: int) -> None:
        self.start = start
        self.end = end
        self.column = column


def _parts_in(text: str, whole: _Part) -> list[tuple[str, _Part]]:
    """The members, or entries by number, of the value at `whole`."""
    start = whole.start if whole.column < 0 else _after_line(text, whole.start)
    first = next(
        (line for line in _LINE.finditer(text, start, whole.end) if whole.column >= 0 or line[2] not in _OPENING), None
    )
    if first is None:
        return []
    column, content = len(first[1]), first[2]
    if column < whole.column or (column == whole.column and not content.startswith("-")):
        return []  # the value stands on the line of its key
    is_list = content.startswith("- ") or content == "-" or (content[0] in '{["' and not _KEY.match(content))
    found: list[tuple[str, _Part]] = []
    # Of a thousand lines that are indented further none is looked at: the engine searches for this one indentation.
    same_column = re.compile(rf"\n {{{column}}}([^\s#].*)")
    others = ((match.start() + 1, match[1]) for match in same_column.finditer(text, first.end(), whole.end))
    for start, content in chain([(first.start(), first[2])], others):
        if content[0] in "}])":
            continue
        if is_list:
            if content.startswith("-") or content[0] in '{["':
                found.append((str(len(found)), _Part(start, whole.end, column)))
        elif key := _KEY.match(content):
            name = key[1] if key[1] is not None else key[2] if key[2] is not None else key[3]
            found.append((name.replace("\\/", "/"), _Part(start, whole.end, column)))
    for (_, part), (_, following) in pairwise(found):
        part.end = following.start
    return found


def _after_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1
