"""JSON values as Python represents them (RFC 8259), and safe access to values of unknown shape."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

JsonObject = dict[str, Any]
"""A parsed JSON object."""


def is_object(value: object) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def as_object(value: object) -> JsonObject:
    """`value` if it is an object, else an empty one: for reading members that may be absent."""
    return value if is_object(value) else {}


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def as_array(value: object) -> Sequence[Any]:
    """`value` if it is an array, else an empty one."""
    return value if is_array(value) else ()


def as_text(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def texts_in(value: object) -> list[str]:
    """The strings in an array; empty if `value` is not an array."""
    return [entry for entry in as_array(value) if isinstance(entry, str)]


def objects_in(value: Any) -> Iterator[JsonObject]:
    """Yields every object in `value`, at any depth, itself included. Iterative, because the depth is not bounded."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if is_array(part):
            waiting += part
        elif is_object(part):
            yield part
            waiting += part.values()
