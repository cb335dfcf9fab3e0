"""YAML to JSON values, straight from the parser's events.

What `yaml.load` does not give: keys are always text (`200:` is "200"), scalars follow YAML 1.2's core schema as OpenAPI
asks (`no`, `on` and dates are text), nesting and the expansion of aliases are bounded, and it takes half the time.
"""

import math
import re
from typing import Any

import yaml

from stoa.domain.json_value import JsonObject, is_object
from stoa.infrastructure.openapi.values import is_list

DEPTH_LIMIT = 200
ALIAS_LIMIT = 1_000_000
"""Values that aliases may add to those written out; a few lines can otherwise stand for billions."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, Any] = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}")
_RADIX = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_KEY: Any = object()
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"


class YamlProblem(ValueError):
    """The text is not usable YAML; `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def parse_yaml(text: str) -> Any:
    """The value of the only document in `text`. Raises YamlProblem."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        raise YamlProblem(failure.problem or "not YAML", _within(text, mark)) from failure
    except yaml.reader.ReaderError as failure:
        raise YamlProblem("contains characters that YAML does not allow", 1) from failure
    return builder.result


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
    def __init__(self) -> None:
        self.result: Any = None
        self._documents = 0
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0
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
            self._documents += 1
            if self._documents > 1:
                raise YamlProblem("more than one YAML document; keep one description per file", _line(event))

    def _scalar(self, event: Any) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.key is _NO_KEY and type(frame.container) is dict:
            frame.key = event.value  # a key is what stands there, never a number or a truth value
            frame.is_merge = event.value == _MERGE and bool(event.implicit[0])  # in quotes it is a key as any
            if event.anchor:
                self._anchors[event.anchor] = (event.value, 1)
            return
        value = _plain(event.value) if _is_resolved(event) else event.value
        self._values += 1
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, event)

    def _open(self, container: Any, event: Any) -> None:
        if len(self._frames) >= DEPTH_LIMIT:
            raise YamlProblem(f"nested deeper than {DEPTH_LIMIT} levels", _line(event))
        if self._frames and self._frames[-1].key is _NO_KEY and type(self._frames[-1].container) is dict:
            raise YamlProblem("a key must be text", _line(event))
        self._frames.append(_Frame(container, event.anchor, self._values))

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.container.setdefault(key, value)
        self._values += 1
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.container, self._values - frame.start)
        self._put(frame.container, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise YamlProblem(f"alias *{event.anchor} is not defined before it is used", _line(event))
        value, weight = self._anchors[event.anchor]
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.key is _NO_KEY and type(frame.container) is dict:
            if not isinstance(value, str):
                raise YamlProblem("a key must be text", _line(event))
            frame.key = value
            return
        self._values += weight
        self._from_aliases += weight
        if self._from_aliases > ALIAS_LIMIT:
            raise YamlProblem(f"aliases expand to more than {ALIAS_LIMIT} values", _line(event))
        self._put(value, event)

    def _put(self, value: Any, event: Any) -> None:
        if not self._frames:
            self.result = value
            return
        frame = self._frames[-1]
        container = frame.container
        if is_list(container):
            container.append(value)
            return
        key, frame.key = frame.key, _NO_KEY
        is_merge, frame.is_merge = frame.is_merge, False
        if is_merge and type(value) in {dict, list}:
            frame.merges += _merged(value, event)
        else:
            container[key] = value


def _merged(value: Any, event: Any) -> list[JsonObject]:
    parts = value if is_list(value) else [value]
    mappings = [part for part in parts if is_object(part)]
    if len(mappings) < len(parts):
        raise YamlProblem("a merge key (<<) needs a mapping", _line(event))
    return mappings


def _within(text: str, mark: Any) -> int:
    """The line of a mark; the end of the text is told on its last line."""
    return min(mark.line, text.rstrip("\n").count("\n")) + 1 if mark else 1


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _is_resolved(event: Any) -> bool:
    """Plain scalars, and those tagged as a number, truth value or null, are more than text."""
    tag = event.tag
    if tag is None:
        return bool(event.implicit[0])
    return tag in {f"{_TAG}int", f"{_TAG}float", f"{_TAG}bool", f"{_TAG}null"}


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
