"""Text of a manifest file to the documents in it; runs where a BoundedExecutor puts it."""

from collections.abc import Iterator
from typing import Any

import pydantic_core

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_object, is_object
from stoa.infrastructure.documents import DocumentProblem, read_json, read_values

SIZE_LIMIT = 8 * 1024 * 1024
"""Bytes of one file."""
MANIFEST_LIMIT = 1024 * 1024
"""Bytes that one manifest may take as JSON, beside an inline API description."""
_INLINE_LIMIT = 64 * 1024
"""Bytes of an inline API description from which on it is handed over as text: the process that serves calls then never
holds its million values."""


def contents_of(text: bytes, *, is_json: bool) -> Iterator[JsonObject | str]:
    """What the file holds, document by document: a manifest's content, or what is wrong with it. Raises InvalidInput
    where no document can be told from another."""
    try:
        decoded = text.decode("utf-8-sig")
        values = [read_json(decoded)] if is_json else read_values(decoded)
    except UnicodeDecodeError:
        raise InvalidInput("is not UTF-8 text; save it as UTF-8") from None
    except DocumentProblem as problem:
        raise InvalidInput(str(problem)) from problem
    for value in values:
        yield _content_of(value)


def _content_of(value: Any) -> JsonObject | str:
    if not is_object(value):
        return "expected a mapping with apiVersion, kind, metadata and spec"
    try:
        content = _with_inline_text(value)
        if len(pydantic_core.to_json(content)) - _inline_bytes(content) > MANIFEST_LIMIT:
            return f"larger than {MANIFEST_LIMIT} bytes once its aliases are followed"
    except ValueError:  # lone surrogates
        return "its texts must be Unicode"
    return content


def _with_inline_text(content: JsonObject) -> JsonObject:
    """Whatever kind of description it is: members of `spec` with an `inline` object."""
    spec = as_object(content.get("spec"))
    texts: JsonObject = {}
    for member, source in spec.items():
        inline = as_object(source).get("inline")
        if is_object(inline) and len(text := pydantic_core.to_json(inline)) > _INLINE_LIMIT:
            texts[member] = {**as_object(source), "inline": text.decode()}
    return {**content, "spec": {**spec, **texts}} if texts else content


def _inline_bytes(content: JsonObject) -> int:
    inlines = (as_object(source).get("inline") for source in as_object(content.get("spec")).values())
    return sum(len(inline) for inline in inlines if isinstance(inline, str))
