"""Finds keys that occur twice in an object of a JSON text. RFC 8259 section 4 leaves open which one counts; every
reader here takes the last."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"(\s*:)?|[\[\]{},]')


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key of an object that occurred before."""

    tokens: tuple[str, ...]
    """The path to it, as tokens of a JSON Pointer."""
    line: int
    """The line, from 1, of its later place."""


def repeated_keys(text: str) -> Iterator[RepeatedKey]:
    """Yields the repeated keys of a valid JSON text. A text without any costs one fast pass that keeps nothing."""
    found: list[RepeatedKey] = []
    read_noting_repeated(text, found, parse_int=len, parse_float=len)
    yield from found


def read_noting_repeated(
    text: str,
    repeated: list[RepeatedKey],
    *,
    parse_float: Callable[[str], Any],
    parse_int: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a valid JSON text; `repeated` gets its repeated keys. `parse_float` and `parse_int` make numbers of
    their texts."""
    has_repeated = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_repeated
        made = dict(pairs)
        has_repeated = has_repeated or len(made) < len(pairs)
        return made

    value = json.loads(text, object_pairs_hook=members, parse_float=parse_float, parse_int=parse_int)
    if has_repeated:
        repeated += _located(text)
    return value


def _located(text: str) -> Iterator[RepeatedKey]:
    frames: list[tuple[set[str] | None, list[Any]]] = []
    """For each open object its keys (None: a list), and the present key or position in it."""
    line, counted = 1, 0
    for match in _TOKEN.finditer(text):
        mark = text[match.start()]
        if mark in "{[":
            frames.append((set(), [""]) if mark == "{" else (None, [0]))
        elif mark in "}]":
            frames.pop()
        elif mark == "," and frames and frames[-1][0] is None:
            frames[-1][1][0] += 1
        elif match[2]:
            keys, place = frames[-1]
            key = str(json.loads(f'"{match[1]}"'))
            place[0] = key
            if keys is None:
                continue
            if key in keys:
                line, counted = line + text.count("\n", counted, match.start()), match.start()
                yield RepeatedKey(tuple(str(current[0]) for _, current in frames), line)
            keys.add(key)
