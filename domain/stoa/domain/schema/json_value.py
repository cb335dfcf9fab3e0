"""JSON values as Python has them (RFC 8259), and looking at one whose shape is not known yet."""

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
