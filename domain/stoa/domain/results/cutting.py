"""Cuts a long answer where its structure allows it: JSON between whole elements of an array or members of an object,
text between lines. What is shown is whole as far as it goes, and the rest is made into pieces that can be read by
themselves.

JSON is not parsed for this: a scan finds the boundaries, so numbers and texts stay as the API wrote them, and the work
is many small steps that let other threads run.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import pydantic_core

from stoa.domain.schema.json_pointer import escape

MAX_VALUES = 500_000
"""Commas in JSON that is cut by its structure; one with more is cut as text."""
MAX_LEVELS = 200
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_NAME = re.compile(_STRING, re.DOTALL)
_MARK = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},])", re.DOTALL)
"""The next bracket or comma outside of strings."""
_LONGEST_NAME = 64
"""Characters of a member's name in a pointer; a longer one is told by its position."""
_SPACE = b" \t\r\n"
_OPEN_ARRAY, _OPEN_OBJECT, _CLOSE_ARRAY, _CLOSE_OBJECT, _COMMA = b"[{]},"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a long answer, to be read by itself."""

    text: str
    media_type: str
    about: str
    """The part that it is, in words: `/items, entries 200 to 399 of 1000`."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The part of an answer that is not shown."""

    omitted: str
    """The parts that are left out, in words."""
    pieces: tuple[Piece, ...] = ()
    """Empty: it cannot be read."""


@dataclass(frozen=True, slots=True)
class Cut:
    text: str
    """The part that is shown."""
    rest: Rest


class _Span(NamedTuple):
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class _Container:
    """An array or object that is too long to be shown, with those within it that are too long as well."""

    __slots__ = ("commas", "end", "inner", "is_array", "start")

    def __init__(self, start: int, *, is_array: bool) -> None:
        self.start = start
        self.end = 0
        self.is_array = is_array
        self.commas: array[int] | None = None
        self.inner: list[_Container] = []

    def spans(self) -> list[_Span]:
        """The elements, or the members with their names."""
        edges = [self.start, *(self.commas or ()), self.end - 1]
        return [_Span(before + 1, after) for before, after in pairwise(edges)]

    def within(self, span: _Span) -> "_Container | None":
        """The container that an element or member is, if it is one that is too long."""
        return next((inner for inner in self.inner if span.start <= inner.start < span.end), None)


def cut_json(body: bytes, limit: int) -> Cut | None:
    """JSON text of more than `limit` bytes, cut between values; None if it has no structure to cut it by. The shown
    part is JSON if the whole is."""
    if body.count(b",") > MAX_VALUES:
        return None
    root = _scanned(body, limit)
    if root is None or body[: root.start].strip(_SPACE) or body[root.end :].strip(_SPACE):
        return None
    cutter = _JsonCutter(body, limit)
    shown = cutter.fitted(root, limit, "")
    pieces = tuple(cutter.pieces())
    omitted = "; ".join(cutter.omitted)
    return Cut(shown.decode("utf-8", "replace"), Rest(omitted, pieces))


def whole_start(body: bytes) -> bytes | None:
    """The start of a JSON text whose end is missing, made whole: ended after an entry of its outermost array, or else
    after a value; None if it has no structure to end it by."""
    if body.count(b",") > MAX_VALUES:
        return None
    open_marks = bytearray()
    last: dict[int, int] = {}
    for match in _MARK.finditer(body):
        place = match.end() - 1
        mark = body[place]
        if mark == _COMMA:
            if not open_marks:
                return None
            last[len(open_marks)] = place
        elif mark in (_OPEN_ARRAY, _OPEN_OBJECT):
            if len(open_marks) == MAX_LEVELS or (not open_marks and place != len(body) - len(body.lstrip(_SPACE))):
                return None
            open_marks.append(mark)
        elif not open_marks or (open_marks.pop() == _OPEN_ARRAY) != (mark == _CLOSE_ARRAY):
            return None
        else:
            last.pop(len(open_marks) + 1, None)
    arrays = [depth for depth in last if open_marks[depth - 1] == _OPEN_ARRAY]
    depth = min(arrays, default=0) or max(last, default=0)
    if not depth:
        return None
    ends = bytes(_CLOSE_ARRAY if mark == _OPEN_ARRAY else _CLOSE_OBJECT for mark in reversed(open_marks[:depth]))
    return body[: last[depth]] + ends


def cut_text(text: str, limit: int) -> Cut:
    """Text of more than `limit` characters, cut between lines, or within one that is too long."""
    first, *others = _text_spans(text, limit)
    pieces = tuple(
        Piece(text[part.start : part.end], "text/plain", f"characters {part.start} to {part.end - 1} of {len(text)}")
        for part in others
    )
    return Cut(text[: first.end], Rest(f"the first {first.end} of {len(text)} characters are shown", pieces))


def _text_spans(text: str, limit: int) -> Iterator[_Span]:
    start = 0
    while start < len(text):
        end = min(start + limit, len(text))
        if end < len(text):
            line = text.rfind("\n", start + limit // 2, end) + 1  # half: a piece of a few characters helps nobody
            end = line or end
        yield _Span(start, end)
        start = end


def _scanned(body: bytes, limit: int) -> _Container | None:
    """The outermost container with the long ones in it; None where brackets do not match."""
    root: _Container | None = None
    open_containers: list[_Container] = []
    for match in _MARK.finditer(body):
        place = match.end() - 1
        mark = body[place]
        if mark == _COMMA:
            if not open_containers:
                return None
            innermost = open_containers[-1]
            if innermost.commas is None:
                innermost.commas = array("L")
            innermost.commas.append(place)
        elif mark in (_OPEN_ARRAY, _OPEN_OBJECT):
            if root is not None or len(open_containers) == MAX_LEVELS:
                return None
            open_containers.append(_Container(place, is_array=mark == _OPEN_ARRAY))
        else:
            if not open_containers or open_containers[-1].is_array != (mark == _CLOSE_ARRAY):
                return None
            closed = open_containers.pop()
            closed.end = place + 1
            if not open_containers:
                root = closed
            elif closed.end - closed.start > limit // 2:  # shorter ones are shown or left out as a whole
                open_containers[-1].inner.append(closed)
    return None if open_containers else root


class _JsonCutter:
    def __init__(self, body: bytes, limit: int) -> None:
        self._body = body
        self._limit = limit
        self._left: list[tuple[str, _Container, Sequence[tuple[int, _Span]], int]] = []
        """The parts left out: pointer to their container, the container, the parts by position, the number of all."""

    @property
    def omitted(self) -> Iterator[str]:
        for pointer, container, parts, count in self._left:
            kind = "entries" if container.is_array else "members"
            yield f"{pointer or 'the answer'}: {count - len(parts)} of {count} {kind} are shown"

    def fitted(self, container: _Container, budget: int, pointer: str) -> bytes:
        """The container with the parts that fit."""
        spans = container.spans()
        chosen = self._entries(spans, budget) if container.is_array else self._members(spans, budget)
        shown = {position: self._text(spans[position]) for position in chosen}
        used = sum(len(text) + 1 for text in shown.values()) + 2
        entered = None if used > budget // 2 else self._to_enter(container, spans, shown)
        if entered is not None:  # else little would be shown
            position, inner = entered
            span = spans[position]
            name = self._body[span.start : inner.start]
            place = self._pointer(container, pointer, position, span)
            shown[position] = name + self.fitted(inner, budget - used - len(name), place)
        left = [(position, span) for position, span in enumerate(spans) if position not in shown]
        if left:
            self._left.append((pointer, container, left, len(spans)))
        start, end = (b"[", b"]") if container.is_array else (b"{", b"}")
        return start + b",".join(shown[position] for position in sorted(shown)) + end

    def _entries(self, spans: Sequence[_Span], budget: int) -> list[int]:
        """The first entries: those after a gap would change their positions."""
        chosen: list[int] = []
        used = 2
        for position, span in enumerate(spans):
            used += span.size + 1
            if used > budget:
                break
            chosen.append(position)
        return chosen

    def _members(self, spans: Sequence[_Span], budget: int) -> list[int]:
        """The shortest members: one long list must not push out all that stands beside it."""
        chosen: list[int] = []
        used = 2
        for position in sorted(range(len(spans)), key=lambda each: spans[each].size):
            used += spans[position].size + 1
            if used > budget:
                break
            chosen.append(position)
        return chosen

    def _to_enter(
        self, container: _Container, spans: Sequence[_Span], shown: dict[int, bytes]
    ) -> tuple[int, _Container] | None:
        """The part to show in part: of an array the next one only, because positions must not change."""
        for position, span in enumerate(spans):
            if position in shown:
                continue
            inner = container.within(span)
            if inner is not None:
                return position, inner
            if container.is_array:
                return None
        return None

    def pieces(self) -> Iterator[Piece]:
        for pointer, container, parts, count in self._left:
            yield from self._pieces_of(pointer, container, parts, count)

    def _pieces_of(
        self, pointer: str, container: _Container, parts: Sequence[tuple[int, _Span]], count: int
    ) -> Iterator[Piece]:
        group: list[tuple[int, _Span]] = []
        used = 2
        for position, span in parts:
            if group and (used + span.size + 1 > self._limit or position != group[-1][0] + 1):
                yield self._piece(pointer, container, group, count)
                group, used = [], 2
            if span.size + 2 > self._limit:
                yield from self._long_part(pointer, container, position, span)
            else:
                group.append((position, span))
                used += span.size + 1
        if group:
            yield self._piece(pointer, container, group, count)

    def _piece(self, pointer: str, container: _Container, group: Sequence[tuple[int, _Span]], count: int) -> Piece:
        start, end = (b"[", b"]") if container.is_array else (b"{", b"}")
        text = start + b",".join(self._text(span) for _, span in group) + end
        kind = "entries" if container.is_array else "members"
        about = f"{pointer or 'the answer'}, {kind} {group[0][0]} to {group[-1][0]} of {count}"
        return Piece(text.decode("utf-8", "replace"), "application/json", about)

    def _long_part(self, pointer: str, container: _Container, position: int, span: _Span) -> Iterator[Piece]:
        """An entry or member that is too long for one piece: by its own parts, or a text by its characters."""
        place = self._pointer(container, pointer, position, span)
        inner = container.within(span)
        if inner is not None:
            spans = inner.spans()
            yield from self._pieces_of(place, inner, list(enumerate(spans)), len(spans))
            return
        written = self._text(span)
        if not container.is_array:
            written = written[self._name_length(written) :].partition(b":")[2]
        text = written.decode("utf-8", "replace").strip()
        if len(text) <= self._limit:  # it was its name that made it too long
            yield Piece(text, "application/json", place)
            return
        if text.startswith('"'):
            with suppress(ValueError):
                text = str(pydantic_core.from_json(written))
        for part in _text_spans(text, self._limit):
            about = f"{place}, characters {part.start} to {part.end - 1} of {len(text)}"
            yield Piece(text[part.start : part.end], "text/plain", about)

    def _pointer(self, container: _Container, pointer: str, position: int, span: _Span) -> str:
        if container.is_array:
            return f"{pointer}/{position}"
        written = self._text(span)
        try:
            name = str(pydantic_core.from_json(written[: self._name_length(written)]))
        except ValueError:
            name = ""
        is_readable = len(name) <= _LONGEST_NAME and name.isprintable()
        return f"{pointer}/{escape(name) if is_readable else position}"

    def _name_length(self, member: bytes) -> int:
        name = _NAME.match(member)
        return 0 if name is None else name.end()

    def _text(self, span: _Span) -> bytes:
        return self._body[span.start : span.end].strip(_SPACE)
