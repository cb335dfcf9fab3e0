"""Reads YAML into JSON values, straight from the parser's events.

Differences from `yaml.load`: keys are always text (`200:` is "200"), scalars follow YAML 1.2's core schema as OpenAPI
asks (`no`, `on` and dates are text), nesting, values and the expansion of aliases are bounded, and it takes half the
time. Merge keys (`<<`) are the aliases they are made of, and count as those do.
"""

import math
import re
from typing import Any

import yaml

from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.infrastructure.documents.problem import DocumentProblem
from stoa.infrastructure.documents.repeated_keys import RepeatedKey
from stoa.infrastructure.documents.written_numbers import written_number

DEPTH_LIMIT = 200
VALUES_LIMIT = 2_000_000
"""Upper bound on the values written out, keys included. Text counts as one value per 64 characters or part of them."""
ALIAS_LIMIT = 1_000_000
"""Upper bound on the values that aliases add; without it a few lines can stand for billions."""
_CHARACTERS = 64

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}")
_RADIX = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_KEY: Any = object()
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS = frozenset(f"{_TAG}{name}" for name in ("int", "float", "bool", "null"))
_TAGS = _RESOLVED_TAGS | {
    f"{_TAG}{name}" for name in ("str", "seq", "map", "set", "omap", "pairs", "binary", "timestamp")
}
_NUMBERS = frozenset({int, float})
_MERGE = "<<"


_HINTS = {
    "did not find expected key": "; check the indentation of this line and the one before",
    "found character that cannot start any token": "; indent with spaces, not tabs, and quote what begins with @ or `",
    "mapping values are not allowed in this context": "; check the indentation, and quote text that contains a colon",
}
"""The likely mistake, by the parser's message, which says only what the parser looked for."""


def parse_yaml(text: str, repeated: list[RepeatedKey] | None = None, *, has_written_numbers: bool = False) -> Any:
    """The value of the only document in `text`. `repeated`: gets the keys that occur twice in one mapping, of which the
    last counts. `has_written_numbers`: numbers remember how they were written. Raises DocumentProblem."""
    documents = _parse(text, _Builder(is_single=True, repeated=repeated, has_written_numbers=has_written_numbers))
    return documents[0] if documents else None


def parse_yaml_all(text: str, *, is_literal: bool = False) -> list[Any]:
    """The values of all documents in `text`. `is_literal`: every scalar but null stays the text that was written, and a
    key that occurs twice in a mapping is refused instead of the last one taken. Raises DocumentProblem."""
    return _parse(text, _Builder(is_literal=is_literal))


def _parse(text: str, builder: "_Builder") -> list[Any]:
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        problem = failure.problem or "not YAML"
        raise _problem(problem + _HINTS.get(problem, ""), _within(text, mark)) from failure
    except yaml.YAMLError as failure:
        raise _problem("contains characters that YAML does not allow", 1) from failure
    return builder.documents


def _problem(reason: str, line: int) -> DocumentProblem:
    return DocumentProblem(reason, line, language="YAML")


class _Frame:
    """A mapping or sequence that is being filled."""

    __slots__ = ("anchor", "container", "is_merge", "key", "merges", "start")

    def __init__(self, container: Any, anchor: str | None, start: int) -> None:
        self.container = container
        self.anchor = anchor
        self.start = start
        self.key: Any = _NO_KEY
        self.is_merge = False
        self.merges: list[JsonObject] = []


class _Builder:
    def __init__(
        self,
        *,
        is_single: bool = False,
        is_literal: bool = False,
        repeated: list[RepeatedKey] | None = None,
        has_written_numbers: bool = False,
    ) -> None:
        self.documents: list[Any] = []
        self._repeated = repeated
        self._is_single = is_single
        self._scalar_of = _literal if is_literal else _written if has_written_numbers else _plain
        self._has_unique_keys = is_literal
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._weight = 0
        """Weight of all values so far, including those from aliases."""
        self._from_aliases = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
            if self._is_single and self.documents:
                raise _problem("more than one YAML document; keep one description per file", _line(event))

    def _scalar(self, event: Any) -> None:
        weight = _weight(event.value)
        self._count(weight, event)
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.key is _NO_KEY and type(frame.container) is dict:
            is_merge = event.value == _MERGE and bool(event.implicit[0])  # in quotes it is a key as any
            self._key(frame, event.value, event, is_merge=is_merge)
            if event.anchor:
                self._anchors[event.anchor] = (event.value, weight)
            return
        value = self._scalar_of(event.value) if _is_resolved(event) else event.value
        if event.anchor:
            self._anchors[event.anchor] = (value, weight)
        self._put(value, event)

    def _key(self, frame: _Frame, key: str, event: Any, *, is_merge: bool = False) -> None:
        """Adds a key as it is written; it is never read as a number or a truth value."""
        if self._has_unique_keys and not is_merge and key in frame.container:
            raise _problem(f"the field {key[:40]} occurs twice", _line(event))
        frame.key, frame.is_merge = key, is_merge
        if self._repeated is not None and key in frame.container and not is_merge:
            path = (len(outer.container) if is_array(outer.container) else outer.key for outer in self._frames)
            self._repeated.append(RepeatedKey(tuple(map(str, path)), _line(event)))

    def _open(self, container: Any, event: Any) -> None:
        if len(self._frames) >= DEPTH_LIMIT:
            raise _problem(f"nested deeper than {DEPTH_LIMIT} levels", _line(event))
        if self._frames and self._frames[-1].key is _NO_KEY and type(self._frames[-1].container) is dict:
            raise _problem("a key must be text", _line(event))
        _check_tag(event)
        self._frames.append(_Frame(container, event.anchor, self._weight))
        self._count(1, event)

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.container.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.container, self._weight - frame.start)
        self._put(frame.container, event)

    def _count(self, weight: int, event: Any) -> None:
        self._weight += weight
        if self._weight - self._from_aliases > VALUES_LIMIT:
            raise _problem(f"more than {VALUES_LIMIT} values up to here; split the document", _line(event))

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            reason = f"alias *{event.anchor} is not defined before it is used; no value can contain itself by aliases"
            raise _problem(reason, _line(event))
        value, weight = self._anchors[event.anchor]
        self._weight += weight
        self._from_aliases += weight
        if self._from_aliases > ALIAS_LIMIT:
            raise _problem(f"aliases expand to more than {ALIAS_LIMIT} values", _line(event))
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.key is _NO_KEY and type(frame.container) is dict:
            if not isinstance(value, str):
                raise _problem("a key must be text", _line(event))
            self._key(frame, value, event)
            return
        self._put(value, event)

    def _put(self, value: Any, event: Any) -> None:
        if not self._frames:
            self.documents.append(value)
            return
        frame = self._frames[-1]
        container = frame.container
        if is_array(container):
            container.append(value)
            return
        key, frame.key = frame.key, _NO_KEY
        is_merge, frame.is_merge = frame.is_merge, False
        if is_merge and type(value) in {dict, list}:
            frame.merges += _merged(value, event)
        else:
            container[key] = value


def _merged(value: Any, event: Any) -> list[JsonObject]:
    parts = value if is_array(value) else [value]
    mappings = [part for part in parts if is_object(part)]
    if len(mappings) < len(parts):
        raise _problem("a merge key (<<) needs a mapping", _line(event))
    return mappings


def _within(text: str, mark: Any) -> int:
    """The line of a mark; a mark at the end of the text is reported on its last line."""
    return min(mark.line, text.rstrip("\n").count("\n")) + 1 if mark else 1


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _weight(text: str) -> int:
    return 1 + len(text) // _CHARACTERS


def _is_resolved(event: Any) -> bool:
    """True for scalars that YAML resolves: plain ones, and those tagged as a number, truth value or null."""
    tag = event.tag
    if tag is None:
        return bool(event.implicit[0])
    _check_tag(event)
    return tag in _RESOLVED_TAGS


def _check_tag(event: Any) -> None:
    """Ignores application tags (`!Ref`); refuses an unknown tag in YAML's own namespace."""
    tag = event.tag
    if tag is not None and tag.startswith(_TAG) and tag not in _TAGS:
        raise _problem(f"the tag !!{tag.removeprefix(_TAG)[:40]} is none of YAML's; remove it", _line(event))


def _literal(text: str) -> str | None:
    return None if text in _NULLS else text


def _written(text: str) -> Any:
    value = _plain(text)
    return written_number(value, text) if type(value) in _NUMBERS else value


def _plain(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _RADIX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
