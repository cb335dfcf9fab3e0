"""Lists and texts of parsed JSON: a description is a stranger's text, so nothing has the type that OpenAPI promises."""

from collections.abc import Sequence
from typing import Any, TypeGuard


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def list_or_empty(value: object) -> Sequence[Any]:
    return value if is_list(value) else ()


def text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """The strings in a list; anything else is no string."""
    return [item for item in list_or_empty(value) if isinstance(item, str)]
