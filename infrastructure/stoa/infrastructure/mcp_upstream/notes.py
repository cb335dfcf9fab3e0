"""Annotations and `_meta` of an upstream's content: hints, which are kept if they are what the specification has there.

A member of `_meta` that MCP or this gateway defines would be read as the gateway's own word, so it is dropped.
"""

import math
from datetime import datetime
from typing import Any

import pydantic_core

from stoa.domain.results.content_notes import Audience, ContentNotes
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object

MAX_META_BYTES = 16 * 1024
"""Upper bound on `_meta` of one block, or of one result; more is dropped."""
_OURS = frozenset({"gostoa"})
_OF_MCP = frozenset({"modelcontextprotocol", "mcp"})


def content_notes(block: JsonObject) -> ContentNotes | None:
    """Those of a content block; None if it has none."""
    given, meta = as_object(block.get("annotations")), kept_meta(block.get("_meta"))
    if not given and meta is None:
        return None
    audience, priority, changed = given.get("audience"), given.get("priority"), given.get("lastModified")
    notes = ContentNotes(
        _audience(audience if is_array(audience) else []),
        float(priority) if priority is not None and _is_share(priority) else None,
        changed if isinstance(changed, str) and _is_time(changed) else None,
        meta,
    )
    return None if notes == ContentNotes() else notes


def kept_meta(given: Any) -> JsonObject | None:
    """The members of `_meta` that are the upstream's own to say; None if there are none."""
    if not is_object(given):
        return None
    kept = {name: value for name, value in given.items() if not _is_reserved(name)}
    if not kept or len(pydantic_core.to_json(kept)) > MAX_META_BYTES:
        return None
    return kept


def _audience(given: list[Any]) -> tuple[Audience, ...]:
    names: list[Audience] = []
    if "user" in given:
        names.append("user")
    if "assistant" in given:
        names.append("assistant")
    return tuple(names)


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= 1


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return len(text) <= 40


def _is_reserved(name: str) -> bool:
    """MCP 2025-11-25 "General fields", `_meta`: a prefix with the label `mcp` or `modelcontextprotocol`."""
    prefix, slash, _ = name.rpartition("/")
    labels = set(prefix.lower().split("."))
    return name == "progressToken" or (bool(slash) and not labels.isdisjoint(_OURS | _OF_MCP))
