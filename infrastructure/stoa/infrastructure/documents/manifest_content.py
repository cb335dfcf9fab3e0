"""Bounds on the content of one manifest, wherever it was read from."""

from typing import Any

import pydantic_core

from stoa.domain.schema.json_value import JsonObject, as_object, is_object

MANIFEST_LIMIT = 1024 * 1024
"""Upper bound on one manifest as JSON, in bytes, without an inline API description."""
_INLINE_LIMIT = 64 * 1024
"""Size in bytes from which an inline API description is handed over as text, so that the process that serves calls
never holds its million values."""

NO_MAPPING = "expected a mapping with apiVersion, kind, metadata and spec"
"""The problem with content that can be no manifest."""


def bounded_content(value: Any) -> JsonObject | str:
    """The content of a manifest, with a large inline API description as text; or the problem with it."""
    if not is_object(value):
        return NO_MAPPING
    try:
        content = _with_inline_text(value)
        if len(pydantic_core.to_json(content)) - _inline_bytes(content) > MANIFEST_LIMIT:
            return f"larger than {MANIFEST_LIMIT} bytes once its aliases are followed"
    except ValueError:  # lone surrogates
        return "its texts must be Unicode"
    return content


def _with_inline_text(content: JsonObject) -> JsonObject:
    """Replaces a large `inline` object in any member of `spec` by its JSON text, for every spec kind."""
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
