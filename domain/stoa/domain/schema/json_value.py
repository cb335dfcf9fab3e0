"""JSON values as Python has them (RFC 8259), and looking at one whose shape is not known yet."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

JsonObject = dict[str, Any]
"""A parsed JSON object."""


def is_object(value: object) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def as_object(value: object) -> JsonObject:
    """`value` when it is an object, else an empty one: for reading members that may not be there."""
    return value if is_object(value) else {}


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def as_array(value: object) -> Sequence[Any]:
    """`value` when it is an array, else an empty one."""
    return value if is_array(value) else ()


def as_text(value: object) -> str:
    """`value` when it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def texts_in(value: object) -> list[str]:
    """The strings in an array; none where `value` is no array."""
    return [entry for entry in as_array(value) if isinstance(entry, str)]


def objects_in(value: Any) -> Iterator[JsonObject]:
    """Every object in `value`, at any depth, itself included. Without recursion: depth is not bounded."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if is_array(part):
            waiting += part
        elif is_object(part):
            yield part
            waiting += part.values()
