"""Regular expressions from outside the gateway, compiled so that neither compiling nor matching one can take long.

Most are compiled for an engine whose time is linear in the text. Those with look-around or back references need one
that backtracks; it gives up after a number of steps.
"""

import re
import time
import weakref
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
from pydantic_core import from_json, to_json

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import as_object, objects_in

MAX_SIZE = 1 << 22
"""Bytes that one compiled pattern may take."""
MAX_SCHEMA_SIZE = 1 << 23
"""Bytes of all patterns in one schema."""
MAX_OWNER_SIZE = 1 << 25
"""Bytes of all patterns in the schemas of one tenant, or of all global ones."""
MAX_LENGTH = 4096
"""Characters of a pattern's source."""
BACKTRACK_LIMIT = 5_000

_DFA_SIZE = 1 << 19
_SIZES = (1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 16, 1 << 19, MAX_SIZE)
"""Sizes tried in order: the engine does not report a pattern's size, only that it exceeds a limit."""
_MAY_BACKTRACK = re.compile(r"\(\?[^:]|\\[^dDsSwWpPnrtfv]|[*+?}]\+")
"""Syntax that the linear engine may not know; a pattern without it needs no attempt with the other engine."""
_BYTES_PER_UNIT = 64
_MAX_UNITS = 400
_WORK_OF_ONE = 15_000_000
_BACKTRACKS_BY_LENGTH = ((2_048, BACKTRACK_LIMIT), (32_768, 500), (500_000, 50))
"""A step back may look at the whole text again: the longer it is, the fewer steps."""

_NAMED = b'"patternProperties"'
_WRITTEN = re.compile(rb'"pattern":("(?:[^"\\]|\\.)*")')
_ADVICE = "write it shorter, with `maxLength` instead of counts as in {1,100}, or [a-z] instead of \\p{L} or \\w"


class PatternTooCostly(Exception):
    """Matching was given up: it is unknown if the text fits."""


class Pattern:
    """One compiled pattern. Equal patterns share one."""

    __slots__ = ("__weakref__", "_backtracking", "_linear", "_longest", "size", "text", "units")

    def __init__(self, text: str, size: int, linear: Any) -> None:
        self.text = text
        self.size = size
        """Size in bytes, rounded up."""
        self._linear = linear
        self._backtracking: dict[int, Any] = {}
        self.units = min(_MAX_UNITS, size // _BYTES_PER_UNIT)
        """Upper bound on the work for one character, in units of some 15 ns: the linear engine may visit all of its
        states."""
        self._longest = _WORK_OF_ONE // self.units

    @property
    def is_linear(self) -> bool:
        return self._linear is not None

    def matches(self, text: str) -> bool:
        """True if the pattern is found in `text`. Raises PatternTooCostly."""
        if self._linear is not None:
            if len(text) > self._longest:
                raise PatternTooCostly
            return bool(self._linear.is_valid(text))
        for length, limit in _BACKTRACKS_BY_LENGTH:
            if len(text) <= length:
                return self._search(text, limit)
        raise PatternTooCostly

    def _search(self, text: str, limit: int) -> bool:
        matcher = self._backtracking.get(limit)
        if matcher is None:
            matcher = self._backtracking[limit] = _backtracking(self.text, self.size, limit)
        try:
            matcher.validate(text)
        except jsonschema_rs.ValidationError as failed:
            if isinstance(failed.kind, jsonschema_rs.ValidationErrorKind.Pattern):
                return False
            raise PatternTooCostly from failed
        return True


_shared: weakref.WeakValueDictionary[str, Pattern] = weakref.WeakValueDictionary()


def compiled(text: str, limit: int = MAX_SIZE) -> Pattern:
    """The pattern, taking at most `limit` bytes. Raises InvalidInput, naming it and what to change."""
    pattern = _shared.get(text)
    if pattern is None:
        if len(text) > MAX_LENGTH:
            raise InvalidInput(f"the pattern {_shown(text)} is longer than {MAX_LENGTH} characters")
        pattern = _compile(text, limit)
        _shared[text] = pattern
    if pattern.size > limit:
        raise _too_large(text)
    return pattern


def _compile(text: str, limit: int) -> Pattern:
    for size in _SIZES:
        if size > limit:
            break
        for make in (_linear, _backtracking) if _MAY_BACKTRACK.search(text) else (_linear,):
            try:
                matcher = make(text, size)
            except (jsonschema_rs.ValidationError, ValueError):
                continue
            return Pattern(text, size, matcher if make is _linear else None)
    if not _is_expression(text):
        raise InvalidInput(f"{_shown(text)} is not a regular expression (ECMA-262 without the flag v)")
    raise _too_large(text)


def _linear(text: str, size: int) -> Any:
    options = jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=_DFA_SIZE)
    return jsonschema_rs.validator_for({"pattern": text}, pattern_options=options, offline=True)


def _backtracking(text: str, size: int, limit: int = BACKTRACK_LIMIT) -> Any:
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=limit, size_limit=size, dfa_size_limit=_DFA_SIZE)
    return jsonschema_rs.validator_for({"pattern": text}, pattern_options=options, offline=True)


def _is_expression(text: str) -> bool:
    """Tells a mistake from a pattern that is merely large, by its syntax alone."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "format": "regex"}
    return bool(jsonschema_rs.is_valid(schema, text, offline=True))


def _too_large(text: str) -> InvalidInput:
    return InvalidInput(f"the pattern {_shown(text)} takes too much memory when compiled; {_ADVICE}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "…")


class PatternAllowance:
    """Bytes that the patterns of several schemas may take together; each different pattern counts once."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._counted: set[str] = set()

    def compile(self, text: str) -> Pattern:
        """The compiled pattern, counted. Raises InvalidInput if it is not a pattern, or too large for the rest of the
        allowance."""
        limit = MAX_SIZE if text in self._counted else min(MAX_SIZE, self._left)
        if limit < _SIZES[0]:
            raise InvalidInput(
                f"there is no room left for the pattern {_shown(text)}: patterns before it take too much"
            )
        pattern = compiled(text, limit)
        self.add(pattern)
        return pattern

    def copy(self) -> "PatternAllowance":
        """Another allowance of which the same is used."""
        copy = PatternAllowance(self._left)
        copy._counted = set(self._counted)
        return copy

    def add(self, pattern: Pattern) -> None:
        """Count a pattern that is in use already."""
        if pattern.text not in self._counted:
            self._counted.add(pattern.text)
            self._left -= pattern.size


def patterns_in(schema: Any) -> Iterator[tuple[str, bool]]:
    """Texts that may be patterns of `schema`, and whether each is a name in `patternProperties`. Values of `enum` and
    the like are included too: that is simpler, and costs memory at most."""
    try:
        written = to_json(schema)
    except ValueError:  # no JSON, which is refused elsewhere
        written = _NAMED
    if _NAMED not in written:  # looking through the text takes a tenth of the time of going through the schema
        for text in dict.fromkeys(_WRITTEN.findall(written)):
            yield from_json(text), False
        return
    for node in objects_in(schema):
        text = node.get("pattern")
        if isinstance(text, str):
            yield text, False
        names: list[Any] = list(as_object(node.get("patternProperties")))
        for name in names:
            if isinstance(name, str):
                yield name, True


def timed_match(pattern: Pattern, text: str) -> tuple[bool, int]:
    """The answer, and the processor time in nanoseconds. Raises PatternTooCostly."""
    started = time.thread_time_ns()
    return pattern.matches(text), time.thread_time_ns() - started
