"""Redaction: removes from a result what its caller must not see.

It fails closed. If a pointer meets another kind of value than it names, the answer may carry the hidden value in
another place, so the whole answer is withheld.
"""

from collections.abc import Sequence
from typing import Any

import pydantic_core

from stoa.domain.results.cutting import Rest
from stoa.domain.results.result import MISSING, TextContent, ToolResult
from stoa.domain.schema.json_pointer import tokens_of
from stoa.domain.schema.json_value import is_array, is_object

REDACTED = "[redacted]"
WITHHELD = (
    "The policy hides parts of this tool's answers, and this one has no structure to hide them in; it is withheld"
)


class _Mismatch(Exception):
    """A pointer leads into a value that has no such members."""


def redact(result: ToolResult, pointers: Sequence[str]) -> ToolResult:
    """`result` with everything at these JSON Pointers (RFC 6901; `*` stands for every member or entry) replaced, in the
    structured content and in the text, which is written anew from it. All other content is dropped: a picture or an
    embedded document has no places that a pointer could name.

    A member that an object lacks, an entry beyond an array's end and everything below null hide nothing. The whole
    answer is withheld where a pointer meets another kind of value (a name an array, an index an object without that
    member, anything a string, number or boolean). So are errors, answers without structured content and answers whose
    structured content is not JSON: pointers cannot be located in them. Of a long answer the shown part is left: the
    pointers name no places in its pieces.
    """
    if result.structured is MISSING or result.is_error:
        return ToolResult.error(WITHHELD)
    try:
        # Through JSON and back: pointers name what goes out, not the Python objects that it is written from.
        structured = pydantic_core.from_json(pydantic_core.to_json(result.structured), allow_inf_nan=False)
        for pointer in pointers:
            structured = _without(structured, tokens_of(pointer))
        text = pydantic_core.to_json(structured).decode()
    except (_Mismatch, ValueError, RecursionError):  # ValueError: no JSON, or nested too deeply
        return ToolResult.error(WITHHELD)
    rest = None if result.rest is None else Rest(result.rest.omitted)
    return ToolResult((TextContent(text),), structured, rest=rest)


def _without(value: Any, parts: Sequence[str]) -> Any:
    """The value with everything at the path replaced. Raises _Mismatch."""
    if not parts:
        return REDACTED
    part, rest = parts[0], parts[1:]
    if value is None:
        return None
    if is_object(value):
        if _is_index(part) and part not in value:
            raise _Mismatch
        return {name: _without(member, rest) if part in {name, "*"} else member for name, member in value.items()}
    if is_array(value) and (part == "*" or _is_index(part)):
        return [_without(member, rest) if part in {str(place), "*"} else member for place, member in enumerate(value)]
    raise _Mismatch


def _is_index(part: str) -> bool:
    """True for decimal digits without leading zeros (RFC 6901 section 4)."""
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")
