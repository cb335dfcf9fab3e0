"""Taking out of a result what its caller must not see."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pydantic_core

from stoa.domain.json_value import is_array, is_object
from stoa.domain.result import MISSING, ImageContent, TextContent, ToolResult

REDACTED = "[redacted]"
WITHHELD = (
    "The policy hides parts of this tool's answers, and this one has no structure to hide them in; it is withheld"
)


def redact(result: ToolResult, pointers: Sequence[str]) -> ToolResult:
    """`result` with everything at these JSON Pointers (RFC 6901; `*` stands for every member or entry) replaced, in the
    structured content and in the text, which is written anew from it. A result without structured content says nobody
    knows where what: it is withheld."""
    if result.structured is MISSING or result.is_error:
        return ToolResult.error(WITHHELD)
    structured = result.structured
    for pointer in pointers:
        structured = _without(structured, [_unescaped(token) for token in pointer.split("/")[1:]])
    pictures = tuple(block for block in result.content if isinstance(block, ImageContent))
    text = TextContent(pydantic_core.to_json(structured).decode())
    return replace(result, content=(text, *pictures), structured=structured)


def _without(value: Any, tokens: Sequence[str]) -> Any:
    if not tokens:
        return REDACTED
    token, rest = tokens[0], tokens[1:]
    if is_object(value):
        return {name: _without(one, rest) if token in {name, "*"} else one for name, one in value.items()}
    if is_array(value):
        return [_without(one, rest) if token in {str(place), "*"} else one for place, one in enumerate(value)]
    return value


def _unescaped(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")
